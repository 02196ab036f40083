"""Chord instruments: stabs in the groove's rhythm, sustained pads and arpeggios, all led by voice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datamodules.pocket_slakh.parts.note import Note, strokes
from datamodules.pocket_slakh.sheet import Sheet
from datamodules.pocket_slakh.theory import lead_voices

STAB_VELOCITY = {"X": 0.8, "x": 0.6, "o": 0.45}

_SIMPLE_FIGURES = ((0, 1, 2, 3, 2, 1), (0, 2, 1, 3), (3, 2, 1, 0), (0, 1, 2, 3))
_COMPOUND_FIGURES = ((0, 1, 2, 3, 2, 1), (0, 1, 2), (3, 2, 1), (0, 2, 1))


class Voicings:
    """The voicing of every chord span of a song, each led from the one before.

    Args:
        sheet: the song.
        voices: notes per chord.
        lowest: lowest pitch.
        highest: highest pitch.
    """

    def __init__(self, sheet: Sheet, voices: int, lowest: int, highest: int) -> None:
        self._sheet = sheet
        self._of_start: dict[int, tuple[int, ...]] = {}
        first_bar_of_loop: dict[tuple[str, tuple[int, ...]], tuple[int, ...]] = {}
        previous: tuple[int, ...] = ()
        for span in sheet.spans:
            key = (span.chord.label, previous)
            if key not in first_bar_of_loop:
                first_bar_of_loop[key] = lead_voices(span.chord, previous, voices, lowest, highest)
            previous = self._of_start[span.start_step] = first_bar_of_loop[key]

    def at(self, step: int) -> tuple[int, ...]:
        """The voicing that sounds at a step."""
        return self._of_start[self._sheet.span_at(step).start_step]


def play_stabs(sheet: Sheet, bars: Sequence[int], rng: np.random.Generator) -> list[Note]:
    """Chords in the rhythm of the groove."""
    voicings = Voicings(sheet, int(rng.integers(3, 5)), 52, 74)
    notes: list[Note] = []
    for bar in bars:
        start = bar * sheet.steps_per_bar
        pattern = sheet.groove_of(bar).comp
        if bar == sheet.bars - 1:
            pattern = "X".ljust(sheet.steps_per_bar, "-")
        for step, length, letter in strokes(_renewed(sheet, start, pattern)):
            velocity = STAB_VELOCITY[letter] * (0.8 + 0.2 * sheet.beat_strength(step))
            notes += [Note(start + step, length - 0.15, pitch, velocity) for pitch in voicings.at(start + step)]
    return notes


def play_pads(sheet: Sheet, bars: Sequence[int], rng: np.random.Generator) -> list[Note]:
    """Held chords that move where the chord does."""
    lowest = int(rng.choice([48, 52, 55]))
    voicings = Voicings(sheet, int(rng.integers(3, 5)), lowest, lowest + 26)
    playing = set(bars)
    notes: list[Note] = []
    for span in sheet.spans:
        if span.start_step // sheet.steps_per_bar in playing:
            length = span.end_step - span.start_step - 0.2
            notes += [Note(span.start_step, length, pitch, 0.6) for pitch in voicings.at(span.start_step)]
    return notes


def play_arpeggio(sheet: Sheet, bars: Sequence[int], rng: np.random.Generator) -> list[Note]:
    """Broken chords in even notes."""
    lowest = int(rng.choice([55, 58, 60]))
    voicings = Voicings(sheet, 4, lowest, lowest + 21)
    compound = sheet.clock.meter.steps_per_beat == 6
    figures = _COMPOUND_FIGURES if compound else _SIMPLE_FIGURES
    figure = figures[rng.integers(len(figures))]
    stride = 2 if sheet.clock.tempo_bpm > 104 or compound else int(rng.choice([1, 2]))
    notes: list[Note] = []
    for bar in bars:
        start = bar * sheet.steps_per_bar
        for count, step in enumerate(range(0, sheet.steps_per_bar, stride)):
            pitch = voicings.at(start + step)[figure[count % len(figure)]]
            notes.append(Note(start + step, stride * 0.9, pitch, 0.55 + 0.25 * sheet.beat_strength(step)))
    return notes


def _renewed(sheet: Sheet, start: int, pattern: str) -> str:
    """The pattern with a new stab where a chord begins while the old one would still be held."""
    return "".join(
        "x" if letter == "-" and sheet.span_at(start + step).start_step == start + step else letter
        for step, letter in enumerate(pattern)
    )
