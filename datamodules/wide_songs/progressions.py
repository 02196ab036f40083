"""Chords by idiom: stock loops as data, and rules that make longer progressions.

A progression is a list of bars, each with one or two Roman numerals (`datamodules.pocket_slakh.theory.Key.chord`).
"""

from __future__ import annotations

import numpy as np

from datamodules.pocket_slakh.harmony import LOOPS

Progression = tuple[tuple[str, ...], ...]

_STOCK = {
    "blues": (
        "I7 I7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7", "I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 I7,V7",
        "I7 IV7 I7 vm7,I7 IV7 bVdim7 I7 VI7 iim7 V7 I7,VI7 iim7,V7", "im7 im7 im7 im7 ivm7 ivm7 im7 im7 bVI7 V7 im7 V7",
        "im7 ivm7 im7 im7 ivm7 ivm7 im7 im7 iim7b5 V7 im7 im7,V7", "I7 V7 IV7 IV7 I7 V7 I7 V7",
        "I7 I7 IV7 IV7 I7 V7 I7 V7",
        "I7 I7 I7 I7 IV7 IV7 I7 I7 V7 V7 I7 I7",
    ),
    "jazz": (
        "iim7 V7 Imaj7 Imaj7", "Imaj7 vim7 iim7 V7", "iiim7 VI7 iim7 V7", "Imaj7,vim7 iim7,V7 iiim7,VI7 iim7,V7",
        "ivm7 bVII7 bIIImaj7 bVImaj7 iim7b5 V7 im7 im7", "iim7 bII7 Imaj7 VI7",
        "Imaj7 I7 IVmaj7 ivm6 iiim7 VI7 iim7 V7",
        "Imaj7 iim7,V7 vm7,I7 IVmaj7 bVII7 Imaj7 iim7 V7", "im7 im7 iim7b5 V7 im7 bVI7 iim7b5 V7",
        "Imaj7 bIIImaj7 bVImaj7 bII7", "Imaj7 II7 iim7 V7", "vim7 II7 iim7 V7 Imaj7 IVmaj7 viim7b5,III7 vim7",
    ),
    "modal": (
        "im7 im7 im7 im7", "im7 IV7 im7 IV7", "I7 I7 I7 I7", "i i bVII bVII", "im7 im7 bIImaj7 bIImaj7",
        "I bVII I bVII",
        "I I II II", "im7 bVIImaj7 im7 bVIImaj7", "i i iv i", "I7sus4 I7sus4 bVII7sus4 bVII7sus4", "i bVII IV i",
        "im7 im7 im7 im7 bIIm7 bIIm7 im7 im7",
    ),
    "chromatic": (
        "I III IV iv", "I bIII bVI bII", "i V bVII IV bVI bIII iv V", "I Iaug vi I7 IV iv I V7", "I bVI bIII bVII",
        "I bVIIdim7 iim7 bII7", "i bvi i bii", "I bII I bII", "i Iaug bIII IV bVI v iv V", "I I7 IV bVI I VI7 II7 V7",
        "I bV IV iv", "vi III I bVII IV iv I V",
    ),
    "dark": (
        "i i bVI bVII", "i bII i bII", "i i bV bII", "i bVI v bVI", "i bVII bVI bII", "i i i bIII", "i bVI iv bII",
        "i bIII bII bVII", "i bvii bVI V",
    ),
    "folk": (
        "I I IV I", "I IV I V", "I V IV I", "i bVII i bVII", "i bVII bVI V", "I I V V IV IV I I", "I IV V I",
        "i i bVII i iv i V i", "I bVII IV I", "vi IV I V I V I I", "I I I V I IV V I", "i bIII bVII i i bIII bVII,v i",
    ),
    "latin": (
        "i iv V7 V7", "I IV V7 IV", "i bVII bVI V7", "im7 IV7 im7 IV7", "I VI7 iim7 V7", "iim7 V7 iim7 V7",
        "i i V7 V7 V7 V7 i i", "I7 IV7 V7 IV7", "im7 ivm7 bVII7 bIIImaj7 bVImaj7 iim7b5 V7 im7",
    ),
    "gospel": (
        "I I7 IV ivm6 I VI7 II7 V7", "I,III7 vi,I7 IV,bVdim7 I,V7", "I IV I V", "I,I7 IV,iv I,V7 I",
        "vi III7 I7 IV I VI7 IIm7 V7sus4",
        "I bVIIdim7 iim7 V7", "IV V7 iiim7 vim7 iim7 V7 I I7", "I iim7 iiim7 IV", "bVI bVII I I",
    ),
}  # fmt: skip
IDIOMS = ("loops", "functional", *_STOCK)
"""Names that a family may use."""

_NEXT = {
    "major": {"I": ("IV", "vi", "ii", "V", "iii"), "iii": ("vi", "IV"), "vi": ("ii", "IV", "V"), "IV": ("V", "ii", "I"),
              "ii": ("V", "V7"), "V": ("I", "vi", "IV"), "V7": ("I", "vi")},
    "minor": {"i": ("iv", "bVI", "iidim", "V", "bVII", "bIII"), "bIII": ("bVI", "iv", "bVII"), "bVI": ("iv", "iidim",
              "V", "bIII"),
              "iv": ("V", "bVII", "i"), "iidim": ("V7",), "bVII": ("bIII", "i"), "V": ("i", "bVI"), "V7": ("i", "bVI")},
}  # fmt: skip
"""What may follow a chord in functional harmony."""


def draw_progression(idiom: str, mode: str, rng: np.random.Generator) -> Progression:
    """A progression of 4 to 16 bars.

    Args:
        idiom: one of `IDIOMS`.
        mode: mode of the song; stock idioms but "loops" bring their own.
        rng: the only source of randomness.
    """
    if idiom == "functional":
        return _functional("minor" if mode in ("minor", "dorian", "phrygian") else "major", rng)
    table = LOOPS[mode] if idiom == "loops" else _STOCK[idiom]
    bars = tuple(tuple(bar.split(",")) for bar in table[rng.integers(len(table))].split())
    if len(bars) <= 4 and rng.random() < 0.2:
        bars = tuple(bar for bar in bars for _ in range(2))
    if len(bars) == 4 and rng.random() < 0.3:
        bars = (*bars, *bars[:3], _turned(bars[3], mode, rng))
    return bars


def _functional(mode: str, rng: np.random.Generator) -> Progression:
    """Eight bars: four that end on the dominant, four that end at home; some bars hold two chords."""
    tonic, follow = ("I", _NEXT["major"]) if mode == "major" else ("i", _NEXT["minor"])
    bars: list[tuple[str, ...]] = []
    for cadence in (("V",), ("V7", tonic)):
        chord = tonic
        phrase: list[tuple[str, ...]] = [(tonic,)]
        while len(phrase) < 4 - len(cadence):
            chord = str(rng.choice(follow[chord]))
            following = str(rng.choice(follow[chord]))
            split = rng.random() < 0.25
            phrase.append((chord, following) if split else (chord,))
            chord = following if split else chord
        bars += [*phrase, *((numeral,) for numeral in cadence)]
    return tuple(bars)


def _turned(bar: tuple[str, ...], mode: str, rng: np.random.Generator) -> tuple[str, ...]:
    """The last bar of a repeat: with a dominant in its second half, or as it is."""
    return (bar[0], "V7") if mode in ("major", "minor") and rng.random() < 0.6 else bar
