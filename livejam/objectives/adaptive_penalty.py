"""AdaGP: the weight of the gradient penalty that keeps the discriminator at a fixed advantage."""

from __future__ import annotations

from torch import Tensor


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
