"""A model and its codec as they play: the same sound from weights that are laid out for one frame."""

from __future__ import annotations

import pytest
import torch

from livejam.accompanist import Controls, accompany
from livejam.checkpoints.player import Player
from livejam.codecs import CausalCodec, pretrained_codec
from livejam.errors import UserError
from livejam.networks import CausalTransformer
from livejam.networks.packed_linear import PackedLinear
from livejam.networks.reduced_linear import Float16Linear, has_kernels, laid_out
from livejam.spec import LatentStatistics
from livejam.systems.liveband import LiveBandAccompanist
from livejam.systems.playing import for_playing

CONTROLS = Controls(torch.tensor([4, 14]), torch.tensor([0, 1]))


def make_player(codec: CausalCodec, published: bool) -> Player:
    torch.manual_seed(0)
    generator = CausalTransformer(96, 32, 512, 1, 4, window_frames=8, class_channels=8).eval().requires_grad_(False)
    for weight in generator.parameters():
        weight.copy_(weight.half().float() if published else weight)
    statistics = LatentStatistics(torch.zeros(96), torch.ones(96))
    return Player(LiveBandAccompanist(generator, codec.spec, statistics, 1), codec, torch.zeros(96))


@pytest.mark.parametrize("published", [False, True])
@torch.inference_mode()
def test_it_sounds_the_same_offline_and_frame_by_frame(published: bool) -> None:
    player = make_player(pretrained_codec(), published)
    twin = for_playing(player)
    codec, played = player.codec, twin.codec
    kinds = {type(module) for module in twin.accompanist.generator.modules()}
    assert (Float16Linear if published and has_kernels() else PackedLinear) in kinds
    audio_BAN = 0.3 * torch.randn(2, 1, 12 * codec.spec.hop_samples, generator=torch.Generator().manual_seed(0))
    mix_BTC = codec.encode(audio_BAN)
    assert torch.equal(played.encode(audio_BAN), mix_BTC)
    latents_BTC = accompany(player.accompanist, mix_BTC, CONTROLS, player.silence_C)
    assert (accompany(twin.accompanist, mix_BTC, CONTROLS, player.silence_C) - latents_BTC).abs().max() < 1e-5
    expected_BAN = codec.decode(mix_BTC)
    assert (played.decode(mix_BTC) - expected_BAN).abs().max() < 1e-5
    state, frames = played.init_decoder_state(2), []
    for frame_BTC in mix_BTC.split(1, dim=1):
        audio_BAN, state = played.decode_step(frame_BTC, state)
        frames.append(audio_BAN)
    delay = codec.spec.delay_samples
    assert (torch.cat(frames, dim=2)[..., delay:] - expected_BAN[..., :-delay]).abs().max() < 1e-5


@pytest.mark.skipif(not has_kernels(), reason="PyTorch has no such kernels for this processor")
def test_the_bundled_codec_reads_float16_and_is_not_changed() -> None:
    codec = pretrained_codec()
    before = codec.state_dict()
    played = for_playing(make_player(codec, published=True)).codec
    assert sum(isinstance(module, Float16Linear) for module in played.modules()) > 5
    assert played.latents_hash == codec.latents_hash
    assert codec.state_dict().keys() == before.keys()


def test_weights_that_float16_cannot_hold_stay_in_float32() -> None:
    torch.manual_seed(0)
    codec = CausalCodec().requires_grad_(False)
    played = for_playing(make_player(codec, published=False)).codec
    assert not any(isinstance(module, Float16Linear) for module in played.modules())


def test_weights_are_laid_out_once() -> None:
    twin = laid_out(make_player(pretrained_codec(), published=True).accompanist.generator)
    with pytest.raises(UserError, match="laid out for playing already"):
        laid_out(twin)
