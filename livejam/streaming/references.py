"""What a session is asked to sound like: the embedding of a recording, for every row.

Shapes: A audio channels, N samples, B rows, E channels of an embedding.
"""

from __future__ import annotations

from collections.abc import Iterable
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
