"""Published architectures, tiny and with random weights, behind their adapters."""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from livejam.codecs import DAC, CoDiCodec, EnCodec, Mimi, Music2Latent, StableAudioVAE
from livejam.codecs.codicodec import untouched_settings

STRIDES = [2, 4]


def same(made: torch.Tensor, true: torch.Tensor) -> bool:
    """Equal to float32 tolerance, relative to the loudest value."""
    return made.shape == true.shape and float((made - true).abs().max()) <= 1e-5 * max(1.0, float(true.abs().max()))


def loud(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights that differ everywhere and let every part of a model be heard, where published ones start at zero."""
    rng = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        fan = max(1, parameter[0].numel())
        with torch.no_grad():
            if name.endswith("scale") or "norm" in name:
                parameter.copy_(1 + 0.1 * torch.randn(parameter.shape, generator=rng))
            elif parameter.dim() > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=rng) / fan**0.5)
            else:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=rng))
    return model


def stable_audio_vae_model() -> Any:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = diffusers.AutoencoderOobleck(
            encoder_hidden_size=8,
            downsampling_ratios=STRIDES,
            channel_multiples=[1, 2],
            decoder_channels=8,
            decoder_input_channels=4,
            audio_channels=2,
        )
    return model


def dac_model() -> Any:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.DacConfig(
        encoder_hidden_size=4,
        downsampling_ratios=STRIDES,
        decoder_hidden_size=16,
        n_codebooks=1,
        codebook_size=16,
        codebook_dim=4,
        sampling_rate=44100,
    )
    model = transformers.DacModel(config)
    for parameter in model.parameters():
        if parameter.dim() == 3 and parameter.shape[0] > 1:
            nn.init.normal_(parameter, std=(parameter[0].numel()) ** -0.5)
    return model


def encodec_model() -> Any:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.EncodecConfig(
        hidden_size=6, num_filters=4, upsampling_ratios=[8, 5, 4, 2], codebook_size=16, target_bandwidths=[1.5]
    )
    model = transformers.EncodecModel(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # weight norm's gains: the default ones let little of the sound through
            parameter.mul_(1.7 if name.endswith("original0") else 1)
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
    return model


def mimi_model() -> Any:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.MimiConfig(
        hidden_size=16,
        num_filters=2,
        num_hidden_layers=2,
        intermediate_size=16,
        num_attention_heads=2,
        num_key_value_heads=2,
        sliding_window=5,
        upsample_groups=16,
        codebook_size=16,
        codebook_dim=8,
        vector_quantization_hidden_dimension=8,
        num_quantizers=2,
        layer_scale_initial_scale=1.0,
    )
    return transformers.MimiModel(config)


def tiny_stable_audio_vae() -> StableAudioVAE:
    return StableAudioVAE(stable_audio_vae_model(), "tiny")


def tiny_dac() -> DAC:
    return DAC(dac_model(), "tiny")


def tiny_encodec() -> EnCodec:
    return EnCodec(encodec_model(), "tiny")


def tiny_mimi() -> Mimi:
    return Mimi(mimi_model(), "tiny")


def shrink(package: ModuleType, sizes: dict[str, object]) -> ModuleType:
    """A package whose one size is written in globals, made small for the rest of the tests."""
    for name, size in sizes.items():
        assert hasattr(package, name)
        setattr(package, name, size)
    return package


def small_music2latent() -> ModuleType:
    """music2latent.models with a network of 50 thousand weights."""
    sizes = {
        "base_channels": 8,
        "multipliers_list": [1, 1, 1, 1, 2],
        "layers_list": [1, 1, 1, 1, 1],
        "attention_list": [0, 0, 0, 0, 1],
        "attention_list_encoder": [0, 0, 0, 0, 1],
        "bottleneck_base_channels": 16,
        "num_bottleneck_layers": 1,
        "cond_channels": 16,
        "heads": 2,
    }
    return shrink(pytest.importorskip("music2latent.models"), sizes)


def tiny_music2latent() -> Music2Latent:
    return Music2Latent(loud(small_music2latent().UNet()), "tiny")


def small_codicodec() -> ModuleType:
    """codicodec.models with one layer where there are twelve."""
    with untouched_settings():
        package = pytest.importorskip("codicodec.models")
    sizes = {
        "dim": 16,
        "heads": 2,
        "mlp_mult": 1,
        "num_layers": 1,
        "num_layers_encoder": 1,
        "cond_channels": 16,
        "frontend_base_channels": 4,
        "frontend_multipliers_list": [1, 1, 2, 4],
        "frontend_layers_list": [1, 1, 1, 1],
        "frontend_encoder_layers_list": [1, 1, 1, 1],
    }
    return shrink(package, sizes)


def tiny_codicodec() -> CoDiCodec:
    return CoDiCodec(loud(small_codicodec().UNet()), "tiny")
