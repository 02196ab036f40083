"""Loudness of long recordings is pyloudnorm's, and what cannot be measured says so."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pyloudnorm import Meter

from metrics.programme_loudness import LoudnessMeter

RATE = 8000


def measured(audio_AN: np.ndarray, piece: int, rate: int = RATE) -> float:
    meter = LoudnessMeter(rate)
    for start in range(0, audio_AN.shape[1], piece):
        meter.update(audio_AN[:, start : start + piece])
    return meter.compute()


def music(seconds: float, channels: int = 2) -> np.ndarray:
    """Noise whose level changes, with a rest that the gates leave out."""
    samples = round(seconds * RATE)
    level_N = np.interp(np.arange(samples) / samples, [0, 0.3, 0.6, 0.61, 0.8, 1], [0.01, 0.5, 0.1, 0, 0, 0.3])
    return (level_N * np.random.default_rng(0).standard_normal((channels, samples))).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_a_short_recording_is_measured_as_a_whole(channels: int) -> None:
    audio_AN = music(20, channels)
    assert measured(audio_AN, 512) == pytest.approx(Meter(RATE).integrated_loudness(audio_AN.T), abs=1e-6)


def test_a_long_recording_is_measured_in_pieces() -> None:
    audio_AN = music(190)
    assert measured(audio_AN, 1000) == pytest.approx(Meter(RATE).integrated_loudness(audio_AN.T), abs=0.02)


def test_a_sine_at_full_scale() -> None:
    sine_AN = np.sin(2 * np.pi * 997 * np.arange(3 * 48000) / 48000)[np.newaxis]
    assert measured(sine_AN, 48000, 48000) == pytest.approx(-3.01, abs=0.05)


def test_the_low_channel_of_six_does_not_count() -> None:
    audio_AN = music(5, 6)
    louder_AN = audio_AN.copy()
    louder_AN[3] *= 10
    assert measured(louder_AN, 512) == measured(audio_AN, 512)


def test_what_cannot_be_measured() -> None:
    assert measured(np.zeros((2, RATE)), 100) == -math.inf
    assert math.isnan(measured(music(0.39), 100))
    assert math.isnan(measured(np.zeros((1, 0)), 100))
