"""What is no music: defined results, or one clear error."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from livejam.codecs import CausalCodec
from livejam.codecs.checks import require_audio
from livejam.errors import UserError

FRAMES = 8


def signal(name: str, codec: CausalCodec) -> Tensor:
    spec = codec.spec
    time_N = torch.arange(FRAMES * spec.hop_samples) / spec.sample_rate_hz
    shapes = {
        "silence": torch.zeros_like(time_N),
        "dc": torch.full_like(time_N, 0.5),
        "full-scale dc": torch.ones_like(time_N),
        "square": torch.sign(torch.sin(2 * torch.pi * 110 * time_N) + 1e-6),
        "nyquist": 1.0 - 2.0 * (torch.arange(len(time_N)) % 2),
        "denormal": torch.full_like(time_N, 1e-40),
        "clipped tenfold": 10 * torch.sin(2 * torch.pi * 440 * time_N),
    }
    return shapes[name].expand(1, spec.audio_channels, -1).contiguous()


@pytest.fixture(params=["pocket", "paper_size"])
def codec(request: pytest.FixtureRequest) -> CausalCodec:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("name", ["silence", "dc", "full-scale dc", "square", "nyquist", "denormal", "clipped tenfold"])
def test_extremes_have_finite_bounded_results(codec: CausalCodec, name: str) -> None:
    audio = signal(name, codec)
    with torch.inference_mode():
        latents = codec.encode(audio)
        sound = codec.decode(latents)
    assert float(latents.abs().max()) <= codec.bound
    assert sound.shape == audio.shape
    assert torch.isfinite(sound).all()


@pytest.mark.parametrize("name", ["silence", "denormal"])
def test_nothing_stays_nothing(pocket: CausalCodec, name: str) -> None:
    assert float(pocket.decode(pocket.encode(signal(name, pocket))).abs().max()) < 2e-3


def test_a_square_wave_neither_vanishes_nor_explodes(pocket: CausalCodec) -> None:
    """Nothing like it was in the training data, so its level is not kept."""
    audio = signal("square", pocket)
    level = pocket.decode(pocket.encode(audio))[:, :, 4096:-4096].square().mean().sqrt()
    assert 0.1 < float(level) < 2


def test_one_sample_is_refused_with_the_way_out(codec: CausalCodec) -> None:
    with pytest.raises(UserError, match="pad or cut"):
        codec.encode(torch.zeros(1, codec.spec.audio_channels, 1))


def test_nan_in_one_row_is_refused(codec: CausalCodec) -> None:
    audio = signal("dc", codec).repeat(2, 1, 1)
    audio[1, -1, -1] = float("nan")
    with pytest.raises(UserError, match="NaN"):
        codec.encode(audio)


def test_wrong_rate_and_channels_are_refused(codec: CausalCodec) -> None:
    spec = codec.spec
    with pytest.raises(UserError, match="resample"):
        require_audio(signal("silence", codec), spec, sample_rate_hz=spec.sample_rate_hz + 1)
    with pytest.raises(UserError, match="mix down"):
        codec.encode(torch.zeros(1, 3 - spec.audio_channels, spec.hop_samples))
