"""CoDiCodec, the consistency transformer autoencoder of the package codicodec, as a stream of its chunks.

Shapes: B batch, T latent frames (one chunk each), C latent channels, A audio channels, N audio samples, K summary
embeddings of a chunk, Q numbers in each, R real and imaginary parts of both channels, F frequencies, M spectra.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from livejam.codecs.checks import require_audio, require_latents
from livejam.codecs.chunked import encode_in_steps
from livejam.codecs.codec import Codec, Plain
from livejam.codecs.published import Published, load_state, optional_package
from livejam.errors import UserError
from livejam.spec import CodecSpec

Denoiser = Callable[[Tensor, float], Tensor]
"""Clean spectra of noisy ones at a noise level."""
CODICODEC = Published("SonyCSLParis/codicodec", ("codicodec.pt",), CodecSpec("codicodec", 44100, 2, 32768, 512, 1024))


@dataclass(frozen=True)
class EncoderState:
    """The samples under the first half of the next chunk's first window."""

    past_BAN: Tensor


@dataclass(frozen=True)
class DecoderState:
    """The chunk before.

    Args:
        spectra_BRFM: what was decoded; no spectra before the first chunk.
        latents_BKQ: its embeddings.
        frame: index of the next chunk (int64), which seeds its noise.
    """

    spectra_BRFM: Tensor
    latents_BKQ: Tensor
    frame: Tensor


class CoDiCodec(Codec[EncoderState, DecoderState]):
    """44.1 kHz stereo to 512 numbers per chunk of 743 ms, causal from chunk to chunk, 23 ms late.

    The embeddings of a chunk have no order, so a latent frame is the whole chunk; `unflatten(2, (8, 64))` gives the
    eight tokens of 64 channels that generators use. Windows are moved by half of their length into the past, so that
    a chunk hears nothing beyond its end. Chunks are decoded one after the other, each with the one before as its
    prompt, and from noise that its index determines.

    Args:
        model: codicodec's `UNet`.
        name: a name for the weights, shown to users.
        sample_rate_hz: 44100 or 48000; it was trained for both.
        denoising_steps: passes of the decoder per chunk, 1 or more.
        prompt_time: the amount of noise on the chunk before, as a prompt, 0 (none) to 1.

    Raises:
        UserError: steps or prompt out of range.
    """

    causal = True
    licence = "CC BY-NC 4.0"

    def __init__(
        self,
        model: nn.Module,
        name: str,
        sample_rate_hz: int = 44100,
        denoising_steps: int = 2,
        prompt_time: float = 0.4,
    ) -> None:
        super().__init__()
        if denoising_steps < 1 or not 0 <= prompt_time <= 1:
            raise UserError(
                f"{denoising_steps} denoising steps and a prompt time of {prompt_time} are impossible; use 1 or more, "
                "and 0 to 1"
            )
        self.model: Any = model
        for tensor in (*model.parameters(), *model.buffers()):
            # the package keeps channels last; with a dimension of one that is a layout which DDP cannot broadcast
            tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
        self.eval().requires_grad_(False)
        self.denoising_steps, self.prompt_time = denoising_steps, prompt_time
        with untouched_settings():
            self.hparams = optional_package("codicodec.hparams")
            self.transforms = optional_package("codicodec.audio")
            self.noising = optional_package("codicodec.utils")
            self.scale: float = optional_package("codicodec.hparams_inference").sigma_rescale
        stride, spectra = self.hparams.hop, self.hparams.spec_length
        latent_channels = self.hparams.num_latents * self.hparams.bottleneck_channels
        delay_samples = stride * (self.hparams.fac - 1)
        self.spec = CodecSpec(name, sample_rate_hz, 2, stride * spectra, latent_channels, delay_samples)

    @classmethod
    def from_weights(cls, weights: str | Path, published: Published = CODICODEC) -> CoDiCodec:
        """The codec with weights from a local file; the network is not used.

        Args:
            weights: the file codicodec.pt.
            published: what is on record for it.

        Raises:
            UserError: codicodec is not installed, or the weights are missing or those of something else.
        """
        with untouched_settings():
            model: nn.Module = optional_package("codicodec.models").UNet()
        load_state(model, weights, published)
        codec = cls(model, published.spec.name, published.spec.sample_rate_hz)
        published.verify(codec.spec, weights)
        return codec

    @property
    def settings(self) -> dict[str, Plain]:
        """How it is decoded."""
        return {"denoising_steps": self.denoising_steps, "prompt_time": self.prompt_time}

    def encode(self, audio_BAN: Tensor) -> Tensor:
        """Latents BTC of audio BAN; N must be a multiple of the hop.

        Raises:
            UserError: wrong channels or length, or values that are not finite.
        """
        return encode_in_steps(self, audio_BAN)

    def decode(self, latents_BTC: Tensor) -> Tensor:
        """Audio BAN of T · hop samples, aligned with the audio that was encoded.

        The last `spec.delay_samples` samples fade out, because the chunks that would overlap with them do not exist.

        Raises:
            UserError: wrong channels, or values that are not finite.
        """
        audio_BAN, state = self.decode_step(latents_BTC, self.init_decoder_state(latents_BTC.shape[0]))
        tail_BAN = self.transforms.to_waveform(state.spectra_BRFM)[:, :, self.spec.hop_samples :]
        return torch.cat([audio_BAN, tail_BAN], dim=2)[:, :, self.spec.delay_samples :]

    def init_encoder_state(self, batch_size: int) -> EncoderState:
        """Silence before the first sample."""
        return EncoderState(self.model.latents.new_zeros(batch_size, 2, self.spec.delay_samples))

    def encode_step(self, audio_BAN: Tensor, state: EncoderState) -> tuple[Tensor, EncoderState]:
        """Latents BTC of the next N samples, a multiple of the hop.

        Raises:
            UserError: wrong channels or length, or values that are not finite.
        """
        require_audio(audio_BAN, self.spec)
        heard_BAN = torch.cat([state.past_BAN, audio_BAN], dim=2)
        spectra_BRFM = self.transforms.to_representation_encoder(heard_BAN)
        chunks = spectra_BRFM.split(self.hparams.spec_length, dim=3)
        bounded = [self.model.encoder_forward(chunk, dont_quantize=True).flatten(1) for chunk in chunks]
        latents_BTC = torch.atanh(torch.stack(bounded, dim=1)) / self.scale
        return latents_BTC, EncoderState(heard_BAN[:, :, audio_BAN.shape[2] :])

    def init_decoder_state(self, batch_size: int) -> DecoderState:
        """Before the first chunk."""
        start = self.model.latents
        shape = (batch_size, self.hparams.stft_channels, self.hparams.hop * self.hparams.fac // 2, 0)
        latents_BKQ = start.new_zeros(batch_size, self.hparams.num_latents, self.hparams.bottleneck_channels)
        return DecoderState(start.new_zeros(shape), latents_BKQ, torch.zeros((), dtype=torch.int64))

    def decode_step(self, latents_BTC: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Audio BAN of the next T chunks, `spec.delay_samples` late.

        Raises:
            UserError: wrong channels, or values that are not finite.
        """
        require_latents(latents_BTC, self.spec)
        pieces = []
        for latents_BC in latents_BTC.unbind(1):
            latents_BKQ = torch.tanh(latents_BC * self.scale).unflatten(1, (-1, self.hparams.bottleneck_channels))
            spectra_BRFM = self.denoise(latents_BKQ, state)
            both_BAN = self.transforms.to_waveform(torch.cat([state.spectra_BRFM, spectra_BRFM], dim=3))
            end = both_BAN.shape[2] - self.spec.delay_samples
            pieces.append(both_BAN[:, :, end - self.spec.hop_samples : end])
            state = DecoderState(spectra_BRFM, latents_BKQ, state.frame + 1)
        return torch.cat(pieces, dim=2), state

    def denoise(self, latents_BKQ: Tensor, state: DecoderState) -> Tensor:
        """Spectra of one chunk, by the consistency model's steps from noise."""
        rng = torch.Generator().manual_seed(int(state.frame))
        opens = not state.spectra_BRFM.shape[3]
        denoiser = self.opener(latents_BKQ) if opens else self.follower(latents_BKQ, state, rng)
        spectra_BRFM = latents_BKQ.new_zeros(*state.spectra_BRFM.shape[:3], self.hparams.spec_length)
        for step in range(self.denoising_steps):
            sigma = self.noising.get_sigma_continuous(1 - step / self.denoising_steps)
            spectra_BRFM = denoiser(self.blur(spectra_BRFM, sigma, rng), sigma)
        return spectra_BRFM

    def blur(self, spectra_BRFM: Tensor, sigma: float, rng: torch.Generator) -> Tensor:
        """Clean spectra, which have the least noise level, at another one."""
        spread = max(0.0, sigma**2 - self.hparams.sigma_min**2) ** 0.5
        return spectra_BRFM + spread * noise_like(spectra_BRFM, rng)

    def opener(self, latents_BKQ: Tensor) -> Denoiser:
        """The decoder for the first chunk, which has no neighbour."""
        features = [beside_nothing(feature, 3) for feature in self.model.pre_decoder_forward(latents_BKQ)]
        pair_BKQ = beside_nothing(latents_BKQ, 1)

        def denoiser(noisy_BRFM: Tensor, sigma: float) -> Tensor:
            both = beside_nothing(noisy_BRFM, 3)
            return self.model.decoder_forward(both, pair_BKQ, features, output="left", sigma_left=sigma)

        return denoiser

    def follower(self, latents_BKQ: Tensor, state: DecoderState, rng: torch.Generator) -> Denoiser:
        """The decoder for a chunk to the right of the one before, which is its prompt."""
        prompt_sigma = self.noising.get_sigma_continuous(self.prompt_time)
        prompt_BRFM = self.blur(state.spectra_BRFM, prompt_sigma, rng)
        pair_BKQ = torch.cat([state.latents_BKQ, latents_BKQ], dim=1)
        features = self.model.pre_decoder_forward(pair_BKQ)

        def denoiser(noisy_BRFM: Tensor, sigma: float) -> Tensor:
            both = torch.cat([prompt_BRFM, noisy_BRFM], dim=3)
            return self.model.decoder_forward(
                both, pair_BKQ, features, output="right", sigma_left=prompt_sigma, sigma_right=sigma
            )

        return denoiser


def noise_like(spectra: Tensor, rng: torch.Generator) -> Tensor:
    """White noise that is the same for every row and on every device."""
    return torch.randn(spectra.shape[1:], generator=rng).to(spectra).expand_as(spectra)


def beside_nothing(x: Tensor, dim: int) -> Tensor:
    """The left half of a pair whose right half is empty."""
    return torch.cat([x, torch.zeros_like(x)], dim=dim)


@contextmanager
def untouched_settings() -> Iterator[None]:
    """Undo the settings that importing codicodec makes for the whole process: reduced precision, benchmarks and a cache
    folder."""
    cudnn, matmul, cache = torch.backends.cudnn, torch.backends.cuda.matmul, "TORCHINDUCTOR_CACHE_DIR"
    before = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32, matmul.allow_fp16_reduced_precision_reduction
    folder = os.environ.get(cache)
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32, matmul.allow_fp16_reduced_precision_reduction = before
        os.environ.pop(cache, None)
        if folder is not None:
            os.environ[cache] = folder
