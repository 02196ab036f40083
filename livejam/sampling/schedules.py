"""Schedules: the noise levels t that a sampler visits, from 1 (noise) to 0 (clean)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from livejam.errors import UserError


class Schedule(ABC):
    """A map from a number of steps to noise levels."""

    @abstractmethod
    def times(self, steps: int) -> Tensor:
        """Times t_0 = 1 > t_1 > … > t_K = 0 of K steps (float64)."""


@dataclass(frozen=True)
class UniformSchedule(Schedule):
    """Equal steps in t."""

    def times(self, steps: int) -> Tensor:
        return torch.linspace(1, 0, _checked(steps) + 1, dtype=torch.float64)


@dataclass(frozen=True)
class LogSNRSchedule(Schedule):
    """Equal steps in the logarithm of the signal-to-noise ratio: t = sigmoid(-logSNR), with t_0 := 1 and t_K := 0.

    Args:
        low: logSNR at the start.
        high: logSNR at the end, above `low`.

    Raises:
        UserError: `low` is not below `high`.
    """

    low: float = -6.0
    high: float = 2.0

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise UserError(f"the schedule's low ({self.low}) must be less than its high ({self.high})")

    def times(self, steps: int) -> Tensor:
        levels = torch.sigmoid(-torch.linspace(self.low, self.high, _checked(steps) + 1, dtype=torch.float64))
        levels[0], levels[-1] = 1.0, 0.0
        return levels


@dataclass(frozen=True)
class ShiftedSchedule(Schedule):
    """Another schedule, shifted towards noise as long sequences need it (`length_shift`).

    Args:
        frames: latent frames that are generated at once.
        schedule: the schedule that is shifted.
    """

    frames: int
    schedule: Schedule = field(default_factory=UniformSchedule)

    def times(self, steps: int) -> Tensor:
        return length_shift(self.schedule.times(steps), self.frames)


@dataclass(frozen=True)
class EarlyExits(Schedule):
    """The first levels of another schedule, and then 0: K steps leave it after its K-th level.

    What ARC-Forcing trains: each of its blocks leaves one schedule at a random level, and its estimate there is the
    block (LMDM section 3.3). The same number of steps over the whole range would end at a level
    that training may never have seen.

    Args:
        full_steps: steps of the whole schedule; no more can be taken.
        schedule: the schedule that is left.
    """

    full_steps: int
    schedule: Schedule = field(default_factory=LogSNRSchedule)

    def times(self, steps: int) -> Tensor:
        """Its first `steps` levels, then 0 (float64).

        Raises:
            UserError: there are more steps than levels.
        """
        if _checked(steps) > self.full_steps:
            raise UserError(
                f"{steps} steps are more than the {self.full_steps} of the schedule that they leave early; set steps "
                f"to 1 … {self.full_steps}"
            )
        times_K1 = self.schedule.times(self.full_steps)
        return torch.cat((times_K1[:steps], times_K1.new_zeros(1)))


def length_shift(times: Tensor, frames: int) -> Tensor:
    """t' = s t / (1 - t + s t): the longer the sequence, the more noise it takes to hide it.

    s = e^(0.5 + 0.65 (L - 256) / 3840), L the frames, at least 256 and at most 4096: `DistributionShift.time_shift` in
    LMDM's public code (stable_audio_tools/inference/sampling.py), which applies it to any distribution that a model is
    trained with, after Stable Diffusion 3, section 5.3.2.
    """
    length = min(max(frames, 256), 4096)
    shift = math.exp(0.5 + 0.65 * (length - 256) / 3840)
    return shift * times / (1 - times + shift * times)


def _checked(steps: int) -> int:
    if steps < 1:
        raise UserError(f"sampling takes at least 1 step, not {steps}; set steps to 1 or more")
    return steps
