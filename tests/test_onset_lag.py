"""Whether what is played comes ahead or late, as `benchmarks/onset_lag.py` measures it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import livejam
from benchmarks.onset_lag import MOST_FRAMES, Floats, agreement, lag_ms, measured, row_of
from livejam.errors import UserError


def strokes(seed: int) -> Floats:
    """Onset strength of strokes at random times."""
    return (np.random.default_rng(seed).random(2000) < 0.04).astype(float)


@given(st.integers(0, 99), st.integers(-MOST_FRAMES, MOST_FRAMES))
def test_what_is_moved_comes_late_by_as_much(seed: int, frames: int) -> None:
    true_T = strokes(seed)
    curve_L = agreement(np.roll(true_T, frames), true_T)
    assert lag_ms(curve_L) == pytest.approx(10 * frames)
    assert curve_L.max() > 0.9


@given(st.integers(0, 99), st.floats(0.1, 10), st.floats(-1, 1))
def test_loudness_does_not_matter_and_early_is_the_mirror_of_late(seed: int, gain: float, offset: float) -> None:
    played_T, true_T = strokes(seed), strokes(seed + 100)
    curve_L = agreement(played_T, true_T)
    assert np.allclose(agreement(gain * played_T + offset, true_T), curve_L)
    assert np.allclose(agreement(true_T, played_T), curve_L[::-1])


def test_silence_agrees_with_nothing() -> None:
    assert (agreement(np.zeros(200), strokes(0)[:200]) == 0).all()


def test_an_interval_holds_its_value_and_songs_alike_have_none() -> None:
    curves_SL = np.array([agreement(np.roll(strokes(seed), 9), strokes(seed)) for seed in range(6)])
    row = row_of(curves_SL)
    assert row["lag"]["value"] == row["lag"]["interval"][0] == row["lag"]["interval"][1] == pytest.approx(90)
    for cell in row.values():
        assert cell["interval"][0] - 1e-9 <= cell["value"] <= cell["interval"][1] + 1e-9


def test_the_bundled_model_plays_in_time(rendered_songs: Path) -> None:
    """It predicts: one frame ahead, its strokes are no frame (93 ms) late."""
    row = measured(livejam.load("liveband-pocket"), str(rendered_songs), "Percussive", 4, [1])[1]
    assert abs(row["lag"]["value"]) <= 30


def test_an_anticipation_that_was_not_learnt_is_refused(rendered_songs: Path) -> None:
    with pytest.raises(UserError, match="1 to 1 frames ahead, not 5"):
        measured(livejam.load("liveband-pocket"), str(rendered_songs), "Percussive", 4, [1, 5])


def test_an_instrument_that_was_not_learnt_is_refused(rendered_songs: Path) -> None:
    with pytest.raises(UserError, match="not Organ; name one with --instrument"):
        measured(livejam.load("liveband-pocket"), str(rendered_songs), "Organ", 4, [1])
