"""Samplers: plain functions of a velocity v(x, t), for x_t = (1 - t) x_0 + t ε, so that v = ε - x_0; and the same with
their settings, as configurations and checkpoints name them.

Gradients flow through every call of the velocity where the caller has gradients switched on. Under guidance the model
is asked several times per noise level, with its conditions and without some of them, in one batched call: the velocity
takes (1 + n) B rows for n weights, the conditional ones first (`livejam.sampling.guidance`).

Shapes: B batch, T latent frames, C latent channels, K steps.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from livejam.accompanist import Weights
from livejam.errors import UserError
from livejam.noise import Noise
from livejam.sampling.guidance import Side, by_name, nested, nested_sides, require_weights
from livejam.sampling.schedules import LogSNRSchedule, Schedule

Velocity = Callable[[Tensor, Tensor], Tensor]
"""(x_BTC, t_B) → v_BTC."""


def clean_estimate(x_BTC: Tensor, time_B: Tensor, velocity_BTC: Tensor) -> Tensor:
    """x̂_0 = x_t - t v."""
    return x_BTC - time_B[:, None, None] * velocity_BTC


def guided(velocity: Velocity, *weights: float, rescale: float = 0.0) -> Velocity:
    """Classifier-free guidance, v_u + w (v_c - v_u), in one call of a velocity of 2B rows; nested for more weights.

    Args:
        velocity: rows [0, B) conditional, and then a side for each weight, of which each lacks more than the one before
            it and the last is unconditional.
        weights: w_1 < … < w_n, of which w_n belongs to what the first of these sides lacks.
        rescale: share φ of `rescaled`.
    """

    def guided_velocity(x_BTC: Tensor, time_B: Tensor) -> Tensor:
        sides = _sides(velocity, x_BTC, time_B, len(weights))
        steered_BTC = _steered(sides, weights)
        return rescaled(x_BTC, time_B, sides[0], steered_BTC, rescale) if rescale else steered_BTC

    return guided_velocity


def rescaled(x_BTC: Tensor, time_B: Tensor, asked_BTC: Tensor, guided_BTC: Tensor, share: float) -> Tensor:
    """The guided velocity with its estimate as large as the conditional one: x̂ (φ |x̂_c| / |x̂| + 1 - φ), by rows.

    From Lin et al. 2023 ("Common Diffusion Noise Schedules and Sample Steps are Flawed", equations 14 to 16), against
    overexposure by large weights. They scale the model's output. A velocity is mostly noise while the noise level is
    high, and scaling it would leave noise in the estimate, so it is the estimate x̂ = x - t v that is scaled; |x̂| is
    its root mean square, as normalised latents have mean 0. Frames in which guidance changes nothing, such as those of
    an inpainted past, neither count nor change.

    Args:
        x_BTC: the noisy latents.
        time_B: their noise levels, above 0.
        asked_BTC: velocity of the conditional side.
        guided_BTC: velocity under guidance.
        share: φ, 0 to 1.
    """
    free_BT1 = (guided_BTC != asked_BTC).any(dim=2, keepdim=True)
    asked_BTC, guided_BTC = (clean_estimate(x_BTC, time_B, v_BTC) for v_BTC in (asked_BTC, guided_BTC))
    power_B11, guided_B11 = ((x * x * free_BT1).sum(dim=(1, 2), keepdim=True) for x in (asked_BTC, guided_BTC))
    ratio_B11 = (power_B11 / guided_B11.clamp(min=1e-12)).sqrt()
    clean_BTC = torch.where(free_BT1, guided_BTC * (share * ratio_B11 + 1 - share), guided_BTC)
    return (x_BTC - clean_BTC) / time_B[:, None, None]


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


def euler_plus_plus(velocity: Velocity, weights: Sequence[float], times_K1: Tensor, noise: Noise) -> Tensor:
    """CFG++ (Chung et al. 2024): guidance moves the estimate, the unconditional velocity renoises it.

    x ← (x - t v_w) + t' v_u, with v_w = v_u + w (v_c - v_u) and w in [0, 1]; nested for more weights, as in `guided`.
    """
    x = noise(0)
    for _, now, following in _steps(times_K1):
        sides = _sides(velocity, x, _time(x, now), len(weights))
        x = (x - now * _steered(sides, weights)) + following * sides[-1]
    return x


def ping_pong_plus_plus(velocity: Velocity, weights: Sequence[float], times_K1: Tensor, noise: Noise) -> Tensor:
    """Ping-Pong++ (LMDM): x ← (x - t v_w) + t' (ε' - (x - t v_u)), with fresh noise ε'."""
    x = noise(0)
    for step, now, following in _steps(times_K1):
        time_B = _time(x, now)
        sides = _sides(velocity, x, time_B, len(weights))
        clean = clean_estimate(x, time_B, _steered(sides, weights))
        if following:
            clean = clean + following * (noise(step + 1) - clean_estimate(x, time_B, sides[-1]))
        x = clean
    return x


def _sides(velocity: Velocity, x_BTC: Tensor, time_B: Tensor, others: int) -> Sequence[Tensor]:
    """Velocities of the conditional and so many other sides, from one call."""
    sides = 1 + others
    return velocity(torch.cat((x_BTC,) * sides), torch.cat((time_B,) * sides)).chunk(sides)


def _steered(sides: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """v_0 + Σ w_k (v_k - v_{k-1}), of v_n … v_0."""
    steered, behind = sides[-1], reversed(sides)
    for weight, (less, more) in zip(weights, itertools.pairwise(behind), strict=True):
        steered = steered + weight * (more - less)
    return steered


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
        """Whether the velocity is asked with rows of other sides behind the conditional ones."""

    def weights(self, together: Side) -> Mapping[str, float]:
        """Control → weight of what is guided.

        Args:
            together: the controls that one weight for all is of.
        """
        return {}

    def sides(self, together: Side) -> tuple[Side, ...]:
        """What each other side lacks, in the order of the rows.

        Args:
            together: the controls that one weight for all is of.
        """
        return (together,) if self.needs_unconditional else ()

    @abstractmethod
    def sample(self, velocity: Velocity, noise: Noise) -> Tensor:
        """Latents x_0 (BTC)."""

    def with_guidance(self, guidance: Weights) -> Sampler:
        """The same sampler with another weight of guidance, or one for each control; those that are not named have 1.

        Raises:
            UserError: it has no guidance, or a weight is out of range.
        """
        raise UserError("this model's sampler has no guidance; leave it out")

    def with_rescale(self, share: float) -> Sampler:
        """The same sampler with another share of `rescaled`.

        Raises:
            UserError: its guidance is not rescaled, or the share is out of range.
        """
        raise UserError(f"the guidance of {type(self).__name__} is not rescaled; leave the share out")


def _of_each(guidance: Weights, together: Side) -> Mapping[str, float]:
    """Control → weight."""
    return guidance if isinstance(guidance, Mapping) else dict.fromkeys(sorted(together), guidance)


def _own(guidance: Weights) -> float | dict[str, float]:
    return dict(guidance) if isinstance(guidance, Mapping) else guidance


@dataclass(frozen=True)
class CfgSampler(Sampler, ABC):
    """What samplers with ordinary guidance share.

    Args:
        steps: noise levels, ≥ 1.
        guidance: weight w ≥ 0 of classifier-free guidance, of all that the unconditional side lacks, or a weight for
            each of mix, past, prompt and sketch; 1 asks the conditional model alone, at half the cost.
        schedule: the noise levels.
        rescale: share φ, 0 to 1, of `rescaled`: of what large weights add to the level, and of what they lack in it, so
            much is taken back at every noise level; 0 = guidance as it is.

    Raises:
        UserError: a number is out of its range.
    """

    steps: int = 8
    guidance: float | dict[str, float] = 1.0
    schedule: Schedule = field(default_factory=LogSNRSchedule)
    rescale: float = 0.0

    def __post_init__(self) -> None:
        self.schedule.times(self.steps)
        require_weights(self.guidance, lambda weight: weight >= 0, "must be 0 or more; 1 switches it off")
        if not 0 <= self.rescale <= 1:
            raise UserError(f"rescale is {self.rescale}; it is a share of 0 to 1, and 0 leaves guidance as it is")

    @property
    def needs_unconditional(self) -> bool:
        """Whether the model is asked without its conditions too."""
        return bool(self._weights)

    @property
    def _weights(self) -> tuple[float, ...]:
        return nested(by_name(self.guidance))

    def weights(self, together: Side) -> Mapping[str, float]:
        """Of each control; see `Sampler.weights`."""
        return _of_each(self.guidance, together)

    def sides(self, together: Side) -> tuple[Side, ...]:
        """The nested sides; see `Sampler.sides`."""
        return nested_sides(self.weights(together)) if isinstance(self.guidance, Mapping) else super().sides(together)

    def with_guidance(self, guidance: Weights) -> CfgSampler:
        """The same sampler with other weights."""
        return replace(self, guidance=_own(guidance))

    def with_rescale(self, share: float) -> CfgSampler:
        """The same sampler with another share of `rescaled`."""
        return replace(self, rescale=share)

    def _guided(self, velocity: Velocity) -> Velocity:
        return guided(velocity, *self._weights, rescale=self.rescale) if self._weights else velocity


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
        guidance: weight w in [0, 1]; LMDM takes 0.7 while prompts change. Or a weight for each of mix, past, prompt and
            sketch, of which those of weight 1 stay as they are.
        schedule: the noise levels.

    Raises:
        UserError: a number is out of its range.
    """

    steps: int = 8
    guidance: float | dict[str, float] = 0.7
    schedule: Schedule = field(default_factory=LogSNRSchedule)

    def __post_init__(self) -> None:
        self.schedule.times(self.steps)
        allowed = "CFG++ interpolates: set it between 0 and 1"
        require_weights(self.guidance, lambda weight: 0 <= weight <= 1, allowed)

    @property
    def needs_unconditional(self) -> bool:
        """With one weight, the unconditional model is always asked."""
        return not isinstance(self.guidance, Mapping) or bool(self._weights)

    @property
    def _weights(self) -> tuple[float, ...]:
        return nested(self.guidance) if isinstance(self.guidance, Mapping) else (self.guidance,)

    def weights(self, together: Side) -> Mapping[str, float]:
        """Of each control; see `Sampler.weights`."""
        return _of_each(self.guidance, together)

    def sides(self, together: Side) -> tuple[Side, ...]:
        """The nested sides; see `Sampler.sides`."""
        return nested_sides(self.weights(together)) if isinstance(self.guidance, Mapping) else super().sides(together)

    def with_guidance(self, guidance: Weights) -> CfgPlusPlusSampler:
        """The same sampler with other weights."""
        return replace(self, guidance=_own(guidance))


@dataclass(frozen=True)
class EulerPlusPlus(CfgPlusPlusSampler):
    """`euler_plus_plus`."""

    def sample(self, velocity: Velocity, noise: Noise) -> Tensor:
        return euler_plus_plus(velocity, self._weights, self.schedule.times(self.steps), noise)


@dataclass(frozen=True)
class PingPongPlusPlus(CfgPlusPlusSampler):
    """`ping_pong_plus_plus`."""

    def sample(self, velocity: Velocity, noise: Noise) -> Tensor:
        return ping_pong_plus_plus(velocity, self._weights, self.schedule.times(self.steps), noise)
