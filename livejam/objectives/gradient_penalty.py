"""Zero-centred gradient penalties R1 and R2, and the schedule that applies them lazily.

B is the batch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def zero_centred_penalty(samples: Tensor, logit_B: Tensor) -> Tensor:
    """‖∇ₓ D(x)‖² per sample, summed over all other dimensions (LiveBand equation 7, R3GAN equation 3).

    It is R1 on real samples and R2 on generated ones. The result keeps its graph, so that its own gradient
    reaches the discriminator's weights (double backward).

    Args:
        samples: x, batch first, with `requires_grad`, on the path to `logit_B`.
        logit_B: D(x).
    """
    # Samples of a batch do not interact, so the gradient of the sum is each sample's own gradient.
    (gradient,) = torch.autograd.grad(logit_B.sum(), samples, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1)


class PenaltyScale(NamedTuple):
    """By how much each penalty counts at one discriminator step; 0 = it is not computed."""

    r1: float
    r2: float


def lazy_penalty_scale(iteration: int, every: int) -> PenaltyScale:
    """One penalty at every `every`-th step, R1 and R2 in turn, `every` times as strong (LiveBand section 4.7).

    The average over time does not depend on `every`: it is the penalty of `every` = 1, which alternates R1 and
    R2 from step to step. That is (R1 + R2) / 2, half of the sum that R3GAN takes at each step.

    Args:
        iteration: discriminator steps done so far.
        every: steps per penalty (k), ≥ 1.
    """
    turn, rest = divmod(iteration, every)
    if rest:
        return PenaltyScale(0.0, 0.0)
    return PenaltyScale(float(every), 0.0) if turn % 2 == 0 else PenaltyScale(0.0, float(every))
