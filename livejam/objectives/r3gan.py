"""R3GAN with LiveBand's AdaGP: relativistic pairing, zero-centred gradient penalties, and their adaptive weight.

Real and generated sequences are paired one to one with the same mix; B is the batch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(real_B: Tensor, fake_B: Tensor) -> Tensor:
    """softplus(-(D(x) - D(x̂))) per pair: the real sequence should score above the generated one (equation 5)."""
    return F.softplus(fake_B - real_B)


def generator_loss(fake_B: Tensor, real_B: Tensor) -> Tensor:
    """softplus(-(D(x̂) - D(x))) per pair: the mirror image of `discriminator_loss` (equation 6).

    Gradient reaches the generator through D(x̂) alone; D(x) is a constant to it.
    """
    return F.softplus(real_B - fake_B)


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


def adapt_penalty_weight(weight: Tensor, advantage: Tensor, target_advantage: float, step_size: float) -> Tensor:
    """λ ← max(0, λ + η · sign(adv - a*)) (LiveBand section 4.6).

    A discriminator that is too strong is held back by a larger penalty, one that is too weak is let loose.

    Args:
        weight: λ ≥ 0.
        advantage: E[D(x)] - E[D(x̂)], averaged over all ranks so that λ stays equal on them.
        target_advantage: a*.
        step_size: η ≥ 0; 0 keeps λ fixed.
    """
    return (weight + step_size * (advantage - target_advantage).sign()).clamp_min(0.0)
