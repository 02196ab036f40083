"""Small maps around a diffusion transformer: of the noise level, of conditions, of latents.

Shapes: B batch, T latent frames, C latent channels, F frequencies.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class FourierFeatures(nn.Module):
    """Cosines and sines of a number at random frequencies.

    Args:
        features: how many; even.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.frequency_F = nn.Parameter(torch.randn(features // 2))

    def forward(self, x_B: Tensor) -> Tensor:
        angle_BF = 2 * math.pi * x_B[:, None] * self.frequency_F
        return torch.cat((angle_BF.cos(), angle_BF.sin()), dim=-1)


def two_layers(channels_in: int, channels_out: int, bias: bool) -> nn.Sequential:
    """The embedding of a condition."""
    return nn.Sequential(
        nn.Linear(channels_in, channels_out, bias=bias),
        nn.SiLU(),
        nn.Linear(channels_out, channels_out, bias=bias),
    )


class ResidualPointwise(nn.Module):
    """x + W x with W = 0 at first: Stable Audio's 1×1 convolution before and after the transformer.

    Args:
        channels: channels in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, x_BTC: Tensor) -> Tensor:
        return x_BTC + self.linear(x_BTC)
