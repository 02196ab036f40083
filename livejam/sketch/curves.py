"""What is asked of a sound, frame by frame: packed for disks and streams, unpacked for networks.

A frame of packed curves has P = 2 + 2k numbers: loudness, brightness, the k strongest notes (-1 where there are fewer)
and their strengths. NaN says that nothing is asked. Unpacked, it has K = 130: loudness, brightness and the strength of
every note of MIDI; and G = 3 masks, one per control, which are 0 where nothing is asked.

Shapes: B batch, T latent frames, P numbers of a packed frame, K channels, G controls.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from livejam.errors import UserError
from livejam.sketch.controls import NOTES

CHANNELS = (1, 1, NOTES)
"""Channels of loudness, brightness and pitch."""

CONTROLS = ("loudness", "brightness", "pitch")
"""Their names, in the same order."""


@dataclass(frozen=True)
class AskedCurves:
    """Curves in the form that a network takes.

    Args:
        values_BTK: all channels, in [0, 1], 0 where nothing is asked.
        mask_BTG: 1 where a control is asked for, 0 where it is not.
    """

    values_BTK: Tensor
    mask_BTG: Tensor

    def only(self, kept_BTG: Tensor) -> AskedCurves:
        """Without the controls and frames that are not kept (bool)."""
        kept_BTK = kept_BTG.repeat_interleave(_channels(kept_BTG.device), dim=-1)
        return AskedCurves(self.values_BTK * kept_BTK, self.mask_BTG * kept_BTG)


def packed(loudness_BT1: Tensor, brightness_BT1: Tensor, pitch_BTK: Tensor, kept: int) -> Tensor:
    """Curves as the three controls give them, as packed_BTP with the `kept` strongest notes."""
    strength, note = pitch_BTK.topk(kept, dim=-1)
    note = torch.where(strength > 0, note, -1).to(strength)
    return torch.cat((loudness_BT1, brightness_BT1, note, strength), dim=-1)


def unpacked(packed_BTP: Tensor) -> AskedCurves:
    """Packed curves in a network's form; whatever they hold, the result is finite and in range."""
    level_BT2, note, strength = packed_BTP[..., :2], *packed_BTP[..., 2:].chunk(2, dim=-1)
    asked_BT2 = level_BT2.isfinite()
    asked_BT1 = (note.isfinite() & strength.isfinite()).all(dim=-1, keepdim=True)
    sounds = asked_BT1 & (note >= 0) & (note <= NOTES - 1)
    strength = torch.where(sounds, strength.nan_to_num().clamp(0, 1), 0.0)
    index = torch.where(sounds, note, 0.0).round().long()
    pitch = strength.new_zeros(*strength.shape[:-1], NOTES).scatter_reduce(-1, index, strength, "amax")
    values_BTK = torch.cat((torch.where(asked_BT2, level_BT2.nan_to_num().clamp(0, 1), 0.0), pitch), dim=-1)
    return AskedCurves(values_BTK, torch.cat((asked_BT2, asked_BT1), dim=-1).to(values_BTK))


def excerpt(packed_BTP: Tensor, first: int, frames: int) -> Tensor:
    """So many frames from `first` on, which may be negative; before and after the curves, nothing is asked."""
    out_BTP = packed_BTP.new_full((len(packed_BTP), frames, packed_BTP.shape[2]), torch.nan)
    start, stop = max(0, first), max(0, min(packed_BTP.shape[1], first + frames))
    if start < stop:
        out_BTP[:, start - first : stop - first] = packed_BTP[:, start:stop]
    return out_BTP


def asking_for(packed_BTP: Tensor, controls: Collection[str]) -> Tensor:
    """The same curves, of which only these controls are asked for."""
    out_BTP = packed_BTP.clone()
    for place, name in enumerate(CONTROLS):
        if name not in controls:
            out_BTP[..., place : place + 1 if place < len(CONTROLS) - 1 else None] = torch.nan
    return out_BTP


def require_packed(curves: Tensor, kept: int) -> None:
    """Refuse what are no packed curves (…, P) with `kept` notes.

    Raises:
        UserError: says what they should be.
    """
    if curves.shape[-1] != 2 + 2 * kept or not curves.is_floating_point():
        raise UserError(
            f"a sketch of shape {tuple(curves.shape)} and type {curves.dtype} does not fit: this model needs "
            f"{2 + 2 * kept} real numbers per frame, as its SketchAnalysis gives them"
        )


def _channels(device: torch.device) -> Tensor:
    return torch.tensor(CHANNELS, device=device)
