"""Synthesis: window transforms against real sines, perfect overlap-add, and a clock that never drifts."""

from __future__ import annotations

import math

import pytest
import torch
from memory_layout import unusual_layouts

from livejam.codecs.features import SpectralFeatures
from livejam.codecs.synthesis import (
    CLOCK_STEPS,
    GATE,
    NOISE_PERIOD_SUBFRAMES,
    SpectralParts,
    Synthesis,
    scaled_noise,
    shape_attacks,
    soft_gate,
)

RATE_HZ, WINDOW, FLOOR = 22050, 1024, 1e-3


@pytest.fixture(scope="module")
def synthesis() -> Synthesis:
    return Synthesis(RATE_HZ, 1, WINDOW, FLOOR)


def parts(subframes: int, oscillator: int | None, noise: float) -> SpectralParts:
    log_oscillator = torch.zeros(1, subframes, 1, 228) - 9
    if oscillator is not None:
        log_oscillator[..., oscillator] = math.log(0.3 / FLOOR)
    shape = (1, subframes, 1, WINDOW // 2 + 1)
    return SpectralParts(
        torch.full(shape, math.log(0.1 / FLOOR)),
        log_oscillator,
        torch.full(shape, noise),
        torch.zeros(shape).to(torch.complex64),
    )


def steady(synthesis: Synthesis, some: SpectralParts) -> torch.Tensor:
    """The magnitude before the first sub-frame, as if nothing had changed."""
    return synthesis.magnitude(some)[:, 0]


@pytest.mark.parametrize("oscillator", [6, 40, 97, 98, 150, 227])
def test_donor_of_one_oscillator_is_the_spectrum_of_a_sine(synthesis: Synthesis, oscillator: int) -> None:
    index = torch.tensor([[5, 6]])
    made = synthesis.donor(parts(2, oscillator, 0.0), index, steady(synthesis, parts(2, oscillator, 0.0)))[0, :, 0]
    clock, start = int(synthesis.clock_K[oscillator]), int(synthesis.start_K[oscillator])
    frequency_hz = clock / CLOCK_STEPS * RATE_HZ / synthesis.stride_samples
    amplitude = FLOOR * float(soft_gate(torch.tensor(math.log(0.3 / FLOOR))))
    for subframe, spectrum in zip((5, 6), made, strict=True):
        centred = (torch.arange(WINDOW, dtype=torch.float64) - WINDOW / 2) / RATE_HZ
        phase = 2 * math.pi * ((subframe * clock + start) % CLOCK_STEPS) / CLOCK_STEPS
        sine = amplitude * torch.cos(2 * math.pi * frequency_hz * centred + phase)
        window = torch.hann_window(WINDOW, dtype=torch.float64)
        true = torch.fft.rfft(sine * window * 2 / window.sum())
        assert float((true - spectrum).abs().max()) < 2e-3 * amplitude


def test_overlap_add_inverts_the_analysis(synthesis: Synthesis) -> None:
    audio = torch.randn(2, 1, 20 * 256)
    features = SpectralFeatures(RATE_HZ, 2048, FLOOR)
    padded = torch.cat([torch.zeros(2, 768), audio[:, 0]], dim=1)
    spectrum = torch.fft.rfft(padded.unfold(-1, WINDOW, 256) * features.window)[:, :, None]
    made, tail = synthesis.overlap_add(spectrum, torch.zeros(2, 1, 768))
    assert torch.allclose(made[:, :, 768:], audio[:, :, :-768], atol=1e-5)
    assert tail.shape == (2, 1, 768)


def test_one_oscillator_sounds_at_its_pitch(synthesis: Synthesis) -> None:
    donor = synthesis.donor(parts(256, 100, 0.0), torch.arange(256)[None], steady(synthesis, parts(256, 100, 0.0)))
    audio = synthesis.overlap_add(donor, torch.zeros(1, 1, 768))[0][0, 0, 2048:-2048]
    spectrum = torch.fft.rfft(audio * torch.hann_window(len(audio))).abs()
    pitch_hz = float(synthesis.clock_K[100]) / CLOCK_STEPS * RATE_HZ / 256
    assert abs(int(spectrum.argmax()) * RATE_HZ / len(audio) - pitch_hz) < RATE_HZ / len(audio)
    # a steady sine: nothing but its line
    assert float(spectrum.topk(5).values.square().sum() / spectrum.square().sum()) > 0.999


def test_the_clock_is_exact_after_years(synthesis: Synthesis) -> None:
    """Phases repeat with the clock's period, whatever the index: no rounding builds up."""
    early = torch.arange(8)[None]
    late = early + CLOCK_STEPS * NOISE_PERIOD_SUBFRAMES * 10**6
    assert torch.equal(
        synthesis.donor(parts(8, 50, 0.5), early, steady(synthesis, parts(8, 50, 0.5))),
        synthesis.donor(parts(8, 50, 0.5), late, steady(synthesis, parts(8, 50, 0.5))),
    )


def test_noise_has_unit_mean_square_and_joins_its_ends(synthesis: Synthesis) -> None:
    table = synthesis.noise_PAF
    assert float(table.abs().square().mean()) == pytest.approx(1, rel=0.05)
    index = torch.arange(NOISE_PERIOD_SUBFRAMES - 20, NOISE_PERIOD_SUBFRAMES + 20)[None]
    audio = synthesis.overlap_add(synthesis.noise_PAF[index % NOISE_PERIOD_SUBFRAMES], torch.zeros(1, 1, 768))[0]
    inner = audio[0, 0, 1024:-1024].reshape(-1, 256).square().mean(1)
    assert float(inner.max() / inner.min()) < 2.5


@pytest.mark.parametrize("sides", [0.0, 0.5])
def test_noise_of_stereo_has_a_middle_and_sides(sides: float) -> None:
    """Without noise at the sides both channels get the very same noise, each at its own level."""
    synthesis, shape = Synthesis(RATE_HZ, 2, WINDOW, FLOOR), (1, 60, 2, WINDOW // 2 + 1)
    magnitude, gain = torch.ones(shape), torch.ones(shape)
    magnitude[:, :, 1] = 0.25
    gain[:, :, 1] = sides
    noise = scaled_noise(magnitude, gain, synthesis.noise_PAF[None, :60])
    left, right = noise.unbind(2)
    correlation = (left * right.conj()).sum().abs() / (left.abs().square().sum() * right.abs().square().sum()).sqrt()
    assert float(correlation) == pytest.approx((1 - sides**2) / (1 + sides**2), abs=0.05)
    assert float(right.abs().square().mean() / left.abs().square().mean()) == pytest.approx(1 / 16, rel=0.1)


def test_magnitude_is_kept_and_silence_is_silent(synthesis: Synthesis) -> None:
    some = parts(4, 60, 0.5)
    donor = synthesis.donor(some, torch.arange(4)[None], steady(synthesis, some))
    spectrum = synthesis.spectrum(some, donor)
    wanted = FLOOR * (some.log_magnitude_BMAF.expm1() - GATE)
    # only where donor and noise nearly cancel may it be less
    assert bool((spectrum.abs() <= 1.0001 * wanted).all())
    assert float((spectrum.abs() > 0.998 * wanted).float().mean()) > 0.99
    silent = SpectralParts(torch.full_like(some.log_magnitude_BMAF, 0.5 * GATE), *vars_of(some))
    assert float(synthesis.spectrum(silent, donor).abs().max()) == 0


def vars_of(some: SpectralParts) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return some.log_oscillator_BMAK, some.noise_gain_BMAF, some.correction_BMAF


def test_attacks_are_moved_to_the_end_of_the_window() -> None:
    """The shaped spectrum is that of the window times a rising sine; a steady sound is left alone."""
    noise = torch.randn(WINDOW, dtype=torch.float64) * torch.hann_window(WINDOW, dtype=torch.float64)
    spectrum = torch.fft.rfft(noise)[None, None, None]
    magnitude = torch.ones(1, 1, 1, WINDOW // 2 + 1, dtype=torch.float64)
    rising = shape_attacks(spectrum, magnitude, torch.zeros_like(magnitude)[:, 0])
    angle = 2 * math.pi * (torch.arange(WINDOW, dtype=torch.float64) / WINDOW - 0.5)
    expected = torch.fft.rfft(noise * (1 + 2 * torch.sin(angle)))
    assert torch.allclose(rising[0, 0, 0, 1:-1], expected[1:-1], atol=1e-4 * float(expected.abs().max()))
    assert torch.allclose(shape_attacks(spectrum, magnitude, magnitude[:, 0])[..., 5:-5], spectrum[..., 5:-5])


@pytest.mark.parametrize("audio_channels", [1, 2])
def test_noise_lies_in_dense_memory(audio_channels: int) -> None:
    """Which is all that DDP broadcasts."""
    assert not unusual_layouts(Synthesis(RATE_HZ, audio_channels, WINDOW, FLOOR))
