"""CoDiCodec against the package's own functions, without noise, and what importing it leaves behind."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import torch
from codec_models import same, small_codicodec, tiny_codicodec

from livejam.codecs import CoDiCodec
from livejam.codecs import codicodec as adapter
from livejam.codecs.codicodec import noise_like, untouched_settings
from livejam.errors import UserError

small_codicodec()
inference = pytest.importorskip("codicodec.inference")


@pytest.fixture(scope="module")
def codec() -> CoDiCodec:
    return tiny_codicodec()


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codicodec.utils.mixed_precision", False)


@torch.no_grad()
def test_latents_are_the_package_s_for_audio_half_a_window_late(codec: CoDiCodec) -> None:
    audio = 0.2 * torch.randn(2, 2, 2 * codec.spec.hop_samples)
    late = torch.nn.functional.pad(audio, (codec.spec.delay_samples, 0))
    package = SimpleNamespace(gen=codec.model)
    true = inference.encode_audio_inference(late, package, 8, device=torch.device("cpu"), dont_quantize=True)
    assert same(torch.tanh(codec.encode(audio) * codec.scale), true.flatten(2))


@torch.no_grad()
def test_sound_is_the_package_s(codec: CoDiCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    latents = torch.randn(1, 3, codec.spec.latent_channels)
    bounded = torch.tanh(latents * codec.scale).unflatten(2, (-1, 4))
    nothing = lambda x, *_, **__: torch.zeros_like(x)  # noqa: E731
    monkeypatch.setattr(torch, "randn_like", nothing)
    monkeypatch.setattr(torch, "randn", lambda shape, **_: torch.zeros(shape))
    monkeypatch.setattr(adapter, "noise_like", nothing)
    package = SimpleNamespace(gen=codec.model)
    true = inference.decode_latent_inference(bounded, package, "autoregressive", 8, device=torch.device("cpu"))
    # the first samples are those before the song
    assert same(codec.decode(latents), true[:, :, codec.spec.delay_samples :])
    assert float(true.std()) > 1e-3


def test_importing_it_changes_nothing_else() -> None:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32, os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    with untouched_settings():
        cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = True, True, True
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = "elsewhere"
    after = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32, os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    assert before == after


@torch.no_grad()
def test_steps_and_prompt_are_heard(codec: CoDiCodec) -> None:
    latents = torch.randn(1, 2, codec.spec.latent_channels)
    sounds = [
        CoDiCodec(codec.model, "tiny", denoising_steps=steps, prompt_time=time).decode(latents)
        for steps, time in ((2, 0.4), (1, 0.4), (2, 0.0))
    ]
    assert all(torch.isfinite(sound).all() for sound in sounds)
    assert not torch.allclose(sounds[0], sounds[1], atol=1e-4)
    hop = codec.spec.hop_samples - codec.spec.delay_samples
    assert torch.equal(sounds[0][:, :, :hop], sounds[2][:, :, :hop])
    assert not torch.allclose(sounds[0][:, :, hop:], sounds[2][:, :, hop:], atol=1e-4)


@torch.no_grad()
def test_every_chunk_has_its_own_noise(codec: CoDiCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def noted(spectra: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        seeds.append(rng.initial_seed())
        return noise_like(spectra, rng)

    monkeypatch.setattr(adapter, "noise_like", noted)
    codec.decode(torch.zeros(1, 3, codec.spec.latent_channels))
    # two steps for each, and the prompt of those that have one
    assert seeds == [0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(("steps", "time"), [(0, 0.4), (2, -0.1), (2, 1.1)])
def test_impossible_decoders_are_refused(codec: CoDiCodec, steps: int, time: float) -> None:
    with pytest.raises(UserError, match="impossible"):
        CoDiCodec(codec.model, "tiny", denoising_steps=steps, prompt_time=time)
