"""What a model is shown of its targets' curves in training: parts of them, and smoothed at random.

Random smoothing is Sketch2Sound's, so that a hummed or drawn curve is as good as an exact one.

Shapes: B batch, T latent frames, P numbers of a packed frame, K channels, G controls.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from livejam.errors import UserError
from livejam.sketch.analysis import SketchAnalysis
from livejam.sketch.curves import CHANNELS, CONTROLS, AskedCurves, unpacked

WIDEST = 13
"""Frames of the widest filter in flash-foley."""


@dataclass(frozen=True)
class SketchTraining:
    """A sketch is the target's own curves, smoothed at random and with parts of it left out.

    Args:
        analysis: how curves are made, in training and in playing.
        whole_dropout: share of items, 0 to 1, without a sketch.
        partial_dropout: share of items whose sketch begins or ends within the window.
        control_dropout: share of items without loudness, without brightness and without pitch, each drawn by itself.
        widest_median: frames of the widest median filters (Sketch2Sound) of loudness, brightness and pitch; every
            control of every item draws its own width from 1 on; 1 leaves its curves exact.

    Raises:
        UserError: a number is out of range.
    """

    analysis: SketchAnalysis = field(default_factory=SketchAnalysis)
    whole_dropout: float = 0.1
    partial_dropout: float = 0.1
    control_dropout: tuple[float, float, float] = (0.2, 0.2, 0.2)
    widest_median: tuple[int, int, int] = (WIDEST, WIDEST, WIDEST)

    def __post_init__(self) -> None:
        shares = (self.whole_dropout, self.partial_dropout, *self.control_dropout)
        if len(self.control_dropout) != len(CONTROLS) or not all(0 <= share <= 1 for share in shares):
            raise UserError(
                f"whole_dropout, partial_dropout and three numbers of control_dropout ({', '.join(CONTROLS)}) are "
                f"shares from 0 to 1; these are {shares}"
            )
        if len(self.widest_median) != len(CONTROLS) or min(self.widest_median) < 1:
            raise UserError(
                f"widest_median is three numbers of frames ({', '.join(CONTROLS)}), 1 or more, where 1 smooths "
                f"nothing; these are {self.widest_median}"
            )

    def draw(self, curves_BTP: Tensor, rng: torch.Generator) -> AskedCurves:
        """The sketch of every item of a batch.

        Args:
            curves_BTP: packed curves of the targets, all of them finite.
            rng: the source of randomness, on the curves' device.
        """
        asked = unpacked(curves_BTP.float())
        parts = asked.values_BTK.split(CHANNELS, dim=-1)
        widest = zip(parts, self.widest_median, strict=True)
        smooth_BTK = torch.cat([randomly_smoothed(part, frames, rng) for part, frames in widest], dim=-1)
        kept_BTG = self._within(curves_BTP, rng)[..., None] & self._controls(curves_BTP, rng)[:, None]
        return AskedCurves(smooth_BTK, asked.mask_BTG).only(kept_BTG)

    def _controls(self, curves_BTP: Tensor, rng: torch.Generator) -> Tensor:
        """Which controls of which item are asked for (BG)."""
        share_BG = torch.rand(len(curves_BTP), len(CONTROLS), generator=rng, device=rng.device)
        share_B1 = torch.rand(len(curves_BTP), 1, generator=rng, device=rng.device)
        return (share_BG >= share_BG.new_tensor(self.control_dropout)) & (share_B1 >= self.whole_dropout)

    def _within(self, curves_BTP: Tensor, rng: torch.Generator) -> Tensor:
        """In which frames of which item something is asked (BT): all, or those before or after a random one."""
        batch, frames, _ = curves_BTP.shape
        share_B1, edge_B1, side_B1 = torch.rand(3, batch, 1, generator=rng, device=rng.device)
        before_BT = torch.arange(frames, device=rng.device) < edge_B1 * frames
        return (share_B1 >= self.partial_dropout) | (before_BT == (side_B1 < 0.5))


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
