"""Feature matching: a discriminator's features of a reconstruction should be those of the original."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def feature_distance(estimate: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """Mean over the layers of the L1 distance relative to the mean size of the target's features, per sample.

    Args:
        estimate: features of the reconstruction per layer, batch first.
        target: features of the true sound; constants.
    """
    layers = [
        (made - true).abs().flatten(1).mean(1) / (true.abs().flatten(1).mean(1) + 1e-3)
        for made, true in zip(estimate, target, strict=True)
    ]
    return torch.stack(layers).mean(0)
