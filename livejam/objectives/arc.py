"""ARC: adversarial relativistic-contrastive post-training (LMDM section 3, after Novack et al. 2025).

A discriminator scores noised sequences with a map of scores over time. Real and generated sequences are paired: they
share context, prompt, noise level and the noise itself, so that they differ in nothing but the music.

Shapes: B batch, M places of a score map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from livejam.errors import UserError
from livejam.objectives.flow import TimeDistribution
from livejam.objectives.relativistic import discriminator_loss, generator_loss


def arc_generator_loss(fake_BM: Tensor, real_BM: Tensor) -> Tensor:
    """E[softplus(D(x_t, t, c) - D(x̂_t, t, c))] over the places of the map, per sample."""
    return generator_loss(fake_BM, real_BM).mean(1)


def arc_discriminator_loss(real_BM: Tensor, fake_BM: Tensor) -> Tensor:
    """E[softplus(-(D(x_t, t, c) - D(x̂_t, t, c)))] over the places of the map, per sample."""
    return discriminator_loss(real_BM, fake_BM).mean(1)


def contrastive_loss(matched_BM: Tensor, mismatched_BM: Tensor) -> Tensor:
    """E[softplus(-(D(x_t, t, c) - D(x_t, t, P(c))))] over the places of the map, per sample.

    Both maps judge the same real, equally noised music; only the prompt of the second is another item's. The
    discriminator must rank by the prompt, and cannot do so by listening for the generator's faults.
    """
    return discriminator_loss(matched_BM, mismatched_BM).mean(1)


def approximate_gradient_penalty(score_BM: Tensor, perturbed_BM: Tensor) -> Tensor:
    """Σ (D(x_t + σ n) - D(x_t))² over the map, per sample: R1 on real, R2 on generated sequences without double
    backward (Lin et al. 2025, equation 3, not divided by σ²). LMDM leaves it out.

    Args:
        score_BM: scores of the sequences.
        perturbed_BM: scores of the same sequences after a little white noise (σ = 0.05 in ARC) was added.
    """
    return (perturbed_BM - score_BM).square().sum(1)


@dataclass(frozen=True)
class TruncatedLogitNormalTimes(TimeDistribution):
    """t = 1 - (s - cut) / (1 - cut), s logit-normal given that s > cut: more often near noise than near music.

    `truncated_logistic_normal_rescaled` of stable-audio-tools, flipped. ARC judges at these times as they are; the
    discriminator's base is trained at them after the length shift (`ShiftedTimes`).

    Args:
        cut: in (0, 1), where the logit-normal distribution is cut off; there lies t = 1.
    """

    cut: float = 0.075

    def __post_init__(self) -> None:
        if not 0 < self.cut < 1:
            raise UserError(f"cut is {self.cut}, but must lie between 0 and 1; the paper's is 0.075")

    def draw(self, batch: int, rng: torch.Generator) -> Tensor:
        # float64: the inverse of the normal distribution is steep at its ends
        share_B = torch.rand(batch, generator=rng, device=rng.device, dtype=torch.float64)
        below = torch.special.ndtr(torch.logit(share_B.new_tensor(self.cut)))
        level_B = torch.sigmoid(torch.special.ndtri(below + (1 - below) * share_B))
        return ((1 - level_B) / (1 - self.cut)).clamp(0.0, 1.0).float()
