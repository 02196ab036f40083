"""Weights on disk: small, complete, safe to load, and told apart by their hash."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchmarks.codec_average import average
from livejam.codecs import CausalCodec, codec_hash, load_codec, pretrained_codec, save_codec
from livejam.codecs.pretrained import BUNDLED
from livejam.errors import UserError


def test_bundled_weights_are_small_and_frozen(pocket: CausalCodec) -> None:
    assert (BUNDLED / "pocket.safetensors").stat().st_size <= 8_000_000
    assert (pocket.spec.sample_rate_hz, pocket.spec.hop_samples, pocket.spec.audio_channels) == (22050, 2048, 1)
    assert 64 <= pocket.spec.latent_channels <= 128
    assert not any(parameter.requires_grad for parameter in pocket.parameters())


def test_saving_and_loading_keeps_everything(pocket: CausalCodec, tmp_path: Path) -> None:
    save_codec(pocket, tmp_path / "copy.safetensors", {"seed": 1})
    copy = pretrained_codec(str(tmp_path / "copy.safetensors"))
    assert copy.spec == pocket.spec
    assert copy.config == pocket.config
    assert codec_hash(copy) == codec_hash(pocket)
    latents = torch.randn(1, 4, pocket.spec.latent_channels)
    assert torch.equal(copy.decode(latents), pocket.decode(latents))


def test_hash_sees_every_weight(pocket: CausalCodec) -> None:
    other = CausalCodec(width=16, subframe_width=16, blocks=1, subframe_blocks=1)
    before = codec_hash(other)
    assert len(before) == 64
    with torch.no_grad():
        other.decoder.heads.bias[3] += 1e-3
    assert before != codec_hash(other)
    assert before != codec_hash(pocket)


def test_a_better_decoder_keeps_the_meaning_of_latents() -> None:
    codec = CausalCodec(width=16, subframe_width=16, blocks=1, subframe_blocks=1)
    before = codec.latents_hash
    with torch.no_grad():
        codec.decoder.heads.bias[3] += 1e-3
    assert codec.latents_hash == before
    with torch.no_grad():
        codec.projection.bias[0] += 1e-3
    assert codec.latents_hash != before


@pytest.mark.parametrize("content", [b"", b"not a codec at all", b"\x10\x00\x00\x00\x00\x00\x00\x00{"])
def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a codec"):
        load_codec(path)


def test_foreign_weights_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(UserError, match="not a codec"):
        load_codec(tmp_path / "foreign.safetensors")
    with pytest.raises(UserError, match="no codec file"):
        load_codec(tmp_path / "missing.safetensors")
    with pytest.raises(UserError, match=r"there is: .*pocket"):
        pretrained_codec("studio")


def test_the_mean_of_codecs_keeps_the_encoder_and_refuses_another(pocket: CausalCodec) -> None:
    other = copy.deepcopy(pocket)
    for parameter in other.decoder.parameters():
        parameter.mul_(3)
    mean = average([pocket, other])
    assert mean.latents_hash == pocket.latents_hash
    for made, true in zip(mean.decoder.parameters(), pocket.decoder.parameters(), strict=True):
        assert torch.allclose(made, 2 * true, rtol=1e-5)
    other.projection.bias.add_(1)
    with pytest.raises(UserError, match="same encoder"):
        average([pocket, other])


def test_the_latents_of_the_bundled_codec_have_not_changed(pocket: CausalCodec) -> None:
    """Banks and checkpoints of others name this hash; whoever changes the encoder makes them useless."""
    assert pocket.latents_hash.startswith("0a7e02b17aab220e")
