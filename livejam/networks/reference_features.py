"""What networks know of a reference: features of its embedding, and nothing of one that is not there.

Shapes: B batch, E channels of an embedding, F features.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

FURTHEST = 4.0
"""Deviations from the mean beyond which nothing is further away: recordings may be unlike all that was learnt."""

FEATURES = 128


class ReferenceFeatures(nn.Module):
    """One hidden layer over a standardised embedding; the features of zeros, which stand for no reference, are zeros.

    Args:
        reference_channels: channels of an embedding (E).
        features: channels of the features (F).
    """

    mean_E: Tensor
    deviation_E: Tensor

    def __init__(self, reference_channels: int, features: int = FEATURES) -> None:
        super().__init__()
        self.project_in = nn.Linear(reference_channels, features)
        self.register_buffer("mean_E", self.project_in.weight.new_zeros(reference_channels))
        self.register_buffer("deviation_E", self.project_in.weight.new_ones(reference_channels))

    def standardise_by(self, mean_E: Tensor, deviation_E: Tensor) -> None:
        """Take the statistics of the references of a training set."""
        self.mean_E.copy_(mean_E)
        self.deviation_E.copy_(deviation_E)

    def forward(self, reference_BE: Tensor) -> Tensor:
        """Features_BF.

        Args:
            reference_BE: embeddings; a row of zeros is no reference.
        """
        given_B1 = (reference_BE != 0).any(dim=-1, keepdim=True)
        standard_BE = ((reference_BE.to(self.mean_E) - self.mean_E) / self.deviation_E).clamp(-FURTHEST, FURTHEST)
        return F.silu(self.project_in(standard_BE)) * given_B1


def silent_projection(channels: int, features: int = FEATURES) -> nn.Linear:
    """A linear map of features that begins at zero, so that a network begins as the one without references."""
    project = nn.Linear(features, channels, bias=False)
    nn.init.zeros_(project.weight)
    return project
