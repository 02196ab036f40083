"""The interface of an audio codec.

Shapes: B batch, T latent frames, C latent channels, A audio channels, N audio samples.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from typing import Any, Generic

from torch import Tensor, nn
from typing_extensions import TypeVar

from livejam.spec import CodecSpec

Plain = str | int | float
"""What settings are made of."""

# The defaults let a recipe's argument be a plain `Codec`: of `Codec[…]` the configuration would not know the options.
EncoderState = TypeVar("EncoderState", default=Any)
DecoderState = TypeVar("DecoderState", default=Any)


class Codec(nn.Module, ABC, Generic[EncoderState, DecoderState]):
    """Audio in [-1, 1] to latents and back, offline and as a stream with explicit state.

    The streamed outputs, concatenated, equal the offline ones to float tolerance (delayed by
    `spec.delay_samples` on the decoder's side). States are dataclasses of tensors.

    `causal` says that no frame depends on what comes after it. A codec that is not causal refuses to stream, with one
    sentence (`WindowedCodec` streams it with a look-ahead). `licence` is the licence of the weights.

    `block_frames` is the number of frames that a step takes at least, and of which it takes multiples.
    `encoder_delay_frames` says how many frames late the latents of `encode_step` are; the decoder has the rest of
    `spec.delay_samples`.
    """

    spec: CodecSpec
    causal: bool
    licence: str
    block_frames: int = 1
    encoder_delay_frames: int = 0

    @property
    def latents_hash(self) -> str:
        """Identifies the meaning of latents in banks and checkpoints: equal hashes, equal latents for equal audio.

        By default it is the hash of all weights. A codec with a separate encoder hashes only the encoder, so that a
        better decoder needs no new bank and no new generator.
        """
        return codec_hash(self)

    @property
    def settings(self) -> dict[str, Plain]:
        """What the output depends on besides the weights and the spec, such as denoising steps and windows."""
        return {}

    @abstractmethod
    def encode(self, audio_BAN: Tensor) -> Tensor:
        """Latents_BTC of audio_BAN; N must be a multiple of `spec.hop_samples`."""

    @abstractmethod
    def decode(self, latents_BTC: Tensor) -> Tensor:
        """Audio_BAN of T · hop samples, time-aligned with the audio that was encoded."""

    @abstractmethod
    def init_encoder_state(self, batch_size: int) -> EncoderState:
        """The state before the first sample."""

    @abstractmethod
    def encode_step(self, audio_BAN: Tensor, state: EncoderState) -> tuple[Tensor, EncoderState]:
        """Latents of the next N samples (a multiple of the hop)."""

    @abstractmethod
    def init_decoder_state(self, batch_size: int) -> DecoderState:
        """The state before the first latent frame."""

    @abstractmethod
    def decode_step(self, latents_BTC: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Audio of the next T frames; the stream lags `decode` by `spec.delay_samples`."""


def codec_hash(codec: nn.Module) -> str:
    """SHA-256 (hexadecimal) over the names, types, shapes and values of a codec's weights, sorted by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(codec.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def codec_identity(codec: Codec) -> str:
    """SHA-256 (hexadecimal) over everything that a codec's output depends on: class, spec, settings and weights.

    Equal identities give equal output for equal audio. `latents_hash` covers less, so that decoders may change.
    """
    meaning = {"class": type(codec).__qualname__, "spec": codec.spec.to_dict(), "settings": codec.settings}
    return hashlib.sha256(f"{json.dumps(meaning, sort_keys=True)} {codec_hash(codec)}".encode()).hexdigest()
