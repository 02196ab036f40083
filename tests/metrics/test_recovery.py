"""When a number counts as back, and what its usual range is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from metrics.adaptation import BEATS_B
from metrics.recovery import WHOLE, recovery, rest_of, usual_range


def test_back_means_to_stay() -> None:
    rng = np.random.default_rng(0)
    curves_SB = 0.9 + 0.1 * rng.normal(size=(6, 1)) + 0.01 * rng.normal(size=(6, len(BEATS_B)))
    curves_SB[:, BEATS_B >= 0] = curves_SB[:, WHOLE].mean(1, keepdims=True)
    assert recovery(curves_SB).beats == 0
    curves_SB[:, (BEATS_B >= 0) & (BEATS_B < 10) & (BEATS_B != 5)] -= 0.4
    answer = recovery(curves_SB)
    assert answer.beats == 10
    assert answer.lowest == pytest.approx(answer.before - 0.4)
    assert answer.lowest < answer.after < answer.before
    assert recovery(curves_SB * math.nan).songs == 0
    curves_SB[0] = math.nan
    assert recovery(curves_SB).songs == 5


def test_songs_may_differ_as_long_as_each_stays_as_it_was() -> None:
    levels_SB = np.repeat([[0.1], [0.9]], len(BEATS_B), axis=1)
    answer = recovery(levels_SB)
    assert answer.beats == 0
    assert answer.interval == pytest.approx((0.5, 0.5))
    levels_SB[:, BEATS_B >= 0] -= 1e-6
    assert recovery(levels_SB).beats is None


def test_of_one_song_the_range_is_the_prediction_interval() -> None:
    values = np.array([0.3, 0.5, 0.4, 0.8])
    half = stats.t.ppf(0.975, 3) * values.std(ddof=1) * math.sqrt(1 + 1 / 4)
    assert usual_range(values[None]) == pytest.approx((values.mean() - half, values.mean() + half))
    assert np.isnan(usual_range(values[:1, None])).all()
    with_gaps = np.array([[*values, math.nan], [math.nan, 0.1, 0.2, math.nan, math.nan]])
    assert np.isfinite(usual_range(with_gaps)).all()


def test_the_range_holds_what_it_should() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        stretches_SB = rng.normal(size=(5, 1)) + rng.normal(size=(5, 5))
        low, high = usual_range(stretches_SB[:, :4])
        inside += low <= stretches_SB[:, 4].mean() <= high
    assert 0.93 < inside / 2000 < 0.97


def test_rests_are_those_of_songs_in_which_something_sounded() -> None:
    levels_SB = np.full((3, len(BEATS_B)), 0.0)
    levels_SB[0, (BEATS_B >= 2) & (BEATS_B < 11)] = -40
    levels_SB[2] = math.nan
    answer = rest_of(levels_SB, [8, 8, 8])
    assert (answer.silent_after, answer.sounds_after, answer.silent_songs, answer.songs) == (2, 3, 1, 2)
    assert rest_of(levels_SB[2:], [8]).songs == 0
