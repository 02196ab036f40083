"""Chords: stabs in the groove's rhythm, pads, broken chords, short answers of a section, power chords."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from datamodules.pocket_slakh.parts.note import Note, strokes
from datamodules.pocket_slakh.theory import lead_voices, pitch_in_range
from datamodules.wide_songs.plan import Plan

VELOCITY = {"X": 0.8, "x": 0.62}


class Voicings:
    """Voicings of the chords of a song, each led from the one before.

    Args:
        plan: the song.
        voices: notes per chord, 3 or 4.
        lowest: lowest pitch.
        highest: highest pitch.
    """

    def __init__(self, plan: Plan, voices: int, lowest: int, highest: int) -> None:
        self._plan = plan
        self._of_start: dict[int, tuple[int, ...]] = {}
        self._starts: list[int] = []
        previous: tuple[int, ...] = ()
        for span in plan.spans:
            previous = lead_voices(span.chord, previous, voices, lowest, highest)
            self._of_start[span.start_step] = previous
            self._starts.append(span.start_step)

    def at(self, step: float) -> tuple[int, ...]:
        """The voicing that sounds at a step."""
        place = int(np.searchsorted(self._starts, step, side="right")) - 1
        return self._of_start[self._starts[max(0, place)]]


def play_stabs(plan: Plan, bars: tuple[int, ...], rng: np.random.Generator) -> list[Note]:
    """Chords in the rhythm of the groove; a new stab where a chord begins under a held one."""
    lowest = int(rng.choice([50, 52, 55]))
    voicings = Voicings(plan, int(rng.integers(3, 5)), lowest, lowest + 22)
    notes: list[Note] = []
    for number in bars:
        bar, start = plan.bars[number], plan.starts[number]
        pattern = list(bar.groove.comp[bar.place % 2])
        for step, _ in bar.chords:
            pattern[step] = "x" if pattern[step] == "-" else pattern[step]
        if number == len(plan.bars) - 1:
            pattern = ["X", *"-" * (bar.metre.steps - 1)]
        for step, length, letter in strokes("".join(pattern)):
            level = VELOCITY[letter] * (0.85 + 0.15 * bar.part.energy)
            notes += [Note(start + step, length - 0.2, pitch, level) for pitch in voicings.at(start + step)]
    return notes


def play_pads(plan: Plan, bars: tuple[int, ...], rng: np.random.Generator) -> list[Note]:
    """Held chords, struck again in every bar or only where the chord changes."""
    lowest = int(rng.choice([48, 52, 55]))
    voicings = Voicings(plan, int(rng.integers(3, 5)), lowest, lowest + 26)
    playing, renewed = set(bars), bool(rng.random() < 0.3)
    notes: list[Note] = []
    for span in plan.spans:
        inner = (start for start in plan.starts if span.start_step < start < span.end_step)
        begin = None
        for edge, end in pairwise((span.start_step, *inner, span.end_step)):
            sounds = plan.bar_at(edge) in playing
            begin = edge if sounds and begin is None else begin
            ends = end == span.end_step or plan.bar_at(end) not in playing or renewed
            if sounds and begin is not None and ends:
                notes += [Note(begin, end - begin - 0.2, pitch, 0.6) for pitch in voicings.at(begin)]
                begin = None
    return notes


def play_arpeggio(plan: Plan, bars: tuple[int, ...], rng: np.random.Generator) -> list[Note]:
    """Broken chords in a figure drawn for the song, in even notes, some of which may be left out."""
    lowest = int(rng.choice([52, 55, 58, 60]))
    voicings = Voicings(plan, 4, lowest, lowest + 21)
    figure = rng.integers(0, 4, size=int(rng.choice([3, 4, 6, 8])))
    gaps = rng.random(64) < float(rng.choice([0.0, 0.0, 0.15, 0.3]))
    notes: list[Note] = []
    for number in bars:
        bar, start = plan.bars[number], plan.starts[number]
        stride = 2 if bar.metre.is_compound or bar.tempos[0] > 104 else 1 + int(plan.family.held > 0.6)
        for count, step in enumerate(range(0, bar.metre.steps, stride)):
            if not gaps[count % 64] or step == 0:
                pitch = voicings.at(start + step)[figure[count % len(figure)]]
                accent = 0.2 * (step in bar.metre.beat_starts)
                notes.append(Note(start + step, stride * 0.9, pitch, 0.56 + accent))
    return notes


def play_power(plan: Plan, bars: tuple[int, ...], rng: np.random.Generator) -> list[Note]:
    """Roots and fifths of a distorted guitar, in the rhythm of the bass or of the chords."""
    lowest, with_bass = int(rng.choice([40, 43])), bool(rng.random() < 0.5)
    notes: list[Note] = []
    for number in bars:
        bar, start = plan.bars[number], plan.starts[number]
        groove = bar.groove
        pattern = (groove.bass if with_bass else groove.comp)[bar.place % 2]
        for step, length, _ in strokes(pattern):
            chord = plan.chord_at(start + step)
            root = pitch_in_range(chord.root, lowest)
            fifth = root + (chord.pitch_classes[2] - chord.root) % 12
            notes += [Note(start + step, length * 0.9, pitch, 0.78) for pitch in (root, fifth, root + 12)]
    return notes


def play_answers(plan: Plan, bars: tuple[int, ...], rng: np.random.Generator) -> list[Note]:
    """Short chords of a section in every second bar: a figure drawn for the song."""
    voicings = Voicings(plan, 3, 58, 80)
    odd = int(rng.integers(2))
    places, lengths = (
        np.sort(rng.choice(16, int(rng.integers(1, 5)), replace=False)),
        rng.choice([0.8, 0.8, 1.6, 3.5], 16),
    )
    notes: list[Note] = []
    for number in bars:
        bar, start = plan.bars[number], plan.starts[number]
        if bar.place % 2 != odd and bar.part.energy < 1:
            continue
        for place in places[places < bar.metre.steps]:
            step = int(place) // 2 * 2 if bar.groove.swing > 0.58 else int(place)
            notes += [Note(start + step, float(lengths[place]), pitch, 0.75) for pitch in voicings.at(start + step)]
    return list(dict.fromkeys(notes))
