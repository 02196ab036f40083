"""Chord loops and the chords of a whole song."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datamodules.pocket_slakh.form import Section
from datamodules.pocket_slakh.meter import Meter
from datamodules.pocket_slakh.theory import ChordSymbol, Key, dominant_of, tritone_substitute_of

LOOPS = {
    "major": ("I V vi IV", "I vi IV V", "vi IV I V", "I IV vi V", "ii V I vi", "I iii IV V", "IV V iii vi",
              "I IV I V", "I V ii IV", "I ii IV V"),
    "minor": ("i bVI bIII bVII", "i bVII bVI V", "i iv bVII bIII", "i bVI iv V", "i v bVI bVII", "i iv i V",
              "i bIII bVII iv", "bVI bVII i i"),
    "dorian": ("i IV i IV", "i bVII IV i", "i ii bIII IV", "i bIII IV bVII"),
    "mixolydian": ("I bVII IV I", "I v bVII IV", "I bVII I IV", "I IV bVII IV"),
    "lydian": ("I II I II", "I II vi V", "I iii II I"),
    "phrygian": ("i bII i bII", "i bII bIII bII", "i bvii bII i"),
}  # fmt: skip

_SUBSTITUTES = {"IV": "ii", "ii": "IV", "vi": "IV", "I": "vi", "bVI": "iv", "iv": "bVI", "bVII": "v", "iii": "vi"}


@dataclass(frozen=True)
class ChordSpan:
    """A chord from `start_step` to `end_step` of the song."""

    start_step: int
    end_step: int
    chord: ChordSymbol


Loop = tuple[tuple[ChordSymbol, ...], ...]
"""Bars of one or two chords each."""


def draw_loop(key: Key, sevenths: bool, rng: np.random.Generator) -> Loop:
    """Four bars: a stock loop, perhaps with a substitution and a dominant that leads to the next bar."""
    table = LOOPS[key.mode]
    numerals = table[rng.integers(len(table))].split()
    if key.mode in ("major", "minor") and rng.random() < 0.25:
        place = int(rng.integers(1, len(numerals)))
        numerals[place] = _SUBSTITUTES.get(numerals[place], numerals[place])
    chords = [key.chord(numeral) for numeral in numerals]
    if sevenths:
        chords = [key.with_seventh(chord) for chord in chords]
    bars: list[tuple[ChordSymbol, ...]] = [(chord,) for chord in chords]
    if rng.random() < 0.35:
        place = int(rng.integers(len(bars)))
        following = chords[(place + 1) % len(chords)]
        leading = tritone_substitute_of if sevenths and rng.random() < 0.3 else dominant_of
        if following != chords[place]:
            bars[place] = (chords[place], leading(following))
    elif rng.random() < 0.2:
        bars[-1] = (ChordSymbol(chords[-1].root, "sus4"), chords[-1])
    return tuple(bars)


def lay_out(sections: tuple[Section, ...], loops: tuple[Loop, Loop], meter: Meter) -> tuple[ChordSpan, ...]:
    """The chords of the song: every section repeats its loop from its beginning; the last bar is one chord."""
    spans: list[ChordSpan] = []
    steps_per_bar = meter.steps_per_bar
    half_bar = (meter.beats_per_bar + 1) // 2 * meter.steps_per_beat
    for section in sections:
        loop = loops[section.loop]
        for bar in range(section.bars):
            chords = loop[bar % len(loop)]
            start = (section.first_bar + bar) * steps_per_bar
            end = start + steps_per_bar
            edges = (start, end) if len(chords) == 1 else (start, start + half_bar, end)
            spans += [ChordSpan(edges[i], edges[i + 1], chord) for i, chord in enumerate(chords)]
    last_bar = spans[-1].end_step - steps_per_bar
    return (*(s for s in spans if s.start_step < last_bar), ChordSpan(last_bar, spans[-1].end_step, loops[0][0][0]))
