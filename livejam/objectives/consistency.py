"""Consistency distillation of a flow model (Song et al. 2023; Karchkhadze and Dubnov section 3.3).

The teacher's velocity defines curves from noise (t = 1) to music (t = 0). The student learns f(x, t), the end of the
curve through x at t: one evaluation instead of a solver. f(x, t) = x - t v(x, t) is `livejam.sampling.clean_estimate`
of the student's velocity; f(x, 0) = x holds by construction.

The papers give noise levels as σ, for x + σ ε. A flow's x_t = (1 - t) x + t ε is 1 - t times that for σ = t / (1 - t),
so a schedule in σ is one in t = σ / (1 + σ).

Shapes: B batch, T latent frames, C latent channels, K noise levels.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from livejam.errors import UserError
from livejam.sampling import KarrasSchedule, Velocity, heun_step, noise_times


def solve(velocity: Velocity, noisy_BTC: Tensor, times: Sequence[Tensor]) -> Tensor:
    """Heun steps through all `times`, each one time_B, from the first to the last."""
    for time_B, next_time_B in itertools.pairwise(times):
        noisy_BTC = heun_step(velocity, noisy_BTC, time_B, next_time_B)
    return noisy_BTC


@dataclass(frozen=True)
class KarrasTimes(KarrasSchedule):
    """The noise levels between which the teacher's curves are solved.

    Args:
        lowest_sigma: σ > 0 of the last one.
        highest_sigma: σ of the first one, above `lowest_sigma`.
        rho: ρ above 0; the larger, the denser the low levels.
        number: number of noise levels, 2 or more.
    """

    number: int = 18

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.number < 2:
            raise UserError(f"number of noise levels is {self.number}, but a curve needs 2 or more; the paper's is 18")

    def draw_steps(self, rng: torch.Generator) -> int:
        """The number of levels to solve over: n in 1 … number - 1, with a probability proportional to n."""
        weights = torch.arange(1, self.number, dtype=torch.float64, device=rng.device)
        return 1 + int(torch.multinomial(weights, 1, generator=rng))

    def draw_starts(self, steps: int, batch: int, rng: torch.Generator) -> Tensor:
        """Index into the levels where every row starts, uniform over those with `steps` levels below them."""
        return torch.randint(self.number - steps, (batch,), device=rng.device, generator=rng)

    def denoising_times(self, batch: int, rng: torch.Generator) -> Tensor:
        """time_B for `denoising_loss`: ln σ ~ N(-1.2, 1.2²) or, equally often, a uniform place in the first 0.7 of the
        schedule, where noise is strong (Kim et al. 2024)."""
        double = torch.float64
        normal_B = torch.randn(batch, device=rng.device, generator=rng, dtype=double)
        place_B = torch.rand(batch, device=rng.device, generator=rng, dtype=double)
        uniform_B = torch.rand(batch, device=rng.device, generator=rng, dtype=double)
        log_normal_B = torch.exp(1.2 * normal_B - 1.2).clamp(self.lowest_sigma, self.highest_sigma)
        scheduled_B = noise_times(0.7 * place_B, *self.range)
        return torch.where(uniform_B < 0.5, log_normal_B / (1 + log_normal_B), scheduled_B).float()


def consistency_loss(student_BTC: Tensor, target_BTC: Tensor, target_BT: Tensor) -> Tensor:
    """Mean of (f(x_t, t) - f⁻(x_s, s))² over the target frames per sample, x_s on the teacher's curve through x_t.

    Args:
        student_BTC: f(x_t, t).
        target_BTC: f⁻(x_s, s) of the averaged student; a constant.
        target_BT: frames that count (bool), at least one per sample.
    """
    return _target_mean((student_BTC - target_BTC.detach()).square(), target_BT)


def denoising_loss(estimate_BTC: Tensor, clean_BTC: Tensor, time_B: Tensor, target_BT: Tensor) -> Tensor:
    """Mean of (f(x_t, t) - x)² per sample, weighted by (σ² + 1) / σ² (Karras et al. 2022, table 1, σ_data = 1).

    With f = x_t - t v it is (t² + (1 - t)²) (v - (ε - x))²: the flow matching error with a bounded weight.

    Args:
        estimate_BTC: f(x_t, t).
        clean_BTC: x.
        time_B: above 0.
        target_BT: frames that count (bool), at least one per sample.
    """
    weight_B = (time_B.square() + (1 - time_B).square()) / time_B.square()
    return weight_B * _target_mean((estimate_BTC - clean_BTC).square(), target_BT)


def _target_mean(error_BTC: Tensor, target_BT: Tensor) -> Tensor:
    return torch.where(target_BT, error_BTC.mean(2), 0.0).sum(1) / target_BT.sum(1)
