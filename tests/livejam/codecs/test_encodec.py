"""EnCodec's stream against the model's own forward pass."""

from __future__ import annotations

import pytest
import torch
from codec_models import encodec_model, same, tiny_encodec
from hypothesis import given, settings
from hypothesis import strategies as st

from livejam.codecs import EnCodec
from livejam.codecs.encodec import SILENT_FRAMES
from livejam.errors import UserError

transformers = pytest.importorskip("transformers")


@torch.no_grad()
def test_folded_weights_are_the_normalised_ones() -> None:
    model = encodec_model()
    audio = 0.3 * torch.randn(1, 1, 10 * 320)
    before = model.decoder(model.encoder(audio))
    codec = EnCodec(model, "folded")
    assert same(codec.model.decoder(codec.model.encoder(audio)), before)
    assert not any("parametrizations" in name for name, _ in codec.named_parameters())


@settings(max_examples=4, deadline=None)
@given(sizes=st.lists(st.integers(1, 4), min_size=2, max_size=5))
@torch.no_grad()
def test_equals_the_model_on_a_file_that_begins_with_silence(sizes: list[int]) -> None:
    codec = tiny_encodec()
    hop, silence = codec.spec.hop_samples, SILENT_FRAMES * codec.spec.hop_samples
    audio = 0.3 * torch.randn(2, 1, sum(sizes) * hop)
    embeddings = codec.model.encoder(torch.nn.functional.pad(audio, (silence, 0)))
    true_sound = codec.model.decoder(embeddings)[:, :, silence:]
    encoder, decoder = codec.init_encoder_state(2), codec.init_decoder_state(2)
    latents, sound = [], []
    for piece in audio.split([size * hop for size in sizes], dim=2):
        some_latents, encoder = codec.encode_step(piece, encoder)
        some_sound, decoder = codec.decode_step(some_latents, decoder)
        latents.append(some_latents)
        sound.append(some_sound)
    assert same(torch.cat(latents, dim=1), embeddings[:, :, SILENT_FRAMES:].transpose(1, 2))
    assert same(torch.cat(sound, dim=2), true_sound)


@torch.no_grad()
def test_without_silence_the_model_hears_the_future() -> None:
    """Why the silence is there: the mirror image at the start is made of samples that have not come yet."""
    codec = tiny_encodec()
    audio = 0.3 * torch.randn(1, 1, 10 * codec.spec.hop_samples)
    changed = audio.clone()
    changed[:, :, 4 * codec.spec.hop_samples :] += 1
    before, after = codec.model.encoder(audio), codec.model.encoder(changed)
    assert float((before - after)[:, :, 0].abs().max()) > 1e-3


@pytest.mark.parametrize("options", [{"use_causal_conv": False}, {"normalize": True}, {"norm_type": "time_group_norm"}])
def test_other_kinds_are_refused(options: dict[str, bool | str]) -> None:
    config = transformers.EncodecConfig(
        hidden_size=4, num_filters=2, codebook_size=16, target_bandwidths=[1.5], **options
    )
    with pytest.raises(UserError, match="24 kHz"):
        EnCodec(transformers.EncodecModel(config), "other")
