"""Noise that swells into a new section."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datamodules.pocket_slakh.parts.note import Note
from datamodules.pocket_slakh.sheet import Sheet


def play_swells(sheet: Sheet, bars: Sequence[int], rng: np.random.Generator) -> list[Note]:
    """One long note over the last bar before each section that begins within the song."""
    playing = set(bars)
    pitch = int(rng.integers(55, 72))
    return [
        Note((section.end_bar - 1) * sheet.steps_per_bar, sheet.steps_per_bar, pitch, 0.7)
        for section in sheet.sections
        if section.end_bar - 1 in playing
    ]
