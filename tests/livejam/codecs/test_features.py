"""The front end: where tones land, what magnitudes mean, and that it hears nothing of the future."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from livejam.codecs.features import SpectralFeatures
from livejam.codecs.pitch_grid import LOW_PITCHES, grid_hz, grid_position

FLOOR = 1e-3


def tone(frequency_hz: float, rate_hz: int, samples: int) -> torch.Tensor:
    return torch.sin(2 * math.pi * frequency_hz * torch.arange(samples, dtype=torch.float64) / rate_hz).float()[None]


def test_grid_and_position_are_inverse() -> None:
    assert torch.allclose(grid_position(grid_hz()), torch.arange(228, dtype=torch.float64), atol=1e-9)


@pytest.mark.parametrize(("rate_hz", "hop"), [(22050, 2048), (44100, 4096)])
@settings(max_examples=15, deadline=None)
@given(midi=st.floats(28, 83), level=st.floats(0.05, 0.9))
def test_a_tone_lands_on_its_pitch_and_keeps_its_magnitude(rate_hz: int, hop: int, midi: float, level: float) -> None:
    features = SpectralFeatures(rate_hz, hop, FLOOR)
    frequency_hz = 440 * 2 ** ((midi - 69) / 12)
    low_L = features.low_maps(level * tone(frequency_hz, rate_hz, 4 * hop))[0, -1].exp() * FLOOR - 2 * FLOOR
    energy_L = low_L.square()
    position = float(grid_position(torch.tensor(frequency_hz)))
    assert abs(int(low_L.argmax()) - position) <= 1
    near = (torch.arange(LOW_PITCHES) - position).abs() <= 2
    assert float(energy_L[near].sum() / energy_L.sum()) > 0.97
    assert math.sqrt(float(energy_L.sum())) == pytest.approx(level, rel=0.03)


def test_two_low_notes_a_semitone_apart_are_told_apart() -> None:
    """41.2 and 43.7 Hz share a bin of the transform; played in turn, each must light up its own pitch."""
    features = SpectralFeatures(22050, 2048, FLOOR)
    peaks = [int(features.low_maps(tone(f, 22050, 8192))[0, -1].argmax()) for f in (41.203, 43.654)]
    assert peaks == [12, 14]


def test_full_scale_sine_has_magnitude_one() -> None:
    features = SpectralFeatures(22050, 2048, FLOOR)
    on_a_bin = 40 * 22050 / 1024
    assert float(features.magnitudes(tone(on_a_bin, 22050, 4096)).amax(-1)[0, -1]) == pytest.approx(1, rel=1e-3)


@settings(max_examples=8, deadline=None)
@given(cut=st.integers(1, 5))
def test_nothing_of_the_future(cut: int) -> None:
    features = SpectralFeatures(22050, 2048, FLOOR)
    audio = 0.1 * torch.randn(1, features.past_samples + 6 * 2048)
    changed = audio.clone()
    changed[:, features.past_samples + cut * 2048 :] += torch.randn(1, (6 - cut) * 2048)
    for before, after, rate in zip(features(audio), features(changed), (8, 2), strict=True):
        assert torch.equal(before[:, : cut * rate], after[:, : cut * rate])
        assert not torch.equal(before, after)
