"""Music2Latent against the package's own functions, which take the same noise."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from codec_models import same, tiny_music2latent

from livejam.codecs import Music2Latent
from livejam.codecs.music2latent import NOISE_FRAMES

inference = pytest.importorskip("music2latent.inference")
MINUTE = 44100 * 60


@pytest.fixture(scope="module")
def codec() -> Music2Latent:
    return tiny_music2latent()


@pytest.mark.filterwarnings("ignore:.*CUDA is not available.*")
@torch.no_grad()
def test_latents_are_the_package_s(codec: Music2Latent) -> None:
    audio = 0.2 * torch.randn(1, 1, 6 * codec.spec.hop_samples)
    # the package drops the last frame unless its windows are complete
    padded = torch.nn.functional.pad(audio[:, 0], (0, 3 * 512))
    true = inference.encode_audio_inference(padded, SimpleNamespace(gen=codec.model), MINUTE, 1, device="cpu")
    assert same(codec.encode(audio), true.transpose(1, 2))


@pytest.mark.filterwarnings("ignore:.*CUDA is not available.*")
@torch.no_grad()
def test_sound_is_the_package_s(codec: Music2Latent, monkeypatch: pytest.MonkeyPatch) -> None:
    latents = torch.randn(1, 5, 64)
    noise = codec.noise_PRFM[:5].permute(1, 2, 0, 3).flatten(2)[None] / codec.sigma
    monkeypatch.setattr(torch, "randn", lambda *_, **__: noise)
    package = SimpleNamespace(gen=codec.model)
    true = inference.decode_latent_inference(latents.transpose(1, 2), package, MINUTE, 1, device="cpu")
    assert same(codec.decode(latents)[:, 0], true[:, : 5 * codec.spec.hop_samples])


@torch.no_grad()
def test_noise_belongs_to_a_place_in_the_song(codec: Music2Latent) -> None:
    latents = torch.randn(1, 4, 64)
    here = codec.decode_window(latents, 2)
    assert torch.equal(here, codec.decode_window(latents, 2 - NOISE_FRAMES))
    assert not torch.allclose(here, codec.decode_window(latents, 3), atol=1e-3)
    assert abs(float(codec.noise_PRFM.std()) / codec.sigma - 1) < 0.01
