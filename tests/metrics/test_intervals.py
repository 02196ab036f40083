"""Intervals: they hold the truth as often as they say, by song, and are absent where nothing can be said."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metrics.frechet import DriftingFrechetDistance
from metrics.intervals import FEWEST_SONGS, Interval, jackknife_interval, positive_interval
from metrics.scores import MeanScore

Draw = Callable[[np.random.Generator, int], np.ndarray]

ONE_SIDED = {
    "bounded": (lambda rng, n: rng.beta(8, 1, n), 8 / 9),
    "exponential": (lambda rng, n: rng.exponential(1, n), 1.0),
}
EVEN = {"normal": (lambda rng, n: rng.normal(0, 1, n), 0.0), "uniform": (lambda rng, n: rng.uniform(0, 1, n), 0.5)}


def scored(values: list[tuple[float, int, str]], groups: int = 3) -> MeanScore:
    score = MeanScore(groups)
    score.keep_songs()
    for value, group, song in values:
        score.update(value, group, song)
    return score


def interval_of(score: MeanScore) -> Interval:
    return jackknife_interval(score.compute().mean, score.left_out()[0])


def coverage(draw: Draw, truth: float, songs: int, turns: int = 600) -> float:
    """How often the interval of one item per song holds the truth."""
    rng, held = np.random.default_rng(songs), 0
    for _ in range(turns):
        x_U = draw(rng, songs)
        low, high = jackknife_interval(float(x_U.mean()), (x_U.sum() - x_U) / (songs - 1))
        held += low <= truth <= high
    return held / turns


@pytest.mark.parametrize("songs", [5, 10, 24])
@pytest.mark.parametrize("name", EVEN)
def test_ninety_five_of_a_hundred_intervals_hold_the_mean(name: str, songs: int) -> None:
    """Within three standard errors of 600 draws; percentiles of resampled songs hold it in 83 with five songs."""
    assert 0.92 <= coverage(*EVEN[name], songs) <= 0.98


@pytest.mark.parametrize(("songs", "lowest"), [(5, 0.84), (10, 0.86), (24, 0.90)])
@pytest.mark.parametrize("name", ONE_SIDED)
def test_lopsided_scores_cost_some_of_it_with_few_songs(name: str, songs: int, lowest: float) -> None:
    assert lowest <= coverage(*ONE_SIDED[name], songs) <= 0.98


def test_songs_of_unlike_length_are_covered_too() -> None:
    """Songs with 1 to 4 items that are alike within a song."""
    rng, held, turns = np.random.default_rng(0), 0, 300
    for _ in range(turns):
        songs = [(str(i), rng.normal(), rng.integers(1, 5)) for i in range(8)]
        items = [(level + 0.3 * rng.normal(), 0, song) for song, level, count in songs for _ in range(count)]
        low, high = interval_of(scored([(float(value), group, song) for value, group, song in items]))
        held += low <= 0 <= high
    assert 0.91 <= held / turns <= 0.99


def test_of_one_item_per_song_it_is_the_t_interval() -> None:
    x = np.random.default_rng(1).normal(3.0, 2.0, 12)
    expected = stats.t.interval(0.95, 11, x.mean(), stats.sem(x))
    assert tuple(interval_of(scored([(float(v), 0, str(i)) for i, v in enumerate(x)]))) == pytest.approx(expected)


def test_copies_of_a_song_make_nothing_surer() -> None:
    values = [(float(v), 0, str(i)) for i, v in enumerate(np.random.default_rng(2).normal(size=20))]
    assert tuple(interval_of(scored(values * 7))) == pytest.approx(tuple(interval_of(scored(values))))


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.floats(-9, 9), st.integers(0, 2), st.sampled_from("abcdefg")), min_size=1, max_size=30),
    st.sampled_from("abcdefg"),
)
def test_leaving_a_song_out_is_measuring_the_others(items: list[tuple[float, int, str]], song: str) -> None:
    score = scored([*items, (math.nan, 0, "a")])
    left_out = score.left_out()
    others = scored([item for item in items if item[2] != song]).compute()
    for means, group in zip(left_out, (None, 0, 1, 2), strict=True):
        songs = {item[2] for item in items if group in (None, item[1])}
        assert len(means) == len(songs)
        if len(songs) > 1 and song in songs:
            expected = others.mean if group is None else others.group(group).mean
            assert np.isclose(means, expected, atol=1e-9).any()
    assert score.compute().excluded == 1


def test_rows_are_kept_only_if_asked_for_and_if_the_song_is_known() -> None:
    score = MeanScore()
    score.update(1.0, 0, "a")
    assert not len(score.rows_by_song()[0])
    assert not len(score.left_out()[0])
    kept = scored([])
    kept.update(1.0)
    assert kept.compute().items == 1
    assert not len(kept.rows_by_song()[0])
    assert torch.is_tensor(scored([(1.0, 0, "a")]).rows[0])


@pytest.mark.parametrize("interval", [jackknife_interval, positive_interval])
def test_undefined_numbers_have_no_interval(interval: Callable[[float, np.ndarray], Interval]) -> None:
    few = np.ones(FEWEST_SONGS - 1)
    for value, left_out in ((math.nan, np.ones(9)), (1.0, np.empty(0)), (1.0, few), (1.0, np.append(few, math.nan))):
        assert all(map(math.isnan, interval(value, left_out)))
    for same in (0.0, 1.0):
        assert interval(same, np.full(5, same)) == (same, same)


def test_what_cannot_be_negative_has_no_negative_end() -> None:
    left_out = np.array([0.1, 0.28, 0.3, 0.32, 0.34])
    assert jackknife_interval(0.28, left_out).low < 0
    low, high = positive_interval(0.28, left_out)
    assert 0 < low < 0.28 < high
    assert 0.28 / low == pytest.approx(high / 0.28), "as far up as down, by factors"


def distance_of(x_UWD: np.ndarray, real_UWD: np.ndarray) -> DriftingFrechetDistance:
    metric = DriftingFrechetDistance(x_UWD.shape[-1])
    metric.keep_songs()
    for i, (x_WD, real_WD) in enumerate(zip(x_UWD, real_UWD, strict=True)):
        metric.update_pair(torch.from_numpy(x_WD), None, str(i))
        metric.update(torch.from_numpy(real_WD), real=True, song=str(i))
    return metric


@pytest.mark.parametrize(("songs", "lowest"), [(5, 0.86), (24, 0.88)])
def test_intervals_hold_the_distance_that_as_many_songs_have_on_average(songs: int, lowest: float) -> None:
    """Songs differ from one another more than the windows of one; stems are off by a tenth and by half of it."""
    rng, found = np.random.default_rng(songs), []
    for _ in range(200):
        real = rng.normal(size=(songs, 1, 3)) + 0.5 * rng.normal(size=(songs, 6, 3))
        stems = 1.1 * real + 0.5 + 0.2 * rng.normal(size=real.shape)
        metric = distance_of(stems, real)
        value = float(metric.compute().distance)
        found.append((value, *positive_interval(value, metric.left_out("fake"))))
    values, low, high = np.array(found).T
    assert lowest <= np.mean((low <= values.mean()) & (values.mean() <= high)) <= 0.99
