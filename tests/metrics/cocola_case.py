"""The same network and the same sound for the reference implementation and for ours, whatever torch's version.

Shapes: B batch, N audio samples.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def seeded_weights(shapes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by name, from numpy's frozen generator: they keep the size of what flows through the network."""
    return {name: _seeded(name, tensor) for name, tensor in shapes.items()}


def _seeded(name: str, like: Tensor) -> Tensor:
    if not like.is_floating_point():
        return torch.zeros_like(like)
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(like.shape))
    if "_conv_stem" in name:
        # levels in dB are large: without this, gates saturate and rounding decides
        values *= 0.02
    if name.endswith("running_var") or (like.ndim == 1 and name.endswith("weight")):
        values = 1 + 0.2 * np.abs(values)
    elif like.ndim > 1:
        values /= np.sqrt(0.5 * like[0].numel())
    else:
        values *= 0.1
    return torch.from_numpy(values).float()


def seeded_pairs() -> tuple[Tensor, Tensor]:
    """Mixes_BN and stems_BN, 5 s at 16 kHz: tones and clicks at two tempos over a little noise."""
    random = np.random.RandomState(7)
    recordings = [_recording(random, tone_hz, beat_hz) for tone_hz, beat_hz in ((220, 2), (330, 2), (523, 3), (147, 1))]
    audio = torch.from_numpy(np.stack(recordings)).float()
    return audio[:2], audio[2:]


def _recording(random: np.random.RandomState, tone_hz: float, beat_hz: float) -> np.ndarray:
    seconds = np.arange(80000) / 16000
    tones = sum(np.sin(2 * np.pi * tone_hz * k * seconds) / k for k in (1, 2, 3))
    clicks = random.standard_normal(80000) * np.exp(-60 * (seconds % (1 / beat_hz)))
    return 0.2 * tones * (1 + np.sin(np.pi * seconds)) + 0.5 * clicks + 1e-3 * random.standard_normal(80000)
