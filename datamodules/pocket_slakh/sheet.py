"""The sheet every part of a song reads: metre, key, form, chords and the grooves chosen for it."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from datamodules.pocket_slakh.form import Section, draw_form
from datamodules.pocket_slakh.harmony import ChordSpan, draw_loop, lay_out
from datamodules.pocket_slakh.meter import Clock
from datamodules.pocket_slakh.style import STYLES, Style
from datamodules.pocket_slakh.theory import MODES, ChordSymbol, Key

_MODE_WEIGHTS = {"major": 0.36, "minor": 0.30, "dorian": 0.12, "mixolydian": 0.12, "lydian": 0.05, "phrygian": 0.05}


@dataclass(frozen=True)
class Groove:
    """The patterns of one loop; see `datamodules.pocket_slakh.style` for their letters."""

    kick: str
    snare: str
    cymbal: str
    bass: str
    comp: str


@dataclass(frozen=True)
class Sheet:
    """The plan that all parts of a song share.

    Args:
        style: the vocabulary that it was drawn from.
        clock: metre, tempo and swing.
        key: tonic and mode.
        sections: the form.
        spans: the chords, without gaps.
        grooves: the patterns of loop 0 and of loop 1.
    """

    style: Style
    clock: Clock
    key: Key
    sections: tuple[Section, ...]
    spans: tuple[ChordSpan, ...]
    grooves: tuple[Groove, Groove]

    @property
    def bars(self) -> int:
        """Bars of the song."""
        return self.sections[-1].end_bar

    @property
    def steps_per_bar(self) -> int:
        """Sixteenths per bar."""
        return self.clock.meter.steps_per_bar

    @cached_property
    def _span_starts(self) -> list[int]:
        return [span.start_step for span in self.spans]

    def span_at(self, step: int) -> ChordSpan:
        """The chord that sounds at a step; the last one after the end."""
        return self.spans[max(0, bisect_right(self._span_starts, step) - 1)]

    def chord_after(self, step: int) -> ChordSymbol:
        """The chord that follows the one sounding at a step."""
        return self.spans[min(len(self.spans) - 1, bisect_right(self._span_starts, step))].chord

    def section_of(self, bar: int) -> Section:
        """The section that contains a bar."""
        return next(section for section in self.sections if section.first_bar <= bar < section.end_bar)

    def groove_of(self, bar: int) -> Groove:
        """The groove of the section that contains a bar."""
        return self.grooves[self.section_of(bar).loop]

    def beat_strength(self, step: int) -> float:
        """How much a step is accented: 1 on the bar, 0.8 on a beat, less between."""
        within = step % self.steps_per_bar
        if within == 0:
            return 1.0
        if within % self.clock.meter.steps_per_beat == 0:
            return 0.85
        return 0.65 if within % 2 == 0 else 0.5


def draw_sheet(rng: np.random.Generator) -> Sheet:
    """A random song plan of 40 to 60 seconds."""
    style = STYLES[rng.integers(len(STYLES))]
    swing, swung_steps = style.swings[rng.integers(len(style.swings))]
    tempo = float(rng.integers(style.tempo_bpm[0], style.tempo_bpm[1] + 1))
    clock = Clock(style.meter, tempo, swing, swung_steps)
    key = Key(int(rng.integers(12)), str(rng.choice(list(MODES), p=[_MODE_WEIGHTS[mode] for mode in MODES])))
    sections = draw_form(clock.bar_seconds, float(rng.uniform(42, 56)), rng)
    sevenths = bool(rng.random() < style.seventh_share)
    loops = (draw_loop(key, sevenths, rng), draw_loop(key, sevenths, rng))
    verse = _draw_groove(style, style.cymbal[0], rng)
    chorus = _draw_groove(style, style.cymbal[-1], rng)
    return Sheet(style, clock, key, sections, lay_out(sections, loops, style.meter), (verse, chorus))


def _draw_groove(style: Style, cymbal: str, rng: np.random.Generator) -> Groove:
    def draw(patterns: tuple[str, ...]) -> str:
        return patterns[rng.integers(len(patterns))]

    return Groove(draw(style.kick), draw(style.snare), cymbal, draw(style.bass), draw(style.comp))
