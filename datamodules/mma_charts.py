"""Chord charts for MMA, the Musical MIDI Accompaniment, whose library holds grooves by many people.

MMA (van der Poel, GPL-2) is a program that plays a chord chart in a groove: bass, chords, drums and more, as a General
MIDI file. It is no part of us, and neither are its grooves: charts are drawn here, and users install what plays them.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datamodules.pocket_slakh.theory import ChordSymbol, Key
from datamodules.wide_songs.progressions import IDIOMS, draw_progression
from livejam.errors import UserError

BEATS = {"3/4": 3, "4/4": 4, "5/4": 5}
"""Metres whose beat is a quarter note, in MMA's MIDI files as in the groove; in those of eighths it may be another."""
HELD_OUT_OF = 8
"""One file of this many is held out, by a hash of its name."""
SECONDS = (18.0, 26.0)
"""More songs teach more than longer ones."""
TEMPO_BPM, TEMPO_SPREAD, TEMPO_LIMITS = 115.0, 0.28, (60.0, 200.0)
MODES = (("major", 0.5), ("minor", 0.3), ("dorian", 0.1), ("mixolydian", 0.1))
SINGING, LIVING, CHANGING, FILLED = 0.6, 0.4, 0.6, 0.7
"""Shares of songs with a tune, whose tempo moves, that change their groove; and of sections that end in a fill."""

_RHYTHMS = {
    3: ((4, 4, 4), (8, 8, 4, 4), (2, 4), (4, 8, 8, 4)),
    4: ((4, 4, 4, 4), (2, 4, 4), (4, 8, 8, 4, 4), (8,) * 8, (4, 4, 2), (2, 2), (8, 8, 4, 8, 8, 4), (1,),
        (8, 4, 8, 4, 4), (4, 4, 8, 8, 8, 8)),
    5: ((4, 4, 4, 4, 4), (2, 4, 2), (8, 8, 4, 4, 4, 4), (2, 4, 8, 8, 4)),
}  # fmt: skip
"""Bars of a tune: 4 is a quarter note."""
_NOTES = ("c", "c#", "d", "d#", "e", "f", "f#", "g", "g#", "a", "a#", "b")
_REST = 0.15


@dataclass(frozen=True)
class Style:
    """A file of MMA's library.

    Args:
        name: its path in the library, without the suffix.
        beats: quarter notes in a bar.
        grooves: what songs are played in.
        fills: grooves for the last bar of a section.
    """

    name: str
    beats: int
    grooves: tuple[str, ...]
    fills: tuple[str, ...]

    @property
    def is_held_out(self) -> bool:
        """Whether it belongs to the share that training never hears; it follows from its name."""
        return zlib.crc32(self.name.encode()) % HELD_OUT_OF == 0


def read_styles(library: Path) -> tuple[Style, ...]:
    """The files whose beat is known, in order of their names.

    Raises:
        UserError: there are none.
    """
    found = tuple(style for path in sorted(library.rglob("*.mma")) if (style := _style(path, library)) is not None)
    if not found:
        raise UserError(f"{library} holds no groove of MMA's library; name its folder `lib` with --library")
    return found


def _style(path: Path, library: Path) -> Style | None:
    """A file with grooves; None where it has none, or bars of several kinds."""
    text = path.read_text(encoding="latin-1")
    metres = {"/".join(metre) for metre in re.findall(r"(?im)^\s*timesig\s+(\d+)[\s/]+(\d+)", text)} or {"4/4"}
    lengths = {int(beats) for beats in re.findall(r"(?im)^\s*time\s+(\d+)", text)}
    names = re.findall(r"(?im)^\s*defgroove\s+(\S+)", text)
    grooves = tuple(name for name in names if not re.search(r"(?i)(fill|intro|end)\d*$", name))
    metre = metres.pop()
    if metres or metre not in BEATS or not lengths <= {BEATS[metre]} or not grooves:
        return None
    fills = tuple(name for name in names if re.search(r"(?i)fill\d*$", name))
    return Style(path.relative_to(library).with_suffix("").as_posix(), BEATS[metre], grooves, fills)


def draw_chart(styles: Sequence[Style], seed: int, index: int) -> str:
    """A song of one or two sections for MMA. Equal arguments give equal charts.

    Args:
        styles: what to draw from, files with many grooves more often.
        seed: of the collection, at least 0.
        index: of the song.
    """
    rng = np.random.default_rng([seed, index])
    weights = np.sqrt([len(style.grooves) for style in styles])
    style = styles[rng.choice(len(styles), p=weights / weights.sum())]
    tempo_bpm = float(np.clip(rng.lognormal(np.log(TEMPO_BPM), TEMPO_SPREAD), *TEMPO_LIMITS))
    bars = max(6, round(float(rng.uniform(*SECONDS)) * tempo_bpm / 60 / style.beats))
    key = Key(int(rng.integers(12)), str(rng.choice([m for m, _ in MODES], p=[share for _, share in MODES])))
    # MMA plays no two bars alike; its randomness is its own
    randomness = np.random.default_rng([seed, index, 1]).integers(2**31)
    lines = [f"RndSeed {randomness}", f"Tempo {tempo_bpm:.2f}", f"TimeSig {style.beats} 4", *_head(bars, rng)]
    tune = _Tune(style.beats, rng) if rng.random() < SINGING else None
    if tune is not None:
        lines += [f"Solo Voice {rng.integers(96)}", f"Solo Volume {rng.choice(['mp', 'mf', 'f'])}", "Solo Octave 5"]
    played = _grooves(style, bars, rng)
    before = ""
    for number, (groove, chords) in enumerate(zip(played, _chords(key, bars, rng), strict=True), start=1):
        if groove != before:
            lines.append(f"Groove {style.name}:{groove}")
        sung = "" if tune is None else tune.bar(chords[0])
        lines.append(f"{number} {_spelt(chords, style.beats)} {sung}".rstrip())
        before = groove
    return "\n".join(lines) + "\n"


def _head(bars: int, rng: np.random.Generator) -> list[str]:
    """How the tempo moves: by so many quarters a minute until the end."""
    return [f"Tempo {rng.choice(['+', '-'])}{rng.uniform(2, 12):.1f} {bars}"] if rng.random() < LIVING else []


def _grooves(style: Style, bars: int, rng: np.random.Generator) -> list[str]:
    """The groove of every bar."""
    first, second = (str(groove) for groove in rng.choice(style.grooves, 2))
    change = int(rng.integers(3, bars)) if rng.random() < CHANGING else bars
    played = [first] * change + [second] * (bars - change)
    for last in {change - 1, bars - 1}:
        if style.fills and rng.random() < FILLED:
            played[last] = str(rng.choice(style.fills))
    return played


def _chords(key: Key, bars: int, rng: np.random.Generator) -> Iterator[tuple[ChordSymbol, ...]]:
    """The chords of every bar: a progression again and again."""
    progression = draw_progression(IDIOMS[rng.integers(len(IDIOMS))], key.mode, rng)
    for bar in range(bars):
        yield tuple(key.chord(numeral) for numeral in progression[bar % len(progression)])


def _spelt(chords: tuple[ChordSymbol, ...], beats: int) -> str:
    """A bar as MMA reads it: one chord per beat, "/" where it stays."""
    half = (beats + 1) // 2
    words = [chord.label for chord in chords[:2]]
    return words[0] if len(words) == 1 else " ".join((words[0], *["/"] * (half - 1), words[1]))


class _Tune:
    """A tune that stays near: chord tones, one bar after the other.

    Args:
        beats: quarter notes in a bar.
        rng: the only source of randomness.
    """

    def __init__(self, beats: int, rng: np.random.Generator) -> None:
        self._rhythms, self._rng, self._pitch = _RHYTHMS[beats], rng, 6

    def bar(self, chord: ChordSymbol) -> str:
        """A bar in MMA's words: length and note, "+" for the octave above."""
        words = []
        for length in self._rhythms[self._rng.integers(len(self._rhythms))]:
            if self._rng.random() < _REST:
                words.append(f"{length}r")
                continue
            tones = [pitch for pitch_class in chord.pitch_classes for pitch in (pitch_class, pitch_class + 12)]
            self._pitch = min(tones, key=lambda pitch: abs(pitch - self._pitch) + self._rng.exponential(3))
            words.append(f"{length}{_NOTES[self._pitch % 12]}{'+' * (self._pitch // 12)}")
        return "{" + ";".join(words) + ";}"
