"""Samplers: plain functions of a velocity v(x, t), for x_t = (1 - t) x_0 + t ε, so that v = ε - x_0; and the same with
their settings, as configurations and checkpoints name them.

Gradients flow through every call of the velocity where the caller has gradients switched on. Several samplers ask the
model twice per noise level, with and without its conditions, in one batched call: their velocity takes 2B rows, the
conditional ones first.

Shapes: B batch, T latent frames, C latent channels, K steps.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from livejam.errors import UserError
from livejam.noise import Noise
from livejam.sampling.schedules import LogSNRSchedule, Schedule

Velocity = Callable[[Tensor, Tensor], Tensor]
"""(x_BTC, t_B) → v_BTC."""


def clean_estimate(x_BTC: Tensor, time_B: Tensor, velocity_BTC: Tensor) -> Tensor:
    """x̂_0 = x_t - t v."""
    return x_BTC - time_B[:, None, None] * velocity_BTC


def guided(velocity: Velocity, weight: float) -> Velocity:
    """Classifier-free guidance, v_u + w (v_c - v_u), in one call of a velocity of 2B rows.

    Args:
        velocity: rows [0, B) conditional, rows [B, 2B) unconditional.
        weight: w; 1 gives v_c.
    """

    def guided_velocity(x_BTC: Tensor, time_B: Tensor) -> Tensor:
        conditional, unconditional = _both(velocity, x_BTC, time_B)
        return unconditional + weight * (conditional - unconditional)

    return guided_velocity


def euler(velocity: Velocity, times_K1: Tensor, noise: Noise) -> Tensor:
    """First order: x ← x + (t' - t) v."""
    x = noise(0)
    for _, now, following in _steps(times_K1):
        x = x + (following - now) * velocity(x, _time(x, now))
    return x


def heun_step(velocity: Velocity, x_BTC: Tensor, time_B: Tensor, next_time_B: Tensor) -> Tensor:
    """One step of second order, every row between times of its own: the mean of the velocities at both ends of the
    Euler step (Karras et al. 2022, algorithm 1)."""
    length_B11 = (next_time_B - time_B)[:, None, None]
    here_BTC = velocity(x_BTC, time_B)
    there_BTC = velocity(x_BTC + length_B11 * here_BTC, next_time_B)
    return x_BTC + length_B11 / 2 * (here_BTC + there_BTC)


def heun(velocity: Velocity, times_K1: Tensor, noise: Noise) -> Tensor:
    """`heun_step` after `heun_step`, two calls each. The step to t = 0 is Euler's: no model is trained there, and one
    step of second order less does not change the order (Karras et al. 2022, algorithm 1)."""
    x = noise(0)
    for _, now, following in _steps(times_K1):
        if following:
            x = heun_step(velocity, x, _time(x, now), _time(x, following))
        else:
            x = x - now * velocity(x, _time(x, now))
    return x


def ping_pong(velocity: Velocity, times_K1: Tensor, noise: Noise) -> Tensor:
    """Estimate the clean latents, add fresh noise of the next level: x ← (1 - t') x̂_0 + t' ε'."""
    x = noise(0)
    for step, now, following in _steps(times_K1):
        time_B = _time(x, now)
        clean = clean_estimate(x, time_B, velocity(x, time_B))
        x = (1 - following) * clean + following * noise(step + 1) if following else clean
    return x


def euler_plus_plus(velocity: Velocity, weight: float, times_K1: Tensor, noise: Noise) -> Tensor:
    """CFG++ (Chung et al. 2024): guidance moves the estimate, the unconditional velocity renoises it.

    x ← (x - t v_w) + t' v_u, with v_w = v_u + w (v_c - v_u) and w in [0, 1].
    """
    x = noise(0)
    for _, now, following in _steps(times_K1):
        conditional, unconditional = _both(velocity, x, _time(x, now))
        steered = unconditional + weight * (conditional - unconditional)
        x = (x - now * steered) + following * unconditional
    return x


def ping_pong_plus_plus(velocity: Velocity, weight: float, times_K1: Tensor, noise: Noise) -> Tensor:
    """Ping-Pong++ (LMDM): x ← (x - t v_w) + t' (ε' - (x - t v_u)), with fresh noise ε'."""
    x = noise(0)
    for step, now, following in _steps(times_K1):
        time_B = _time(x, now)
        conditional, unconditional = _both(velocity, x, time_B)
        steered = unconditional + weight * (conditional - unconditional)
        clean = clean_estimate(x, time_B, steered)
        if following:
            clean = clean + following * (noise(step + 1) - clean_estimate(x, time_B, unconditional))
        x = clean
    return x


def _both(velocity: Velocity, x_BTC: Tensor, time_B: Tensor) -> tuple[Tensor, Tensor]:
    """Conditional and unconditional velocity from one call."""
    conditional, unconditional = velocity(torch.cat((x_BTC, x_BTC)), torch.cat((time_B, time_B))).chunk(2)
    return conditional, unconditional


def _time(x_BTC: Tensor, time: float) -> Tensor:
    return x_BTC.new_full((len(x_BTC),), time)


def _steps(times_K1: Tensor) -> Iterator[tuple[int, float, float]]:
    """Number, time and next time of every step."""
    return ((step, now, following) for step, (now, following) in enumerate(itertools.pairwise(times_K1.tolist())))


class Sampler(ABC):
    """From noise to latents, by the velocities of a model."""

    @property
    @abstractmethod
    def needs_unconditional(self) -> bool:
        """Whether the velocity is asked with 2B rows: the conditional ones, then the unconditional ones."""

    @abstractmethod
    def sample(self, velocity: Velocity, noise: Noise) -> Tensor:
        """Latents x_0 (BTC)."""

    def with_guidance(self, weight: float) -> Sampler:
        """The same sampler with another weight of guidance.

        Raises:
            UserError: it has no guidance, or the weight is out of range.
        """
        raise UserError("this model's sampler has no guidance; leave it out")


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

    def with_guidance(self, weight: float) -> CfgSampler:
        """The same sampler with another weight."""
        return replace(self, guidance=weight)

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
class NoiseFree(Sampler):
    """The estimate x̂_0 of one step from t = 1, where the input is noise and says nothing; here it is noise's mean, 0.

    It is what the model expects, E[x_0 | conditions], and so rather blurred than wrong: what further steps and noise
    add is detail, and what it does not know about time and pitch they cannot.
    """

    @property
    def needs_unconditional(self) -> bool:
        """It knows no guidance."""
        return False

    def sample(self, velocity: Velocity, noise: Noise) -> Tensor:
        x_BTC = torch.zeros_like(noise(0))
        time_B = _time(x_BTC, 1.0)
        return clean_estimate(x_BTC, time_B, velocity(x_BTC, time_B))


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

    def with_guidance(self, weight: float) -> CfgPlusPlusSampler:
        """The same sampler with another weight."""
        return replace(self, guidance=weight)


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
