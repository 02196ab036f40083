"""Mel distance, feature matching, and what keeps latents regular."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from livejam.objectives.feature_matching import feature_distance
from livejam.objectives.latent_regularity import divergence_from_normal, smoothness
from livejam.objectives.spectral import complex_spectrum, mel_distance
from metrics.mel import mel_filterbank

FILTERBANK = mel_filterbank(22050, 1024, 40, 0.0, 11025.0)


def mel(estimate: torch.Tensor, target: torch.Tensor, floor: float = 1e-5) -> torch.Tensor:
    spectra = (complex_spectrum(audio, 1024, 256) for audio in (estimate, target))
    return mel_distance(*spectra, FILTERBANK, floor)


@settings(max_examples=10, deadline=None)
@given(gain_db=st.floats(-6, 6))
def test_mel_distance_is_the_level_in_every_band(gain_db: float) -> None:
    audio = torch.randn(2, 8192)
    louder = audio * torch.tensor([[1.0], [10 ** (gain_db / 20)]])
    expected = torch.tensor([0.0, abs(gain_db) * 0.115129])
    assert torch.allclose(mel(louder, audio), expected, atol=2e-3)


def test_mel_distance_is_blind_to_phase_and_sees_pitch() -> None:
    seconds = torch.arange(8192) / 22050
    tone = torch.sin(2 * torch.pi * 440 * seconds)[None]
    turned, other = torch.cos(2 * torch.pi * 440 * seconds)[None], torch.sin(2 * torch.pi * 660 * seconds)[None]
    assert float(mel(turned, tone, 1e-3)) < 0.02 < 0.2 < float(mel(other, tone, 1e-3))


def test_mel_distance_of_silence_has_a_gradient() -> None:
    silence = torch.zeros(1, 4096, requires_grad=True)
    mel(silence, torch.randn(1, 4096)).sum().backward()
    assert torch.isfinite(silence.grad).all()


@settings(max_examples=10, deadline=None)
@given(scale=st.floats(0.1, 10), share=st.floats(0, 2))
def test_feature_distance_is_relative_to_each_layer(scale: float, share: float) -> None:
    """Multiplying a whole layer changes nothing: deep and shallow layers count alike."""
    target = [torch.randn(3, 4, 50), torch.randn(3, 8, 6, 6)]
    made = [(1 + share) * feature for feature in target]
    scaled = [scale * feature for feature in target], [scale * feature for feature in made]
    assert torch.allclose(feature_distance(made, target), torch.full((3,), share), atol=0.01)
    assert torch.allclose(feature_distance(scaled[1], scaled[0]), feature_distance(made, target), rtol=0.02)


@settings(max_examples=10, deadline=None)
@given(std=st.floats(0.1, 2))
def test_divergence_is_that_of_gaussians_up_to_what_does_not_depend_on_the_latents(std: float) -> None:
    latents = torch.randn(2, 5, 3)
    normal = torch.distributions.Normal
    exact = torch.distributions.kl_divergence(normal(latents, std), normal(0.0, 1.0)).mean((1, 2))
    at_zero = torch.distributions.kl_divergence(normal(torch.zeros(1), std), normal(0.0, 1.0))
    assert torch.allclose(divergence_from_normal(latents), exact - at_zero, atol=1e-4)


@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.5, 0.95])
def test_smoothness_is_the_correlation_of_neighbours(correlation: float) -> None:
    steps = [torch.randn(2, 16)]
    for _ in range(3000):
        steps.append(correlation * steps[-1] + (1 - correlation**2) ** 0.5 * torch.randn(2, 16))
    assert torch.allclose(smoothness(torch.stack(steps, dim=1)), torch.full((2,), correlation), atol=0.03)
    held = smoothness(torch.randn(2, 1, 5).expand(2, 4, 5))
    assert torch.allclose(held, torch.ones(2))
    assert float(smoothness(torch.zeros(1, 4, 2))) == 0
