"""One clear sentence for audio or latents that a codec cannot take."""

from __future__ import annotations

import torch
from torch import Tensor

from livejam.errors import UserError
from livejam.spec import CodecSpec


def require_audio(audio_BAN: Tensor, spec: CodecSpec, sample_rate_hz: int | None = None) -> None:
    """Refuse audio that does not fit a codec.

    Args:
        audio_BAN: audio in [-1, 1].
        spec: the codec's spec.
        sample_rate_hz: the rate of the audio, where the caller knows it.

    Raises:
        UserError: wrong rate, wrong number of channels, a length that is zero or no multiple of the hop, or values
            that are not finite.
    """
    if sample_rate_hz is not None and sample_rate_hz != spec.sample_rate_hz:
        raise UserError(
            f"the audio is at {sample_rate_hz} Hz but codec '{spec.name}' works at "
            f"{spec.sample_rate_hz} Hz; resample it"
        )
    if audio_BAN.dim() != 3 or audio_BAN.shape[1] != spec.audio_channels:
        raise UserError(
            f"the audio has shape {tuple(audio_BAN.shape)} but codec '{spec.name}' needs (batch, "
            f"{spec.audio_channels} channels, samples); mix down or reshape it"
        )
    if not audio_BAN.shape[2]:
        raise UserError(f"the audio is empty; codec '{spec.name}' needs at least {spec.hop_samples} samples")
    if audio_BAN.shape[2] % spec.hop_samples:
        raise UserError(
            f"{audio_BAN.shape[2]} samples are no multiple of the codec's hop of {spec.hop_samples}; "
            "pad or cut the audio"
        )
    if not torch.isfinite(audio_BAN).all():
        raise UserError("the audio contains NaN or infinite samples; repair or leave out the file it came from")


def require_latents(latents_BTC: Tensor, spec: CodecSpec) -> None:
    """Refuse latents that do not fit a codec.

    Raises:
        UserError: wrong number of channels, no frame, or values that are not finite.
    """
    if latents_BTC.dim() != 3 or latents_BTC.shape[2] != spec.latent_channels:
        raise UserError(
            f"the latents have shape {tuple(latents_BTC.shape)} but codec '{spec.name}' needs (batch, frames, "
            f"{spec.latent_channels}); decode with the codec that encoded them"
        )
    if not latents_BTC.shape[1]:
        raise UserError(f"there are no latents to decode; codec '{spec.name}' needs at least one frame")
    if not torch.isfinite(latents_BTC).all():
        raise UserError("the latents contain NaN or infinite numbers; the model that made them has diverged")
