"""An auxiliary objective: what a generator has heard says where in the beat the frame lies that it plays.

Shapes: B batch, T latent frames.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def beat_loss(found_BT2: Tensor, beat_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared distance on the circle of the beat, and how well its phase was found; both scalars.

    The phase is a hand that turns once per beat, so its end is continuous where the phase itself jumps from 1 to 0. A
    generator that does not know says (0, 0), at a loss of 1/2.

    Args:
        found_BT2: where the hand ends, estimated: its cosine and its sine.
        beat_BT: beats until every frame, whose fraction is the phase; NaN where nobody knows, which does not count.

    Returns:
        the loss, and the mean cosine of the angle between found and true hand: 1 = all right, 0 = chance.
    """
    known_BT = beat_BT.isfinite()
    angle_BT = 2 * math.pi * beat_BT.nan_to_num(0.0)
    true_BT2 = torch.stack((angle_BT.cos(), angle_BT.sin()), dim=-1)
    count = known_BT.sum().clamp_min(1)
    squared_BT = (found_BT2 - true_BT2).square().mean(dim=-1)
    cosine_BT = torch.cosine_similarity(found_BT2.detach(), true_BT2, dim=-1)
    return (squared_BT * known_BT).sum() / count, (cosine_BT * known_BT).sum() / count
