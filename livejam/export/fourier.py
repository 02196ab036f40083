"""Fourier transforms as small matrix products in real numbers, which every runtime computes the same.

Cooley and Tukey's step for N = P · Q samples, n = Q p + q and k = a + P b: transforms over p, turns by n and k, and
transforms over q. It takes 2 N (P + Q) products, and no operator for complex numbers.

Shapes: N samples, F = N / 2 + 1 bins, P and Q the factors of N; leading dimensions are free.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class RealFourier(nn.Module):
    """Some bins of the transform of real samples, as `torch.fft.rfft`.

    Args:
        samples: N, even.
        bins: those that are wanted, of N / 2 + 1.
    """

    first: Tensor
    turn: Tensor
    last: Tensor

    def __init__(self, samples: int, bins: range) -> None:
        super().__init__()
        self.p, self.q = _factors(samples)
        self.bins, self.blocks = bins, math.ceil(bins.stop / self.p)
        angle_AP = _angles(self.p, self.p, self.p)
        angle_QB = _angles(self.q, self.blocks, self.q)
        cos, sin = angle_QB.cos(), angle_QB.sin()
        self.register_buffer("first", torch.cat((angle_AP.cos(), -angle_AP.sin())).float())
        turn_AQ = _angles(self.p, self.q, samples)
        self.register_buffer("turn", torch.stack((turn_AQ.cos(), -turn_AQ.sin())).float())
        # (real, imaginary) @ last = (real, imaginary)
        self.register_buffer("last", torch.cat((torch.cat((cos, -sin), 1), torch.cat((sin, cos), 1))).float())

    def forward(self, audio: Tensor) -> Tensor:
        """Real and imaginary parts (…, 2, bins) of samples (…, N)."""
        leading = audio.shape[:-1]
        real, imaginary = (self.first @ audio.reshape(*leading, self.p, self.q)).chunk(2, dim=-2)
        cos, sin = self.turn.unbind()
        turned = torch.cat((real * cos - imaginary * sin, real * sin + imaginary * cos), dim=-1)
        # bins a + P b from matrices over a and b, real and imaginary
        parts = (turned @ self.last).unflatten(-1, (2, self.blocks)).movedim(-3, -1)
        return parts.flatten(-2)[..., self.bins.start : self.bins.stop]


class InverseRealFourier(nn.Module):
    """Real samples of N / 2 + 1 bins, as `torch.fft.irfft`.

    Args:
        samples: N, even.
    """

    first: Tensor
    turn: Tensor
    last: Tensor
    weight_F: Tensor

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.p, self.q = _factors(samples)
        self.blocks = samples // 2 // self.p + 1
        angle_BQ = _angles(self.blocks, self.q, self.q)
        cos, sin = angle_BQ.cos(), angle_BQ.sin()
        # (real; imaginary) from the left, one transform for every a
        self.register_buffer("first", torch.cat((torch.cat((cos, sin), 1), torch.cat((-sin, cos), 1))).float())
        turn_AQ = _angles(self.p, self.q, samples)
        self.register_buffer("turn", torch.stack((turn_AQ.cos(), turn_AQ.sin())).float())
        angle_PA = _angles(self.p, self.p, self.p)
        self.register_buffer("last", torch.cat((angle_PA.cos(), -angle_PA.sin()), 1).float())
        weight_F = torch.full((samples // 2 + 1,), 2.0 / samples)
        weight_F[0] = weight_F[-1] = 1.0 / samples
        self.register_buffer("weight_F", weight_F)

    def forward(self, parts: Tensor) -> Tensor:
        """Samples (…, N) of real and imaginary parts (2, …, F); the imaginary ones of the first and last bin are 0."""
        padded = nn.functional.pad(parts * self.weight_F, (0, self.blocks * self.p - parts.shape[-1]))
        matrices = padded.unflatten(-1, (self.blocks, self.p))
        *leading, block, column = range(1, matrices.ndim)
        # matrices over a and b of bins a + P b, real and imaginary beside each other
        columns = matrices.permute(*leading, column, 0, block).flatten(-2)
        real, imaginary = (columns @ self.first).chunk(2, dim=-1)
        cos, sin = self.turn.unbind()
        turned = torch.cat((real * cos - imaginary * sin, real * sin + imaginary * cos), dim=-2)
        return (self.last @ turned).flatten(-2)


def _angles(rows: int, columns: int, period: int) -> Tensor:
    """2π · row · column / period, exact for large products (float64)."""
    product = torch.arange(rows)[:, None] * torch.arange(columns) % period
    return product.double() * (2 * math.pi / period)


def _factors(samples: int) -> tuple[int, int]:
    """Two factors, as near to each other as possible."""
    first = next(factor for factor in range(math.isqrt(samples), 0, -1) if samples % factor == 0)
    return first, samples // first
