"""Training objectives: pure functions from tensors to per-sample tensors."""

from livejam.objectives.adaptive_penalty import adapt_penalty_weight
from livejam.objectives.gradient_penalty import PenaltyScale, lazy_penalty_scale, zero_centred_penalty
from livejam.objectives.relativistic import discriminator_loss, generator_loss

__all__ = [
    "PenaltyScale",
    "adapt_penalty_weight",
    "discriminator_loss",
    "generator_loss",
    "lazy_penalty_scale",
    "zero_centred_penalty",
]
