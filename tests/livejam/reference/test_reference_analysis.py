"""References: what a recording's embedding depends on, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from livejam.errors import UserError
from livejam.reference import ReferenceAnalysis, ReferenceTraining, interpolated, mixed
from metrics.cocola_embedding import CocolaEmbedding
from metrics.embeddings import LogMel

RATE = 16_000
ANALYSIS = ReferenceAnalysis(LogMel(), excerpt_seconds=1.5, excerpts=3)


def sound(seconds: float, seed: int = 0, hertz: float = 300.0) -> Tensor:
    time_N = torch.arange(round(seconds * RATE)) / RATE
    noise_N = torch.randn(len(time_N), generator=torch.Generator().manual_seed(seed))
    return (0.2 * torch.sin(2 * math.pi * hertz * time_N) + 0.02 * noise_N)[None]


@settings(max_examples=15, deadline=None)
@given(gain=st.floats(0.01, 5.0), seconds=st.floats(0.3, 9.0), channels=st.integers(1, 3))
def test_level_and_channels_do_not_matter(gain: float, seconds: float, channels: int) -> None:
    audio_AN = sound(seconds)
    one_E = ANALYSIS.of(audio_AN, RATE)
    assert one_E.shape == (ANALYSIS.channels,)
    assert torch.allclose(ANALYSIS.of(gain * audio_AN.expand(channels, -1), RATE), one_E, atol=2e-3)


def test_it_is_the_mean_over_a_few_excerpts_that_sound() -> None:
    audio_AN = torch.cat((sound(4.0), torch.zeros(1, 4 * RATE), sound(8.0, hertz=2000.0)), dim=1)
    starts, length = ANALYSIS.starts(audio_AN[0], RATE), ANALYSIS.excerpt_samples(RATE)
    assert len(starts) == 3
    assert len(ANALYSIS.starts(sound(3.1)[0], RATE)) == 2
    alone = [ANALYSIS.of(audio_AN[:, start : start + length], RATE) for start in starts]
    assert torch.allclose(ANALYSIS.of(audio_AN, RATE), torch.stack(alone).mean(dim=0), atol=1e-5)
    silence = [audio_AN[:, start : start + length].abs().mean() for start in starts]
    assert min(silence) > 0.01


def test_a_short_sound_is_repeated_and_a_rare_one_is_found() -> None:
    stroke_AN = sound(0.5)
    assert torch.allclose(ANALYSIS.of(stroke_AN, RATE), ANALYSIS.of(stroke_AN.repeat(1, 3), RATE), atol=1e-5)
    rare_AN = torch.cat((torch.zeros(1, 9 * RATE), 0.5 * stroke_AN), dim=1)
    assert ANALYSIS.of(rare_AN, RATE).isfinite().all()


@pytest.mark.parametrize("seconds", [0.0, 0.1])
def test_what_is_too_short_is_refused(seconds: float) -> None:
    with pytest.raises(UserError, match="shorter than"):
        ANALYSIS.of(sound(seconds), RATE)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_silent_or_not_finite_is_refused(bad: float) -> None:
    audio_AN = sound(3.0)
    audio_AN[0, 777] = bad
    with pytest.raises(UserError, match="NaN or infinite"):
        ANALYSIS.of(audio_AN, RATE)
    with pytest.raises(UserError, match=r"voice.wav is silent"):
        ANALYSIS.of(torch.zeros(2, 5 * RATE), RATE, "voice.wav")
    assert ANALYSIS.of(sound(3.0) * 1e30, RATE).isfinite().all()


@settings(max_examples=20, deadline=None)
@given(share=st.floats(0, 1), seed=st.integers(0, 99))
def test_between_two_references(share: float, seed: int) -> None:
    one_E, other_E = torch.randn(2, 7, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(interpolated(one_E, other_E, 0), one_E)
    assert torch.equal(interpolated(one_E, other_E, 1), other_E)
    between_E = interpolated(one_E, other_E, share)
    assert torch.allclose(between_E, interpolated(other_E, one_E, 1 - share), atol=1e-5)
    distance = (other_E - one_E).norm()
    assert torch.allclose((between_E - one_E).norm(), share * distance, atol=1e-4)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_beyond_them_is_refused(share: float) -> None:
    with pytest.raises(UserError, match="0 to 1"):
        interpolated(torch.zeros(2), torch.ones(2), share)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(UserError, match="excerpt_seconds"):
        ReferenceAnalysis(LogMel(), excerpt_seconds=0.0)
    with pytest.raises(UserError, match="excerpts"):
        ReferenceAnalysis(LogMel(), excerpts=0)
    with pytest.raises(UserError, match="dropout"):
        ReferenceTraining(ANALYSIS, dropout=1.5)
    with pytest.raises(UserError, match="mismatch_weight"):
        ReferenceTraining(ANALYSIS, mismatch_weight=-1)


def test_learnt_encoders_serve_too() -> None:
    analysis = ReferenceAnalysis(CocolaEmbedding())
    embedding_E = analysis.of(sound(6.0), RATE)
    assert embedding_E.shape == (analysis.channels,)
    assert "cocola" in analysis.facts["encoder"]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=16))
def test_a_mix_is_the_mean_of_its_parts_whatever_the_scale_of_their_weights(weights: list[float]) -> None:
    parts = [(torch.randn(6, generator=torch.Generator().manual_seed(place)), w) for place, w in enumerate(weights)]
    if sum(weights) < 1e-9:
        return
    mean_E = torch.stack([w / sum(weights) * embedding_E for embedding_E, w in parts]).sum(dim=0)
    assert torch.allclose(mixed(parts), mean_E, atol=1e-5)
    assert torch.allclose(mixed([(embedding_E, w / 7) for embedding_E, w in parts]), mean_E, atol=1e-5)


def test_a_mix_of_one_is_that_one_and_of_equal_parts_the_mean_as_of_excerpts() -> None:
    one_E, other_E = torch.randn(6), torch.randn(6)
    assert torch.equal(mixed([(one_E, 0.3)]), one_E)
    assert torch.equal(mixed([(one_E, 2.0), (other_E, 0.0)]), one_E)
    assert torch.allclose(mixed([(one_E, 1), (other_E, 1)]), torch.stack((one_E, other_E)).mean(dim=0))
    assert torch.allclose(mixed([(one_E, 3), (other_E, 1)]), interpolated(one_E, other_E, 0.25))


@pytest.mark.parametrize("weights", [[], [0.0], [-1.0], [math.nan], [math.inf, 1.0], [1.0] * 17])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(UserError, match="reference"):
        mixed([(torch.ones(3), weight) for weight in weights])
