"""Spectral distances: zero for equal sounds, blind to absolute phase, not blind to what is heard."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from livejam.objectives.spectral import (
    complex_spectrum,
    level_error,
    log_magnitude_error,
    multi_resolution_stft,
    phase_derivative_error,
    spectral_convergence,
    spectral_gap_excess,
)

WINDOWS = (1024, 512)


def tones(pitch_hz: float, phase: float) -> torch.Tensor:
    seconds = torch.arange(8192, dtype=torch.float64) / 22050
    return (0.5 * torch.sin(2 * math.pi * pitch_hz * seconds + phase))[None]


def spectrum(audio_BN: torch.Tensor) -> torch.Tensor:
    return complex_spectrum(audio_BN, 1024, 256)


@settings(max_examples=10, deadline=None)
@given(pitch_hz=st.floats(100, 4000), phase=st.floats(0, 6.28))
def test_absolute_phase_costs_nothing_but_pitch_does(pitch_hz: float, phase: float) -> None:
    here, turned, other = tones(pitch_hz, 0), tones(pitch_hz, phase), tones(1.5 * pitch_hz, 0)
    assert float(multi_resolution_stft(turned, here, WINDOWS, 1e-3)) < 0.02
    assert float(multi_resolution_stft(other, here, WINDOWS, 1e-3)) > 0.2
    assert float(phase_derivative_error(spectrum(turned), spectrum(here))) < 0.05


def test_equal_sounds_have_no_distance_and_rows_stay_apart() -> None:
    audio = torch.randn(3, 8192, dtype=torch.float64)
    changed = audio.clone()
    changed[1] *= 0.5
    for distance in (
        multi_resolution_stft(changed, audio, WINDOWS, 1e-3),
        spectral_convergence(changed, audio),
        log_magnitude_error(changed, audio),
        level_error(spectrum(changed), spectrum(audio)),
    ):
        assert distance.shape == (3,)
        assert float(distance[1]) > 10 * max(float(distance[0]), float(distance[2]), 1e-6)


@settings(max_examples=10, deadline=None)
@given(gain_db=st.floats(-10, 20))
def test_level_error_is_the_level(gain_db: float) -> None:
    audio = 0.3 * torch.randn(1, 8192, dtype=torch.float64)
    louder = audio * 10 ** (gain_db / 20)
    measured_db = 10 / math.log(10) * float(level_error(spectrum(louder), spectrum(audio)))
    assert measured_db == pytest.approx(abs(gain_db), abs=0.2)


def test_a_shift_of_one_half_has_convergence_one_half() -> None:
    magnitudes = torch.rand(2, 30, 40, dtype=torch.float64) + 1
    assert torch.allclose(spectral_convergence(1.5 * magnitudes, magnitudes), torch.tensor(0.5).double(), atol=1e-4)


def test_scrambled_phases_are_noticed() -> None:
    here = spectrum(tones(440, 0))
    turns = torch.exp(2j * math.pi * torch.rand(here.shape, dtype=torch.float64))
    assert float(phase_derivative_error(here * turns, here)) > 1


@pytest.mark.parametrize("loss", ["stft", "phase"])
def test_gradients_survive_silence(loss: str) -> None:
    silence = torch.zeros(1, 4096, requires_grad=True)
    noise = torch.randn(1, 4096)
    if loss == "stft":
        multi_resolution_stft(silence, noise, WINDOWS, 1e-3).sum().backward()
    else:
        phase_derivative_error(spectrum(silence), spectrum(noise)).sum().backward()
    assert silence.grad is not None
    assert torch.isfinite(silence.grad).all()


@settings(max_examples=10, deadline=None)
@given(hiss_db=st.floats(-60, -50), gain_db=st.floats(-20, 0))
def test_spectral_gaps_cost_what_fills_them_at_any_level(hiss_db: float, gain_db: float) -> None:
    """10 dB more hiss under a tone cost ln 10; what the tone itself does there costs nothing, nor does silence."""
    gain, hiss = 10 ** (gain_db / 20), torch.randn(1, 8192, generator=torch.Generator().manual_seed(0)).double()
    # in the middle of a bin, where the window has no side lobes
    tone = tones(20 * 22050 / 1024, 0)
    true = gain * (tone + 1e-4 * hiss)
    made = [gain * (tone + 10 ** (level_db / 20) * hiss) for level_db in (hiss_db, hiss_db + 10)]
    low, high = (float(spectral_gap_excess(spectrum(m), spectrum(true), 45.0, 1e-7)) for m in made)
    assert high - low == pytest.approx(math.log(10), abs=0.05)
    for free in (true, torch.zeros_like(true)):
        assert float(spectral_gap_excess(spectrum(free), spectrum(true), 45.0, 1e-7)) == 0
