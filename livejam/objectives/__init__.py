"""Training objectives: pure functions from tensors to per-sample tensors."""

from livejam.objectives.r3gan import (
    PenaltyScale,
    adapt_penalty_weight,
    discriminator_loss,
    generator_loss,
    lazy_penalty_scale,
    zero_centred_penalty,
)

__all__ = [
    "PenaltyScale",
    "adapt_penalty_weight",
    "discriminator_loss",
    "generator_loss",
    "lazy_penalty_scale",
    "zero_centred_penalty",
]
