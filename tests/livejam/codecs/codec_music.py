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
