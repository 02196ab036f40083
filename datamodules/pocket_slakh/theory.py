"""Keys, modes, chord symbols and voice leading; pitch classes 0 = C … 11 = B, pitches are MIDI numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

NOTE_NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")

MODES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
}

QUALITIES = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "dim": (0, 3, 6),
    "sus4": (0, 5, 7),
    "6": (0, 4, 7, 9),
    "m6": (0, 3, 7, 9),
    "dim7": (0, 3, 6, 9),
    "aug": (0, 4, 8),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10),
    "m7b5": (0, 3, 6, 10),
    "7sus4": (0, 5, 7, 10),
}

_NUMERALS = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}
_ROMAN = re.compile(r"(b?)([iv]+|[IV]+)(.*)")


@dataclass(frozen=True)
class ChordSymbol:
    """A chord by its root's pitch class and its quality, a key of `QUALITIES`."""

    root: int
    quality: str

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """Root first."""
        return tuple((self.root + interval) % 12 for interval in QUALITIES[self.quality])

    @property
    def label(self) -> str:
        """For example "Am7"."""
        return NOTE_NAMES[self.root] + self.quality

    @property
    def is_minor(self) -> bool:
        """Whether it has a minor third."""
        return 3 in QUALITIES[self.quality]


@dataclass(frozen=True)
class Key:
    """A tonic (pitch class) and a mode, a key of `MODES`."""

    tonic: int
    mode: str

    @property
    def name(self) -> str:
        """For example "D dorian"."""
        return f"{NOTE_NAMES[self.tonic]} {self.mode}"

    @property
    def scale(self) -> tuple[int, ...]:
        """The seven pitch classes, tonic first."""
        return tuple((self.tonic + step) % 12 for step in MODES[self.mode])

    def chord(self, numeral: str) -> ChordSymbol:
        """The chord of a Roman numeral, counted from the major scale: "vi", "bVII", "V7", "iim7b5".

        Raises:
            ValueError: the numeral or its quality is unknown.
        """
        match = _ROMAN.fullmatch(numeral)
        if match is None or match[2].lower() not in _NUMERALS:
            raise ValueError(f"{numeral!r} is no Roman numeral")
        quality = match[3] or ("m" if match[2].islower() else "")
        if quality not in QUALITIES:
            raise ValueError(f"{numeral!r} has the unknown quality {quality!r}")
        return ChordSymbol((self.tonic + _NUMERALS[match[2].lower()] - len(match[1])) % 12, quality)

    def with_seventh(self, chord: ChordSymbol) -> ChordSymbol:
        """The chord with the seventh that the scale has above its root; unchanged unless it is a triad."""
        minor_seventh = (chord.root + 10) % 12 in self.scale
        upgraded = {
            "": "7" if minor_seventh else "maj7",
            "m": "m7",
            "dim": "m7b5",
            "sus4": "7sus4",
        }
        return ChordSymbol(chord.root, upgraded.get(chord.quality, chord.quality))


def dominant_of(chord: ChordSymbol) -> ChordSymbol:
    """The dominant seventh chord that leads to `chord`."""
    return ChordSymbol((chord.root + 7) % 12, "7")


def tritone_substitute_of(chord: ChordSymbol) -> ChordSymbol:
    """The dominant seventh a semitone above `chord`, which shares its tritone with the dominant."""
    return ChordSymbol((chord.root + 1) % 12, "7")


def nearest_pitch(pitch_class: int, reference: float) -> int:
    """The MIDI pitch of that class nearest to `reference`."""
    below = int(reference) - (int(reference) - pitch_class) % 12
    return below if reference - below <= 6 else below + 12


def pitch_in_range(pitch_class: int, lowest: int) -> int:
    """The MIDI pitch of that class within the octave that begins at `lowest`."""
    return lowest + (pitch_class - lowest) % 12


@lru_cache(maxsize=4096)
def lead_voices(
    chord: ChordSymbol, previous: tuple[int, ...], voices: int, lowest: int, highest: int
) -> tuple[int, ...]:
    """A close voicing of `chord` that moves least from `previous`.

    Args:
        chord: the chord to voice.
        previous: the voicing before, ascending; empty for the first chord, which is set around the middle.
        voices: notes to sound, 3 or 4; three voices of a seventh chord leave the fifth out.
        lowest: lowest pitch allowed.
        highest: highest pitch allowed, at least 19 semitones above `lowest`.

    Returns:
        Ascending pitches, all of them chord tones.
    """
    target = previous or tuple((lowest + highest) // 2 + 4 * (i - voices // 2) for i in range(voices))
    root, third, fifth, *seventh = chord.pitch_classes
    needed = {root, third, *seventh} if voices <= 3 and seventh else {root, third, fifth, *seventh}
    tones = [pitch for pitch in range(lowest, highest + 1) if pitch % 12 in needed]
    close = [
        choice
        for choice in combinations(tones, voices)
        if choice[-1] - choice[0] <= 16 and {pitch % 12 for pitch in choice} == needed
    ]
    return min(close, key=lambda choice: (sum(abs(a - b) for a, b in zip(choice, target, strict=True)), choice))
