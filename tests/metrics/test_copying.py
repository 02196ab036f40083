"""Copies of the mix are found at any level, polarity and delay."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.copying import LONGEST_LAG_SECONDS, copied

RATE = 8000


def noise(seed: int, seconds: float = 4.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(round(seconds * RATE))


@settings(max_examples=30, deadline=None)
@given(st.integers(-4000, 4000), st.sampled_from([-1.0, 0.01, 3.0]))
def test_a_copy_is_found(lag: int, gain: float) -> None:
    mix_N = np.pad(noise(0), 5000)
    assert abs(lag) <= LONGEST_LAG_SECONDS * RATE
    assert copied(gain * np.roll(mix_N, lag), mix_N, RATE) == pytest.approx(1, abs=1e-6)


def test_a_later_copy_and_other_sound_are_none() -> None:
    mix_N = np.pad(noise(0), 5000)
    assert copied(np.roll(mix_N, 4100), mix_N, RATE) < 0.05
    assert copied(noise(1), noise(2), RATE) < 0.05


def test_a_copy_under_other_sound_has_its_share() -> None:
    assert copied(noise(1) + noise(2), noise(2), RATE) == pytest.approx(0.5**0.5, abs=0.02)


def test_silence_copies_nothing() -> None:
    assert math.isnan(copied(np.zeros(RATE), noise(0, 1.0), RATE))
    assert math.isnan(copied(noise(0, 1.0), np.zeros(RATE), RATE))
    assert math.isnan(copied(np.zeros(0), np.zeros(0), RATE))
