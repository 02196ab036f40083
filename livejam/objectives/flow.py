"""Flow matching: the straight path from data to noise, its velocity, and the times to train at.

Shapes: B batch, T latent frames, C latent channels.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from livejam.errors import UserError
from livejam.sampling.schedules import length_shift


def interpolate(clean_BTC: Tensor, noise_BTC: Tensor, time_B: Tensor) -> Tensor:
    """x_t = (1 - t) x_0 + t ε (LMDM section 2: t = 1 is noise)."""
    time_B11 = time_B[:, None, None].to(clean_BTC)
    return (1 - time_B11) * clean_BTC + time_B11 * noise_BTC


def flow_matching_loss(velocity_BTC: Tensor, clean_BTC: Tensor, noise_BTC: Tensor, target_BT: Tensor) -> Tensor:
    """‖v_θ(x_t, t) - (ε - x_0)‖² per sample, mean over the channels of the target frames alone.

    Args:
        velocity_BTC: the network's output.
        clean_BTC: x_0.
        noise_BTC: ε.
        target_BT: the frames to generate (bool); context frames give no loss. At least one per sample.
    """
    # where, not a product: values outside the target may be anything, even not finite
    error_BTC = torch.where(target_BT[..., None], velocity_BTC - (noise_BTC - clean_BTC), 0.0)
    return error_BTC.square().mean(dim=-1).sum(dim=1) / target_BT.sum(dim=1)


class TimeDistribution(ABC):
    """A distribution of times on the path."""

    @abstractmethod
    def draw(self, batch: int, rng: torch.Generator) -> Tensor:
        """Times t_B in [0, 1], on the generator's device."""


@dataclass(frozen=True)
class UniformTimes(TimeDistribution):
    """Independent and uniform over [0, 1)."""

    def draw(self, batch: int, rng: torch.Generator) -> Tensor:
        return torch.rand(batch, generator=rng, device=rng.device)


@functools.lru_cache(maxsize=8)
def _sobol_points(batch: int, device: torch.device) -> Tensor:
    """The first points of the sequence, computed and brought to the device once."""
    with torch.inference_mode(False):
        return torch.quasirandom.SobolEngine(1).draw(batch)[:, 0].to(device)


@dataclass(frozen=True)
class SobolTimes(TimeDistribution):
    """Uniform over [0, 1), and evenly spread within every batch: a randomly shifted Sobol sequence."""

    def draw(self, batch: int, rng: torch.Generator) -> Tensor:
        points_B = _sobol_points(batch, rng.device)
        # Every power of two of Sobol points is a grid; a common shift modulo 1 makes each point uniform.
        return (points_B + torch.rand(1, generator=rng, device=rng.device)) % 1.0


@dataclass(frozen=True)
class LogitNormalTimes(TimeDistribution):
    """t = sigmoid(N(mean, deviation²)): more often in the middle of the path (Esser et al. 2024, equation 19).

    Args:
        mean: mean of logit(t); a positive one prefers noise.
        deviation: standard deviation of logit(t), above 0.
    """

    mean: float = 0.0
    deviation: float = 1.0

    def __post_init__(self) -> None:
        if self.deviation <= 0:
            raise UserError(f"deviation is {self.deviation}, but must be above 0; the usual one is 1")

    def draw(self, batch: int, rng: torch.Generator) -> Tensor:
        draw_B = torch.randn(batch, generator=rng, device=rng.device)
        return torch.sigmoid(self.mean + self.deviation * draw_B)


@dataclass(frozen=True)
class LogSNRTimes(TimeDistribution):
    """t = sigmoid(-u), u uniform: the distribution that matches `LogSNRSchedule` (ARC's "logsnr_uniform").

    Args:
        low: smallest logSNR.
        high: largest logSNR, above `low`.
    """

    low: float = -6.0
    high: float = 2.0

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise UserError(f"low ({self.low}) must be less than high ({self.high})")

    def draw(self, batch: int, rng: torch.Generator) -> Tensor:
        share_B = torch.rand(batch, generator=rng, device=rng.device)
        return torch.sigmoid(-(self.low + (self.high - self.low) * share_B))


@dataclass(frozen=True)
class ShiftedTimes(TimeDistribution):
    """Another distribution, shifted towards noise as long sequences need it (`livejam.sampling.length_shift`).

    Args:
        frames: latent frames of a training window.
        times: the distribution that is shifted.
    """

    frames: int
    times: TimeDistribution = field(default_factory=SobolTimes)

    def draw(self, batch: int, rng: torch.Generator) -> Tensor:
        return length_shift(self.times.draw(batch, rng), self.frames)
