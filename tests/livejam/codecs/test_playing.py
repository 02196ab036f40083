"""The bundled codec as it plays: the same sound from weights in float16, which are the weights that were published."""

from __future__ import annotations

import pytest
import torch

from livejam.codecs import CausalCodec, pretrained_codec
from livejam.codecs.playing import for_playing
from livejam.networks.reduced_linear import Float16Linear, has_kernels

pytestmark = pytest.mark.skipif(not has_kernels(), reason="PyTorch has no such kernels for this processor")


@torch.inference_mode()
def test_it_sounds_the_same_offline_and_frame_by_frame() -> None:
    codec = pretrained_codec()
    before = codec.state_dict()
    twin = for_playing(codec)
    assert isinstance(twin, CausalCodec)
    assert any(isinstance(module, Float16Linear) for module in twin.decoder.modules())
    audio_BAN = 0.3 * torch.randn(2, 1, 12 * codec.spec.hop_samples, generator=torch.Generator().manual_seed(0))
    latents_BTC = codec.encode(audio_BAN)
    assert torch.equal(twin.encode(audio_BAN), latents_BTC)
    expected_BAN = codec.decode(latents_BTC)
    assert (twin.decode(latents_BTC) - expected_BAN).abs().max() < 1e-5
    state, frames = twin.init_decoder_state(2), []
    for frame_BTC in latents_BTC.split(1, dim=1):
        audio_BAN, state = twin.decode_step(frame_BTC, state)
        frames.append(audio_BAN)
    delay = codec.spec.delay_samples
    assert (torch.cat(frames, dim=2)[..., delay:] - expected_BAN[..., :-delay]).abs().max() < 1e-5
    assert twin.latents_hash == codec.latents_hash
    assert codec.state_dict().keys() == before.keys()


def test_weights_that_float16_cannot_hold_stay_as_they_are() -> None:
    torch.manual_seed(0)
    twin = for_playing(CausalCodec().requires_grad_(False))
    assert not any(isinstance(module, Float16Linear) for module in twin.modules())
