"""The noise levels of consistency models, as times of a flow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from livejam.errors import UserError
from livejam.sampling.schedules import Schedule


def noise_times(progress: Tensor, lowest_sigma: float, highest_sigma: float, rho: float) -> Tensor:
    """Times t = σ / (1 + σ) at which σ^(1/ρ) has completed a share of its way down (Karras et al. 2022, equation 5).

    x_t = (1 - t) x + t ε is 1 - t times x + σ ε, so both have the same share of noise.

    Args:
        progress: from 0, at the highest level, to 1, at the lowest.
        lowest_sigma: above 0.
        highest_sigma: above `lowest_sigma`.
        rho: ρ above 0; the larger, the denser the low levels.
    """
    high, low = highest_sigma ** (1 / rho), lowest_sigma ** (1 / rho)
    sigma = (high + progress * (low - high)) ** rho
    return sigma / (1 + sigma)


@dataclass(frozen=True)
class KarrasSchedule(Schedule):
    """The levels of `noise_times`, evenly spread, with t_0 := 1 and t_K := 0: for consistency models in few steps.

    Args:
        lowest_sigma: σ > 0 of the last level.
        highest_sigma: σ of the first one, above `lowest_sigma`.
        rho: above 0.

    Raises:
        UserError: the levels do not fall.
    """

    lowest_sigma: float = 1e-4
    highest_sigma: float = 80.0
    rho: float = 9.0

    def __post_init__(self) -> None:
        if not 0 < self.lowest_sigma < self.highest_sigma or self.rho <= 0:
            raise UserError(
                f"σ from {self.highest_sigma} to {self.lowest_sigma} with rho {self.rho} is no schedule; set "
                "0 < lowest_sigma < highest_sigma and rho > 0"
            )

    def times(self, steps: int) -> Tensor:
        if steps < 1:
            raise UserError(f"sampling takes at least 1 step, not {steps}; set steps to 1 or more")
        times = self.levels(steps + 1)
        times[-1] = 0.0
        return times

    def levels(self, number: int) -> Tensor:
        """The times of so many levels, falling (float64); the first is noise alone, t = 1, where sampling starts."""
        times_K = noise_times(torch.linspace(0, 1, number, dtype=torch.float64), *self.range)
        times_K[0] = 1.0
        return times_K

    @property
    def range(self) -> tuple[float, float, float]:
        """Lowest σ, highest σ and ρ."""
        return self.lowest_sigma, self.highest_sigma, self.rho
