"""One VGGish for the test and for the golden tensors: weights and audio that are the same everywhere."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SAMPLE_RATE_HZ = 16_000
PERIOD = 1009
"""Prime, so that rows of a weight matrix differ."""


def weights(shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    """A tensor per name, of a size that keeps signals alive through all layers."""
    tensors = {}
    for place, (name, shape) in enumerate(shapes.items()):
        wave = torch.sin((torch.arange(PERIOD, dtype=torch.float64) + 1) ** 2 * (place + 1) / 7)
        values = wave.repeat(math.ceil(shape.numel() / PERIOD))[: shape.numel()].reshape(shape)
        fan_in = shape[1:].numel() if len(shape) > 1 else 100
        tensors[name] = (values * 2 / math.sqrt(fan_in)).float()
    return tensors


def audio() -> Tensor:
    """Three seconds of a rising tone that grows louder, and a click."""
    time_N = torch.arange(3 * SAMPLE_RATE_HZ, dtype=torch.float64) / SAMPLE_RATE_HZ
    audio_N = 0.2 * time_N * torch.sin(2 * math.pi * (200 + 400 * time_N) * time_N)
    audio_N[20_000:20_010] += 0.5
    return audio_N.float()
