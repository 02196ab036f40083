"""Intervals: as wide as theory says, by song, and absent where nothing can be said."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.bootstrap import multiplicities, normal_interval, percentile_interval
from metrics.scores import MeanScore


def scored(values: list[tuple[float, int, str]], groups: int = 3) -> MeanScore:
    score = MeanScore(groups)
    score.keep_songs()
    for value, group, song in values:
        score.update(value, group, song)
    return score


def replicates(score: MeanScore, count: int = 1000) -> np.ndarray:
    songs = np.unique(score.rows_by_song()[0])
    return score.resampled(songs, multiplicities(len(songs), count))


def test_width_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    score = scored([(value, 0, str(i)) for i, value in enumerate(values)])
    interval = percentile_interval(score.compute().mean, replicates(score, 4000)[:, 0])
    half_width = 1.96 * values.std(ddof=1) / 20
    assert interval.low == pytest.approx(values.mean() - half_width, abs=0.06 * half_width)
    assert interval.high == pytest.approx(values.mean() + half_width, abs=0.06 * half_width)


def test_ninety_five_of_a_hundred_intervals_hold_the_truth() -> None:
    rng, held = np.random.default_rng(1), 0
    for _ in range(200):
        score = scored([(value, 0, str(i)) for i, value in enumerate(rng.beta(2, 1, size=40))])
        interval = percentile_interval(score.compute().mean, replicates(score, 400)[:, 0])
        held += interval.low <= 2 / 3 <= interval.high
    assert 0.89 <= held / 200 <= 0.99


def test_copies_of_a_song_make_nothing_surer() -> None:
    values = [(float(v), 0, str(i)) for i, v in enumerate(np.random.default_rng(2).normal(size=20))]
    np.testing.assert_allclose(replicates(scored(values * 7))[:, 0], replicates(scored(values))[:, 0])


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.floats(-9, 9), st.integers(0, 2), st.sampled_from("abcdefg")), min_size=1, max_size=30
    ).filter(lambda items: len(items) > 0)
)
def test_drawing_every_song_once_gives_the_mean_itself(items: list[tuple[float, int, str]]) -> None:
    score = scored([*items, (math.nan, 0, "a")])
    songs = np.unique(score.rows_by_song()[0])
    means_G = score.resampled(songs, np.ones((1, len(songs))))[0]
    summary = score.compute()
    expected = [summary.mean, *(summary.group(i).mean for i in range(3))]
    np.testing.assert_allclose(means_G, expected, atol=1e-12)
    assert summary.excluded == 1


def test_rows_are_kept_only_if_asked_for_and_if_the_song_is_known() -> None:
    score = MeanScore()
    score.update(1.0, 0, "a")
    assert not len(score.rows_by_song()[0])
    kept = scored([])
    kept.update(1.0)
    assert kept.compute().items == 1
    assert not len(kept.rows_by_song()[0])


def test_undefined_numbers_have_no_interval() -> None:
    assert all(map(math.isnan, percentile_interval(math.nan, np.ones(9))))
    assert all(map(math.isnan, percentile_interval(1.0, np.empty(0))))
    assert all(map(math.isnan, percentile_interval(1.0, np.array([1.0, math.nan, math.nan]))))
    assert percentile_interval(1.0, np.array([1.0, 1.0, math.nan])) == (1, 1)


def test_normal_interval_is_as_wide_as_the_distance_varies() -> None:
    """The squared mean is a distance whose replicates are biased upwards as it is itself."""
    rng = np.random.default_rng(3)
    samples = rng.normal(0.5, 1.0, size=(300, 30, 8))
    values = (samples.mean(1) ** 2).sum(1)
    widths = []
    for sample, value in zip(samples[:40], values, strict=False):
        replicates_R = ((multiplicities(30, 50) @ sample / 30) ** 2).sum(1)
        low, high = normal_interval(value, replicates_R)
        assert low < value < high
        widths.append(high - low)
    assert np.mean(widths) == pytest.approx(2 * 1.96 * values.std(), rel=0.25)
    assert all(map(math.isnan, normal_interval(1.0, np.array([1.0]))))


def test_every_replicate_draws_as_many_songs_and_always_the_same() -> None:
    counts_RU = multiplicities(12, 50)
    assert (counts_RU.sum(1) == 12).all()
    assert np.array_equal(counts_RU, multiplicities(12, 50))
    assert len(np.unique(counts_RU, axis=0)) > 45
    assert torch.is_tensor(scored([(1.0, 0, "a")]).rows[0])
