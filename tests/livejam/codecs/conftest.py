"""The bundled codec and a random one of the paper's size."""

from __future__ import annotations

import math

import pytest
import torch

from livejam.codecs import CausalCodec, pretrained_codec


@pytest.fixture(scope="session")
def pocket() -> CausalCodec:
    return pretrained_codec()


@pytest.fixture(scope="session")
def paper_size() -> CausalCodec:
    """44.1 kHz stereo, 4096-sample hop, 128 channels, with a narrow decoder; quiet as a trained codec is."""
    torch.manual_seed(3)
    codec = CausalCodec(
        name="paper",
        sample_rate_hz=44100,
        audio_channels=2,
        hop_samples=4096,
        latent_channels=128,
        width=48,
        subframe_width=32,
        blocks=1,
        subframe_blocks=1,
    )
    with torch.no_grad():
        codec.decoder.base.bias.fill_(math.log(0.01 / 6e-4))
        codec.decoder.base.weight.mul_(0.5)
    return codec.eval().requires_grad_(False)
