"""Copies of the mix are found at any level, polarity and delay, and through a codec."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from livejam.codecs import pretrained_codec
from metrics.copying import LONGEST_LAG_SECONDS, copied, copied_spectrum, deviations

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


def of_spectra(stem_N: np.ndarray, mix_N: np.ndarray, rate: int) -> float:
    return copied_spectrum(deviations(stem_N, rate), deviations(mix_N, rate))


@settings(max_examples=20, deadline=None)
@given(st.integers(-25, 25), st.sampled_from([-1.0, 0.01, 3.0]), st.integers(0, 1000))
def test_a_copy_has_the_same_spectra_at_any_level_and_delay(frames: int, gain: float, seed: int) -> None:
    rate = 16_000
    hits_N = (np.random.default_rng(seed).random(4 * rate) < 0.0005) * 0.5
    mix_N = np.pad(np.convolve(hits_N, np.sin(np.arange(800) / 5) * np.exp(-np.arange(800) / 200)), rate)
    copy_N = gain * np.roll(mix_N, frames * rate // 50)
    assert of_spectra(copy_N, mix_N, rate) > 0.9, "all but what is shifted out at an end"
    assert of_spectra(mix_N, copy_N, rate) == pytest.approx(of_spectra(copy_N, mix_N, rate), abs=1e-9)


def test_a_copy_through_the_codec_is_told_from_the_true_stem(rendered_songs: Path) -> None:
    """What a model that repeats would play: its waveform is hardly that of the mix any more."""
    folder, codec = next((rendered_songs / "test").glob("Track*")), pretrained_codec("pocket")
    length = 200 * codec.spec.hop_samples
    stems = [soundfile.read(path, dtype="float32")[0][:length] for path in sorted((folder / "stems").iterdir())]
    true_N, mix_N = stems[0], np.sum(stems[1:], axis=0)
    with torch.inference_mode():
        echo_N = codec.decode(codec.encode(torch.from_numpy(mix_N)[None, None]))[0, 0].numpy()
    rate = codec.spec.sample_rate_hz
    assert copied(echo_N, mix_N, rate) < 0.2
    assert of_spectra(echo_N, mix_N, rate) > 0.65
    assert of_spectra(true_N, mix_N, rate) < 0.3
    assert of_spectra(np.roll(echo_N, rate // 4), mix_N, rate) > 0.6


def test_silence_and_steady_sound_have_no_copy() -> None:
    silent_N = np.zeros(16_000)
    assert math.isnan(of_spectra(silent_N, noise(0, 2.0), 16_000))
    assert math.isnan(of_spectra(noise(0, 2.0), silent_N, 16_000))
