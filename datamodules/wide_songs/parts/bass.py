"""The bass, written from the groove's letters.

"R" root, "F" fifth, "O" octave, "T" third, "W" a step of a walking line, "A" approach to the next chord, "-" hold.
"""

from __future__ import annotations

import numpy as np

from datamodules.pocket_slakh.parts.note import Note, strokes
from datamodules.pocket_slakh.theory import ChordSymbol, nearest_pitch, pitch_in_range
from datamodules.wide_songs.plan import Plan

LOWEST, HIGHEST = 28, 50


def play_bass(plan: Plan, bars: tuple[int, ...], rng: np.random.Generator) -> list[Note]:
    """Notes for the bars in which the bass plays; roots lie in one octave drawn for the song."""
    lowest = int(rng.choice([28, 31, 33, 33]))
    staccato = float(rng.choice([0.5, 0.8, 0.95]))
    notes: list[Note] = []
    before = lowest + 5
    for number in bars:
        start, last = plan.starts[number], number == len(plan.bars) - 1
        for step, length, letter in strokes(_pattern(plan, number, last)):
            chord = plan.chord_at(start + step)
            following = plan.chord_at(start + step + length)
            before = _pitch(letter, chord, following, lowest, before)
            accent = 0.08 * (plan.bars[number].groove.kick[0][step] != ".")
            notes.append(Note(start + step, max(0.7, length * staccato), before, 0.68 + accent + 0.1 * (letter == "R")))
    return notes


def _pattern(plan: Plan, number: int, last: bool) -> str:
    """The groove's bar, with a root where a chord begins while a note of the one before would sound."""
    bar = plan.bars[number]
    if last:
        return "R".ljust(bar.metre.steps, "-")
    letters = list(bar.groove.bass[bar.place % 2])
    if bar.part.energy < 0.4 and bar.place % 2 == 0 and "W" not in letters:
        letters = ["R", *"-" * (bar.metre.steps - 1)]
    for step, _ in bar.chords:
        if letters[step] in "-FOTA" and (step or letters[0] != "-"):
            letters[step] = "R"
    return "".join(letters)


def _pitch(letter: str, chord: ChordSymbol, following: ChordSymbol, lowest: int, before: int) -> int:
    root = pitch_in_range(chord.root, lowest)
    if letter == "A" and following == chord:
        letter = "O"
    if letter == "O":
        return root + 12 if root + 12 <= HIGHEST else root
    if letter == "F":
        return _above(root, chord.pitch_classes[2])
    if letter == "T":
        return _above(root, chord.pitch_classes[1])
    if letter == "A":
        target = nearest_pitch(following.root, root)
        return max(LOWEST - 1, target - 1 if target > root else target + 1)
    return _walked(chord, following, before) if letter == "W" else root


def _above(root: int, pitch_class: int) -> int:
    pitch = root + (pitch_class - root) % 12
    return pitch if pitch <= HIGHEST - 4 else pitch - 12


def _walked(chord: ChordSymbol, following: ChordSymbol, before: int) -> int:
    """The next step of a walking line: beside the next root before a change, else the nearest other chord tone."""
    if following != chord:
        target = nearest_pitch(following.root, before)
        step = target + (1 if before > target else -1)
        return step + 12 if step < LOWEST else step
    upwards = before < (LOWEST + HIGHEST) / 2
    tones = [pitch for pitch in range(LOWEST, HIGHEST + 1) if pitch % 12 in chord.pitch_classes and pitch != before]
    return min(tones, key=lambda pitch: (abs(pitch - before) + 2 * ((pitch > before) != upwards), pitch))
