"""A sampler with its settings, as configurations and checkpoints name it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from torch import Tensor

from livejam.errors import UserError
from livejam.sampling.noise import Noise
from livejam.sampling.schedules import LogSNRSchedule, Schedule
from livejam.sampling.solvers import (
    Velocity,
    euler,
    euler_plus_plus,
    guided,
    heun,
    ping_pong,
    ping_pong_plus_plus,
)


class Sampler(ABC):
    """From noise to latents, by the velocities of a model."""

    @property
    @abstractmethod
    def needs_unconditional(self) -> bool:
        """Whether the velocity is asked with 2B rows: the conditional ones, then the unconditional ones."""

    @abstractmethod
    def sample(self, velocity: Velocity, noise: Noise) -> Tensor:
        """Latents x_0 (BTC)."""


@dataclass(frozen=True)
class CfgSampler(Sampler, ABC):
    """What samplers with ordinary guidance share.

    Args:
        steps: noise levels, ≥ 1.
        guidance: weight w ≥ 0 of classifier-free guidance; 1 asks the conditional model alone, at half the cost.
        schedule: the noise levels.

    Raises:
        UserError: a number is out of its range.
    """

    steps: int = 8
    guidance: float = 1.0
    schedule: Schedule = field(default_factory=LogSNRSchedule)

    def __post_init__(self) -> None:
        self.schedule.times(self.steps)
        if self.guidance < 0:
            raise UserError(f"guidance is {self.guidance}, but must be 0 or more; 1 switches it off")

    @property
    def needs_unconditional(self) -> bool:
        """Whether the model is asked without its conditions too."""
        return self.guidance != 1

    def _guided(self, velocity: Velocity) -> Velocity:
        return guided(velocity, self.guidance) if self.needs_unconditional else velocity


@dataclass(frozen=True)
class Euler(CfgSampler):
    """`euler`; LMDM before ARC-Forcing: 50 steps, guidance 7."""

    def sample(self, velocity: Velocity, noise: Noise) -> Tensor:
        return euler(self._guided(velocity), self.schedule.times(self.steps), noise)


@dataclass(frozen=True)
class Heun(CfgSampler):
    """`heun`: two calls of the model per step."""

    def sample(self, velocity: Velocity, noise: Noise) -> Tensor:
        return heun(self._guided(velocity), self.schedule.times(self.steps), noise)


@dataclass(frozen=True)
class PingPong(CfgSampler):
    """`ping_pong`; LMDM after ARC-Forcing: 1 to 8 steps without guidance."""

    def sample(self, velocity: Velocity, noise: Noise) -> Tensor:
        return ping_pong(self._guided(velocity), self.schedule.times(self.steps), noise)


@dataclass(frozen=True)
class CfgPlusPlusSampler(Sampler, ABC):
    """What the CFG++ samplers share.

    Args:
        steps: noise levels, ≥ 1.
        guidance: weight w in [0, 1]; LMDM takes 0.7 while prompts change.
        schedule: the noise levels.

    Raises:
        UserError: a number is out of its range.
    """

    steps: int = 8
    guidance: float = 0.7
    schedule: Schedule = field(default_factory=LogSNRSchedule)

    def __post_init__(self) -> None:
        self.schedule.times(self.steps)
        if not 0 <= self.guidance <= 1:
            raise UserError(f"guidance is {self.guidance}, but CFG++ interpolates: set it between 0 and 1")

    @property
    def needs_unconditional(self) -> bool:
        """The unconditional model is always asked."""
        return True


@dataclass(frozen=True)
class EulerPlusPlus(CfgPlusPlusSampler):
    """`euler_plus_plus`."""

    def sample(self, velocity: Velocity, noise: Noise) -> Tensor:
        return euler_plus_plus(velocity, self.guidance, self.schedule.times(self.steps), noise)


@dataclass(frozen=True)
class PingPongPlusPlus(CfgPlusPlusSampler):
    """`ping_pong_plus_plus`."""

    def sample(self, velocity: Velocity, noise: Noise) -> Tensor:
        return ping_pong_plus_plus(velocity, self.guidance, self.schedule.times(self.steps), noise)
