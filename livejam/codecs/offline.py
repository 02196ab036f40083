"""Codecs that hear the future: offline they work in overlapping pieces, and they refuse to go frame by frame.

Shapes: B batch, T latent frames, C latent channels, A audio channels, N audio samples.
"""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from typing import NoReturn

import torch
from torch import Tensor, nn

from livejam.codecs.checks import require_audio, require_latents
from livejam.codecs.codec import Codec, Plain
from livejam.errors import UserError


class OfflineCodec(Codec[None, None]):
    """A codec whose latents and audio depend on what comes later.

    Subclasses encode and decode one window. Frames are computed in pieces that see `reach_frames` neighbours on either
    side. Where no computation reaches further, the pieces equal the whole exactly. `piece_frames` bounds the memory.
    """

    causal = False
    reach_frames: int
    piece_frames = 256

    @property
    def settings(self) -> dict[str, Plain]:
        """How long songs are cut into pieces."""
        return {"reach_frames": self.reach_frames, "piece_frames": self.piece_frames}

    @abstractmethod
    def encode_window(self, audio_BAN: Tensor, first_frame: int) -> Tensor:
        """Latents BTC of a window that starts at frame `first_frame` of its song."""

    @abstractmethod
    def decode_window(self, latents_BTC: Tensor, first_frame: int) -> Tensor:
        """Audio BAN, T · hop samples, of a window that starts at frame `first_frame` of its song."""

    def encode(self, audio_BAN: Tensor) -> Tensor:
        """Latents BTC of audio BAN; N must be a multiple of the hop.

        Raises:
            UserError: wrong channels or length, or values that are not finite.
        """
        require_audio(audio_BAN, self.spec)
        hop = self.spec.hop_samples
        pieces = []
        for begin, end, first, last in self.pieces(audio_BAN.shape[2] // hop):
            latents_BTC = self.encode_window(audio_BAN[:, :, first * hop : last * hop], first)
            pieces.append(latents_BTC[:, begin - first : end - first])
        return torch.cat(pieces, dim=1)

    def decode(self, latents_BTC: Tensor) -> Tensor:
        """Audio BAN of T · hop samples, aligned with the audio that was encoded.

        Raises:
            UserError: wrong channels, or values that are not finite.
        """
        require_latents(latents_BTC, self.spec)
        hop = self.spec.hop_samples
        pieces = []
        for begin, end, first, last in self.pieces(latents_BTC.shape[1]):
            audio_BAN = self.decode_window(latents_BTC[:, first:last], first)
            pieces.append(audio_BAN[:, :, (begin - first) * hop : (end - first) * hop])
        return torch.cat(pieces, dim=2)

    def pieces(self, frames: int) -> list[tuple[int, int, int, int]]:
        """Begin and end of every piece, and first and last frame (exclusive) that it sees."""
        edges = [*range(0, frames, self.piece_frames), frames]
        return [
            (begin, end, max(0, begin - self.reach_frames), min(frames, end + self.reach_frames))
            for begin, end in itertools.pairwise(edges)
        ]

    def init_encoder_state(self, batch_size: int) -> NoReturn:
        """Refused."""
        self.refuse_stream()

    def encode_step(self, audio_BAN: Tensor, state: None) -> NoReturn:
        """Refused."""
        self.refuse_stream()

    def init_decoder_state(self, batch_size: int) -> NoReturn:
        """Refused."""
        self.refuse_stream()

    def decode_step(self, latents_BTC: Tensor, state: None) -> NoReturn:
        """Refused."""
        self.refuse_stream()

    def refuse_stream(self) -> NoReturn:
        """One sentence instead of a stream that would not equal the offline codec."""
        raise UserError(
            f"codec '{self.spec.name}' needs the future, so it cannot stream; wrap it in "
            "livejam.codecs.WindowedCodec, which streams late by its look-ahead, or take a causal codec"
        )


def convolution_reach(encoder: nn.Module, decoder: nn.Module, hop_samples: int) -> int:
    """The number of latent frames on either side that a stack of convolutions hears: the larger of encoder and decoder.

    Residual branches count as part of the chain: they never reach further than it.
    """
    samples, per_input = 0.0, 1.0
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv1d):
            samples += (layer.kernel_size[0] - 1) * layer.dilation[0] * per_input
            per_input *= layer.stride[0]
    frames, per_frame = 0.0, 1.0
    for layer in decoder.modules():
        if isinstance(layer, nn.ConvTranspose1d):
            frames += (layer.kernel_size[0] - 1) / layer.stride[0] / per_frame
            per_frame *= layer.stride[0]
        elif isinstance(layer, nn.Conv1d):
            frames += (layer.kernel_size[0] - 1) * layer.dilation[0] / per_frame
    # the kernels are centred, up to a sample here and there: one frame more than half of the whole covers that
    return math.ceil(max(samples / hop_samples, frames) / 2) + 1
