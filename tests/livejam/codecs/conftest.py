"""The bundled codec, and one of the paper's size with a code of its own but an untrained decoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from codec_music import clicks, music

from lightning_modules.linear_code import fit_linear_code
from livejam.codecs import CausalCodec, pretrained_codec
from livejam.config_files import merged

REPOSITORY = Path(__file__).parents[3]
FITTED_FRAMES = 40


@pytest.fixture(scope="session")
def pocket() -> CausalCodec:
    return pretrained_codec()


@pytest.fixture(scope="session")
def paper_size() -> CausalCodec:
    """The codec of configs/codec/slakh.yaml: principal components of notes and clicks, random convolutions."""
    torch.manual_seed(3)
    config = merged("codec/slakh")
    codec = CausalCodec(**config["model"]["init_args"]["codec"]["init_args"]).eval().requires_grad_(False)
    hop, past = codec.spec.hop_samples, codec.features.past_samples
    samples = past + FITTED_FRAMES * hop
    heard = torch.cat([music(4, 2, samples, codec.spec.sample_rate_hz), clicks(4, 2, samples, hop)])
    # without the hiss there were directions of almost no variance, which whitening would blow up
    features_BTX = codec.view_features(heard + 3e-3 * torch.randn_like(heard))
    fit_linear_code(codec, features_BTX.flatten(0, 1), low_band_weight=1.2)
    return codec
