"""Where a sampler's randomness comes from.

Shapes: B batch, T latent frames, C latent channels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from livejam.noise import seeded_noise

Noise = Callable[[int], Tensor]
"""draw number → standard normal noise_BTC; draw 0 is where sampling starts, draw k > 0 is added after step k - 1."""

_DRAW_STRIDE = 1 << 40
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
        return seeded_noise(seed_B, position_BT + number * _DRAW_STRIDE, channels).to(dtype)

    return draw
