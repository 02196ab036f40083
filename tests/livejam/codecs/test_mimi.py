"""Mimi's stream against the model's own forward pass, far beyond its attention window."""

from __future__ import annotations

import pytest
import torch
from codec_models import same, tiny_mimi
from hypothesis import given, settings
from hypothesis import strategies as st

from livejam.codecs import Mimi
from livejam.errors import UserError

transformers = pytest.importorskip("transformers")


@settings(max_examples=4, deadline=None)
@given(sizes=st.lists(st.integers(1, 4), min_size=2, max_size=5))
@torch.no_grad()
def test_equals_the_model(sizes: list[int]) -> None:
    codec = tiny_mimi()
    hop = codec.spec.hop_samples
    audio = 0.3 * torch.randn(2, 1, sum(sizes) * hop)
    true_latents, true_sound = whole(codec, audio)
    encoder, decoder = codec.init_encoder_state(2), codec.init_decoder_state(2)
    latents, sound = [], []
    for piece in audio.split([size * hop for size in sizes], dim=2):
        some_latents, encoder = codec.encode_step(piece, encoder)
        some_sound, decoder = codec.decode_step(some_latents, decoder)
        latents.append(some_latents)
        sound.append(some_sound)
    assert same(torch.cat(latents, dim=1), true_latents)
    assert same(torch.cat(sound, dim=2), true_sound)


def whole(codec: Mimi, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The model's own latents and sound, by the path of transformers below 5.23 where that is installed."""
    model = codec.model
    if hasattr(model.encoder, "encoder_seanet"):
        latents = model.encoder(audio).latents
        return latents.transpose(1, 2), model.decoder(latents).audio_values
    hidden = model.encoder_transformer(model.encoder(audio).transpose(1, 2))[0].transpose(1, 2)
    latents = model.downsample(hidden)
    hidden = model.decoder_transformer(model.upsample(latents).transpose(1, 2))[0].transpose(1, 2)
    return latents.transpose(1, 2), model.decoder(hidden)


@torch.no_grad()
def test_attention_is_heard_and_its_memory_is_bounded() -> None:
    codec = tiny_mimi()
    window = codec.model.config.sliding_window
    audio = 0.3 * torch.randn(1, 1, 10 * codec.spec.hop_samples)
    latents, state = codec.encode_step(audio, codec.init_encoder_state(1))
    assert {keys.shape[2] for keys, _ in state.keys_values} == {window - 1}
    for layer in codec.encoding[1].layers:
        layer.self_attn.v_proj.weight.zero_()
    assert not torch.allclose(codec.encode(audio), latents, atol=1e-2)


def test_models_that_hear_the_future_are_refused() -> None:
    config = tiny_mimi().model.config
    config.use_causal_conv = False
    with pytest.raises(UserError, match="not causal"):
        Mimi(transformers.MimiModel(config), "other")
