"""What a session is asked to sound like: the embedding of a recording, for every row.

Shapes: A audio channels, N samples, B rows, E channels of an embedding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from livejam.accompanist import TAKES_NONE, Accompanist, Controls
from livejam.audio_files import open_recording
from livejam.checkpoints.player import Player
from livejam.checkpoints.references import reference_analysis
from livejam.errors import UserError

PIECE_SAMPLES = 1 << 18
LONGEST_SECONDS = 600.0
"""More of a file is not listened to."""


def reference_of(player: Player, audio_AN: Tensor, sample_rate_hz: int, name: str = "the reference") -> Tensor:
    """The embedding of a recording for `Session.set_reference`: embedding_E.

    Args:
        player: the model that will sound like it.
        audio_AN: of any length and number of channels.
        sample_rate_hz: its rate.
        name: what errors call it.

    Raises:
        UserError: the model takes no reference, or the recording is too short, silent or not finite.
    """
    return reference_analysis(player.accompanist).of(audio_AN, sample_rate_hz, name)


def read_reference(path: Path, player: Player) -> Tensor:
    """The embedding_E of a recording in a file, for `Session.set_reference`.

    Args:
        path: the recording, of any rate and number of channels.
        player: the model that will sound like it.

    Raises:
        UserError: the model takes no reference, or the recording is missing, unreadable, too short, silent or not
            finite.
    """
    analysis, sound = reference_analysis(player.accompanist), open_recording(path)
    pieces, heard = [], 0
    for audio_AN in sound.blocks(PIECE_SAMPLES):
        pieces.append(torch.from_numpy(audio_AN))
        heard += audio_AN.shape[1]
        if heard >= LONGEST_SECONDS * sound.sample_rate_hz:
            break
    return analysis.of(torch.cat(pieces, dim=1), sound.sample_rate_hz, str(path))


def with_reference(
    accompanist: Accompanist[Any], controls: Controls, embedding_E: Tensor | None, rows: Iterable[int]
) -> Tensor | None:
    """All rows' references (BE), of which some rows' are replaced; None if no row has one.

    Args:
        accompanist: the model.
        controls: what it is asked for until now.
        embedding_E: the new one; None = none.
        rows: those that change.

    Raises:
        UserError: the model takes no reference, or the embedding is of another kind or not finite.
    """
    if getattr(accompanist, "reference", None) is None:
        if embedding_E is None:
            return None
        raise UserError(TAKES_NONE)
    if embedding_E is not None and (embedding_E.dim() != 1 or not embedding_E.isfinite().all()):
        raise UserError(
            f"a reference of shape {tuple(embedding_E.shape)} was given; it needs one embedding, of finite numbers"
        )
    old_BE = controls.reference_BE
    width = 0 if old_BE is None else old_BE.shape[1]
    if embedding_E is None:
        if old_BE is None:
            return None
        embedding_E = old_BE.new_zeros(width)
    if old_BE is None:
        old_BE = torch.zeros(len(controls.seed_B), len(embedding_E), device=controls.seed_B.device)
    elif len(embedding_E) != width:
        raise UserError(f"a reference of {len(embedding_E)} numbers was given; this model takes {width}")
    new_BE = old_BE.clone()
    for row in rows:
        new_BE[row] = embedding_E.to(new_BE)
    return new_BE if new_BE.any() else None


@dataclass(frozen=True)
class ReferenceLine:
    """What the rows shall sound like block by block: a function of the frame alone, so that undo and any chunks change
    nothing.

    Args:
        before_BE: the references that each row's last change replaced; a row of zeros is none.
        after_BE: those that replaced them.
        first_B: the frame with which each row's change begins.
        frames_B: how long it takes, in frames.
    """

    before_BE: Tensor
    after_BE: Tensor
    first_B: tuple[int, ...]
    frames_B: tuple[int, ...]

    @staticmethod
    def nothing(like_BE: Tensor) -> ReferenceLine:
        """No reference in any row."""
        none_BE, zeros = torch.zeros_like(like_BE), (0,) * len(like_BE)
        return ReferenceLine(none_BE, none_BE, zeros, zeros)

    def with_change(self, after_BE: Tensor, rows: Iterable[int], first: int, frames: int) -> ReferenceLine:
        """With other references in some rows, from a frame on, within so many frames."""
        before_BE, new_BE, now_BE = self.before_BE.clone(), self.after_BE.clone(), self.at(first, 0)
        first_B, frames_B = list(self.first_B), list(self.frames_B)
        for row in rows:
            before_BE[row], new_BE[row] = now_BE[row], after_BE[row]
            first_B[row], frames_B[row] = first, frames
        return ReferenceLine(before_BE, new_BE, tuple(first_B), tuple(frames_B))

    def at(self, first_frame: int, block_frames: int) -> Tensor:
        """The references (BE) of a block that begins there: those that are due at its end."""
        due_BE = self.after_BE.clone()
        for row, (first, frames) in enumerate(zip(self.first_B, self.frames_B, strict=True)):
            share = (first_frame + block_frames - first) / max(1, frames)
            # zeros are no sound, so there is nothing between them and a reference
            if frames and share < 1 and self.before_BE[row].any() and self.after_BE[row].any():
                due_BE[row] = torch.lerp(self.before_BE[row], self.after_BE[row], max(0.0, share))
        return due_BE

    def told(self, controls: Controls, first_frame: int, block_frames: int) -> Controls:
        """The controls with what is due in a block that begins there; the same ones if nothing changes."""
        return _referring(controls, self.at(first_frame, block_frames))

    def ended(self, controls: Controls) -> Controls:
        """The controls with what all changes lead to."""
        return _referring(controls, self.after_BE)


def _referring(controls: Controls, reference_BE: Tensor) -> Controls:
    due_BE, now_BE = reference_BE if reference_BE.any() else None, controls.reference_BE
    if due_BE is None or now_BE is None:
        return controls if due_BE is now_BE else replace(controls, reference_BE=due_BE)
    return controls if torch.equal(due_BE, now_BE) else replace(controls, reference_BE=due_BE)
