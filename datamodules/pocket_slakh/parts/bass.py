"""The bass: chord roots in the rhythm of the groove, pulled onto the kick, leading into the next chord."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datamodules.pocket_slakh.parts.note import Note, strokes
from datamodules.pocket_slakh.sheet import Sheet
from datamodules.pocket_slakh.theory import ChordSymbol, nearest_pitch, pitch_in_range

HIGHEST = 45


def play_bass(sheet: Sheet, bars: Sequence[int], rng: np.random.Generator) -> list[Note]:
    """Notes for the bars in which the bass plays; roots lie in one octave drawn for the song."""
    lowest = int(rng.choice([28, 31, 33, 33]))
    notes: list[Note] = []
    for bar in bars:
        start = bar * sheet.steps_per_bar
        last = bar == sheet.bars - 1
        pattern = "R".ljust(sheet.steps_per_bar, "-") if last else with_chord_changes(sheet, bar)
        kick = sheet.groove_of(bar).kick
        for step, length, letter in strokes(pattern):
            chord = sheet.span_at(start + step).chord
            pitch = _pitch(letter, chord, sheet.chord_after(start + step), lowest)
            accent = 0.1 if kick[step] in "Xx" else 0.0
            notes.append(Note(start + step, max(0.8, length - 0.25), pitch, 0.68 + accent + 0.12 * (letter == "R")))
    return notes


def with_chord_changes(sheet: Sheet, bar: int) -> str:
    """The bass pattern of a bar: a root wherever a new chord begins, approaches only where a loop ends."""
    start = bar * sheet.steps_per_bar
    letters = list(sheet.groove_of(bar).bass)
    closes_loop = (bar - sheet.section_of(bar).first_bar) % 4 == 3
    for step in range(len(letters)):
        begins = sheet.span_at(start + step).start_step == start + step
        if begins and (step > 0 or letters[0] != "."):
            letters[step] = "R"
        elif letters[step] == "A" and not closes_loop:
            letters[step] = "O"
    return "".join(letters)


def _pitch(letter: str, chord: ChordSymbol, following: ChordSymbol, lowest: int) -> int:
    root = pitch_in_range(chord.root, lowest)
    if letter == "F":
        fifth = root + (chord.pitch_classes[2] - chord.root) % 12
        return fifth if fifth <= HIGHEST else fifth - 12
    if letter == "O":
        return root + 12 if root + 12 <= HIGHEST + 3 else root
    if letter == "A" and following != chord:
        target = nearest_pitch(following.root, root)
        return max(lowest - 1, target - 1 if target > root else target + 1)
    return root
