"""Random smoothing of curves in training, so that a hummed or drawn curve is as good as an exact one (Sketch2Sound).

Shapes: B batch, T latent frames, K channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

WIDEST = 13
"""Frames of the widest filter in flash-foley."""


def median_filtered(curve_BTK: Tensor, width: int) -> Tensor:
    """The running median over `width` frames; beyond its ends, a curve stays as it is there.

    Args:
        curve_BTK: a finite curve of any length.
        width: frames, at least 1; of an even number, one more lies ahead than behind, and the smaller of the two middle
            values counts.
    """
    frames = curve_BTK.shape[1]
    if width == 1 or not frames:
        return curve_BTK
    place_T = torch.arange(-((width - 1) // 2), frames + width // 2, device=curve_BTK.device).clamp(0, frames - 1)
    return curve_BTK[:, place_T].unfold(1, width, 1).median(dim=-1).values


def randomly_smoothed(curve_BTK: Tensor, widest: int, rng: torch.Generator) -> Tensor:
    """Every row under a median filter of its own width.

    Args:
        curve_BTK: finite curves.
        widest: the largest width, at least 1; all from 1 on are equally likely.
        rng: the source of randomness.
    """
    width_B = torch.randint(1, widest + 1, (len(curve_BTK),), generator=rng, device=rng.device).tolist()
    out_BTK = curve_BTK.clone()
    for width in sorted(set(width_B)):
        rows = [row for row, its_own in enumerate(width_B) if its_own == width]
        out_BTK[rows] = median_filtered(curve_BTK[rows], width)
    return out_BTK
