"""The plan of a song, bar by bar: everything that its players read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from datamodules.pocket_slakh.harmony import ChordSpan
from datamodules.pocket_slakh.meter import TICKS_PER_STEP
from datamodules.pocket_slakh.theory import MODES, ChordSymbol, Key
from datamodules.wide_songs.collection import SECONDS
from datamodules.wide_songs.families import FAMILIES, Family
from datamodules.wide_songs.form import Part, draw_form
from datamodules.wide_songs.groove import Groove, draw_groove
from datamodules.wide_songs.metre import Metre
from datamodules.wide_songs.progressions import Progression, draw_progression

MOST_BPM, LEAST_BPM = 320, 24
_MODE_WEIGHTS = {"major": 0.38, "minor": 0.32, "dorian": 0.11, "mixolydian": 0.11, "lydian": 0.03, "phrygian": 0.05}
_DARK = ("minor", "minor", "phrygian", "dorian")


@dataclass(frozen=True)
class SongRules:
    """What songs a collection holds.

    Args:
        held_out_grooves: True takes only the grooves that are held out, False only the others, None any.
        event: a key of `datamodules.wide_songs.events.EVENTS` that happens in the middle of every song, which then has
            drums, a strict tempo and no other event; None draws none to two events for each song.
        seconds: see `datamodules.wide_songs.collection.WideSongs`.
    """

    held_out_grooves: bool | None = False
    event: str | None = None
    seconds: tuple[float, float] = SECONDS


@dataclass(frozen=True)
class Bar:
    """One bar.

    Args:
        groove: what is played, and its metre.
        key: tonic and mode.
        chords: (step in the bar, chord), the first at step 0.
        tempos: quarters a minute of every beat.
        part: what kind of section it belongs to.
        section: number of that section in the song.
        place: number of the bar in its section.
        closes: whether it is the last bar of its section.
        silent: whether nobody plays.
        count_in: whether the drummer alone counts.
        drums: whether the drummer may play.
    """

    groove: Groove
    key: Key
    chords: tuple[tuple[int, ChordSymbol], ...]
    tempos: tuple[float, ...]
    part: Part
    section: int
    place: int
    closes: bool
    silent: bool = False
    count_in: bool = False
    drums: bool = True

    @property
    def metre(self) -> Metre:
        """The metre of its groove."""
        return self.groove.metre

    def chord_at(self, step: float) -> ChordSymbol:
        """The chord at a step of the bar."""
        return next(chord for start, chord in reversed(self.chords) if start <= step)


@dataclass(frozen=True)
class Event:
    """Something that the players of a song must follow, at known bars.

    Args:
        name: a key of `datamodules.wide_songs.events.EVENTS`.
        first_bar: the bar at which it begins.
        end_bar: the bar after its last one.
    """

    name: str
    first_bar: int
    end_bar: int


@dataclass(frozen=True)
class Plan:
    """A whole song.

    Args:
        family: the family of its style.
        bars: its bars.
        events: what happens in it.
    """

    family: Family
    bars: tuple[Bar, ...]
    events: tuple[Event, ...] = ()

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The step at which every bar begins, and the end of the last."""
        return tuple(int(step) for step in np.cumsum([0, *(bar.metre.steps for bar in self.bars)]))

    @cached_property
    def spans(self) -> tuple[ChordSpan, ...]:
        """The chords, without gaps; equal neighbours are one."""
        found: list[ChordSpan] = []
        for bar, start in zip(self.bars, self.starts, strict=False):
            edges = [step for step, _ in bar.chords] + [bar.metre.steps]
            for (step, chord), end in zip(bar.chords, edges[1:], strict=True):
                if found and found[-1].chord == chord:
                    found[-1] = replace(found[-1], end_step=start + end)
                else:
                    found.append(ChordSpan(start + step, start + end, chord))
        return tuple(found)

    def bar_at(self, step: float) -> int:
        """The number of the bar that contains a step; the last one after the end."""
        return min(len(self.bars), max(1, bisect_right(self.starts, step))) - 1

    def chord_at(self, step: float) -> ChordSymbol:
        """The chord at a step of the song."""
        bar = self.bar_at(step)
        return self.bars[bar].chord_at(step - self.starts[bar])

    def tick(self, step: float) -> float:
        """The MIDI tick at which a step of the song sounds, swing included."""
        bar = self.bar_at(step)
        within = step - self.starts[bar]
        return (self.starts[bar] + self.bars[bar].groove.warped(within)) * TICKS_PER_STEP


def draw_plan(rules: SongRules, rng: np.random.Generator) -> Plan:
    """A song of one family, without events and in strict tempo.

    Args:
        rules: its grooves and its length.
        rng: the only source of randomness.
    """
    family = FAMILIES[rng.integers(len(FAMILIES))]
    metre = family.metres[rng.integers(len(family.metres))]
    quarters = float(rng.uniform(*family.tempo_bpm)) * (1.5 if metre.is_compound else 1.0)
    return Plan(family, draw_bars(family, metre, _draw_key(family, rng), quarters, rules, rng))


def draw_bars(
    family: Family, metre: Metre, key: Key, quarters: float, rules: SongRules, rng: np.random.Generator
) -> tuple[Bar, ...]:
    """The bars of a song in one metre and tempo.

    Args:
        family: the family of its style.
        metre: its metre.
        key: its key.
        quarters: quarters a minute.
        rules: their grooves and their length.
        rng: the only source of randomness.
    """
    grooves = [draw_groove(family, metre, rules.held_out_grooves, rng) for _ in range(2 + int(rng.random() < 0.5))]
    idiom = family.idioms[rng.integers(len(family.idioms))]
    songs = [draw_progression(idiom, key.mode, rng) for _ in range(3)]
    songs[2] = draw_progression(family.idioms[rng.integers(len(family.idioms))], key.mode, rng)
    if family.forms == ("choruses",):
        songs[1] = songs[0]
    chords = [_chords(progression, key, family.sevenths, rng) for progression in songs]
    bar_seconds = metre.steps * 15 / quarters
    slow = 2 if bar_seconds < 1.4 and rng.random() < 0.5 else 1
    name = family.forms[rng.integers(len(family.forms))]
    form = draw_form(name, bar_seconds, float(rng.uniform(*rules.seconds)), rng)
    shifts = _modulations(form, rng)
    bars: list[Bar] = []
    for section, ((part, length), shift) in enumerate(zip(form, shifts, strict=True)):
        groove = grooves[min(part.material, len(grooves) - 1)]
        for place in range(length):
            harmony = chords[part.material][place // slow % len(chords[part.material])]
            bar = Bar(groove, key, _placed(harmony, metre), (quarters,) * len(metre.beats), part, section, place,
                      place == length - 1)  # fmt: skip
            bars.append(transposed(bar, shift))
    return (*bars[:-1], _ended(bars[-1]))


def transposed(bar: Bar, semitones: int) -> Bar:
    """The bar in another key."""
    key = Key((bar.key.tonic + semitones) % 12, bar.key.mode)
    chords = tuple((step, ChordSymbol((chord.root + semitones) % 12, chord.quality)) for step, chord in bar.chords)
    return replace(bar, key=key, chords=chords)


def _ended(bar: Bar) -> Bar:
    """The last bar rests on the tonic."""
    minor = bar.key.mode in ("minor", "dorian", "phrygian")
    return replace(bar, chords=((0, ChordSymbol(bar.key.tonic, "m" if minor else "")),))


def _draw_key(family: Family, rng: np.random.Generator) -> Key:
    if "dark" in family.idioms:
        return Key(int(rng.integers(12)), str(rng.choice(_DARK)))
    return Key(int(rng.integers(12)), str(rng.choice(list(MODES), p=[_MODE_WEIGHTS[mode] for mode in MODES])))


def _chords(
    progression: Progression, key: Key, sevenths: float, rng: np.random.Generator
) -> tuple[tuple[ChordSymbol, ...], ...]:
    bars = tuple(tuple(key.chord(numeral) for numeral in bar) for bar in progression)
    if rng.random() < sevenths:
        bars = tuple(tuple(key.with_seventh(chord) for chord in bar) for bar in bars)
    return bars


def _placed(chords: tuple[ChordSymbol, ...], metre: Metre) -> tuple[tuple[int, ChordSymbol], ...]:
    half = metre.beat_starts[(len(metre.beats) + 1) // 2]
    return tuple(zip((0, half), chords, strict=False))


def _modulations(form: Sequence[tuple[Part, int]], rng: np.random.Generator) -> list[int]:
    """Semitones by which every section is transposed: the song changes key for good, for its bridge, or not at all."""
    shifts = [0] * len(form)
    kind = rng.random()
    if kind < 0.2 and len(form) > 3:
        for section in range(int(rng.integers(len(form) // 2, len(form))), len(form)):
            shifts[section] = int(rng.choice([1, 2, 2, 3, -2, 5]))
        shifts = [max(shifts, key=abs) if shift else 0 for shift in shifts]
    elif kind < 0.35:
        away = int(rng.choice([3, -3, 5, 7, -4, 4]))
        shifts = [away if part.material == 2 else 0 for part, _ in form]
    return shifts
