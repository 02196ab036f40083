"""Audio to put through codecs."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def music(batch: int, channels: int, samples: int, sample_rate_hz: int) -> Tensor:
    """Decaying notes and noise bursts, different in every row and channel."""
    seconds = torch.arange(samples) / sample_rate_hz
    pitch_hz = 55.0 * torch.exp2(torch.randint(0, 48, (batch, channels, 4, 1)) / 12)
    onset = torch.randint(0, samples // 2, (batch, channels, 4, 1)) / sample_rate_hz
    envelope = torch.exp(-3 * (seconds - onset).clamp_min(0)) * (seconds >= onset)
    notes = (0.1 * torch.sin(2 * math.pi * pitch_hz * seconds) * envelope).sum(2)
    return notes + 0.02 * torch.randn(batch, channels, samples) * envelope[:, :, 0]


def clicks(batch: int, channels: int, samples: int, spacing: int) -> Tensor:
    """Bursts of 64 samples of noise, one somewhere in every `spacing` samples, alone in their channel or in all."""
    audio = torch.zeros(batch, channels, samples)
    for start in range(0, samples - spacing, spacing):
        at = start + int(torch.randint(spacing - 64, ()))
        audio[:, :, at : at + 64] = 0.8 * torch.randn(batch, channels, 64) * torch.rand(batch, channels, 1).round()
    return audio
