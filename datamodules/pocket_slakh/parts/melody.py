"""Melodies: a motif whose strong notes are chord tones, repeated over the chords."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datamodules.pocket_slakh.parts.note import Note, strokes
from datamodules.pocket_slakh.sheet import Sheet
from datamodules.pocket_slakh.theory import nearest_pitch

_RHYTHMS = {
    "4/4": ("X---x-x-X---x---", "X-x-x---X-------", "X-----x-X---x-x-", "..x-x-x-X---....", "X-----x-----x---"),
    "3/4": ("X---x---x---", "X-------x---", "X---x-x-x---", "X-----x-x---", "X-x-x---x---"),
    "6/8": ("X-----x---x-", "X---x-X-----", "X-x-x-X-----", "X-----X-----", "X---x-X---x-"),
}


def play_melody(sheet: Sheet, bars: Sequence[int], rng: np.random.Generator) -> list[Note]:
    """Two-bar motifs; on beats the nearest chord tone, between them steps of the scale."""
    centre = int(rng.choice([67, 69, 71]))
    rhythms = _RHYTHMS[sheet.clock.meter.name]
    motif = (rhythms[rng.integers(len(rhythms))], rhythms[rng.integers(len(rhythms))])
    contour = rng.integers(-4, 6, size=32)
    notes: list[Note] = []
    for bar in bars:
        start = bar * sheet.steps_per_bar
        for count, (step, length, _) in enumerate(strokes(motif[bar % 2])):
            goal = centre + int(contour[(bar % 4) * 8 + count])
            strong = step % sheet.clock.meter.steps_per_beat == 0 or length > 2
            classes = sheet.span_at(start + step).chord.pitch_classes if strong else sheet.key.scale
            pitch = min((nearest_pitch(pc, goal) for pc in classes), key=lambda p: (abs(p - goal), p))
            length = min(length, sheet.span_at(start + step).end_step - start - step)
            notes.append(Note(start + step, length - 0.15, pitch, 0.62 + 0.2 * sheet.beat_strength(step)))
    return notes
