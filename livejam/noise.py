"""Gaussian noise that is a pure function of a seed and a position.

A stream can draw the noise of frame t without the frames before it. So it can be saved, undone, moved to another batch
row, or compared with the parallel pass.

Shapes: B batch, T latent frames, C latent channels, Z noise channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

_STEP = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical shift: torch's own shift of int64 copies the sign bit."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _scramble(x: Tensor) -> Tensor:
    """SplitMix64's finaliser: every input bit reaches every output bit (integer overflow wraps)."""
    x = (x ^ _shift_right(x, 30)) * _MIX_1
    x = (x ^ _shift_right(x, 27)) * _MIX_2
    return x ^ _shift_right(x, 31)


def seeded_noise(seed_B: Tensor, position_BT: Tensor, channels: int) -> Tensor:
    """Standard normal noise_BTZ (float32) by SplitMix64 in counter mode and the Box-Muller transform.

    Args:
        seed_B: seed per row (int64).
        position_BT: frame number since the stream began (int64).
        channels: Z.
    """
    pairs = (channels + 1) // 2
    channel = torch.arange(1, pairs + 1, device=seed_B.device)
    counter_BTP = position_BT[..., None] * pairs + channel
    bits_BTP = _scramble(_scramble(seed_B * _STEP + 1)[:, None, None] + counter_BTP * _STEP)
    # Two independent 24-bit fractions per 64-bit word; the first one lies in (0, 1), so its logarithm is finite.
    first = (_shift_right(bits_BTP, 40).float() + 0.5) * 2.0**-24
    second = (_shift_right(bits_BTP, 8) & 0xFFFFFF).float() * 2.0**-24
    radius, angle = (-2 * first.log()).sqrt(), 2 * math.pi * second
    return torch.cat((radius * angle.cos(), radius * angle.sin()), dim=-1)[..., :channels]


Noise = Callable[[int], Tensor]
"""draw number → standard normal noise_BTC; draw 0 is where sampling starts, draw k > 0 is added after step k - 1."""

DRAW_STRIDE = 1 << 40
"""Positions between two draws: no stream lasts that many frames."""


def generator_noise(shape: tuple[int, int, int], rng: torch.Generator, dtype: torch.dtype) -> Noise:
    """Fresh noise from a generator, on its device; the draws must be asked for in the order in which they are used."""

    def draw(number: int) -> Tensor:
        return torch.randn(shape, generator=rng, device=rng.device, dtype=dtype)

    return draw


def row_noise(seed_B: Tensor, position_BT: Tensor, channels: int, dtype: torch.dtype) -> Noise:
    """Noise that is a function of each row's seed, of the frame's position in its stream, and of the draw alone.

    Args:
        seed_B: seed per row (int64).
        position_BT: frame number since the row's stream began (int64), less than 2^39 in size.
        channels: C.
        dtype: of the noise.
    """

    def draw(number: int) -> Tensor:
        return seeded_noise(seed_B, position_BT + number * DRAW_STRIDE, channels).to(dtype)

    return draw
