"""The offline calls of codecs that stream without delay: the stream itself, in pieces that bound the memory."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from livejam.codecs.checks import require_audio, require_latents
from livejam.codecs.codec import Codec

PIECE_SAMPLES = 1 << 18
"""About how many samples are coded at once."""

EncoderState = TypeVar("EncoderState")
DecoderState = TypeVar("DecoderState")


def encode_in_steps(codec: Codec[EncoderState, DecoderState], audio_BAN: Tensor) -> Tensor:
    """Latents BTC of a whole song."""
    require_audio(audio_BAN, codec.spec)
    state, pieces = codec.init_encoder_state(audio_BAN.shape[0]), []
    for piece_BAN in torch.split(audio_BAN, piece_frames(codec) * codec.spec.hop_samples, dim=2):
        latents_BTC, state = codec.encode_step(piece_BAN, state)
        pieces.append(latents_BTC)
    return torch.cat(pieces, dim=1)


def decode_in_steps(codec: Codec[EncoderState, DecoderState], latents_BTC: Tensor) -> Tensor:
    """Audio BAN of a whole song."""
    require_latents(latents_BTC, codec.spec)
    state, pieces = codec.init_decoder_state(latents_BTC.shape[0]), []
    for piece_BTC in torch.split(latents_BTC, piece_frames(codec), dim=1):
        audio_BAN, state = codec.decode_step(piece_BTC, state)
        pieces.append(audio_BAN)
    return torch.cat(pieces, dim=2)


def piece_frames(codec: Codec[EncoderState, DecoderState]) -> int:
    """Whole frames of a piece."""
    return max(1, PIECE_SAMPLES // codec.spec.hop_samples)
