"""Forms as data: which sections follow each other, and what distinguishes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Part:
    """A kind of section.

    Args:
        label: its name in the annotations.
        energy: 0 (sparse) to 1 (full).
        material: which chords and groove it uses, 0 to 2.
        lead: who leads: "melody", "solo" or "none".
        long: whether it takes the longer of the song's two section lengths.
    """

    label: str
    energy: float
    material: int
    lead: str = "none"
    long: bool = True


PARTS = {
    "i": Part("intro", 0.3, 0, long=False),
    "v": Part("verse", 0.6, 0, "melody"),
    "p": Part("build", 0.75, 2, long=False),
    "c": Part("chorus", 1.0, 1, "melody"),
    "b": Part("bridge", 0.7, 2, "melody"),
    "k": Part("break", 0.15, 0, long=False),
    "s": Part("solo", 0.85, 0, "solo"),
    "r": Part("riff", 0.9, 1, long=False),
    "d": Part("drop", 1.0, 1),
    "h": Part("chorus", 0.8, 0, "melody"),
    "o": Part("outro", 0.45, 0, long=False),
}
FORMS = {
    "song": ("ivcvkco", "ivpcvcbco", "vcvcsco", "ivcsvco", "icvcbco", "vvcvcko"),
    "riff": ("rvrcrsro", "irvrcvrc", "rvcrskrc", "rrvcrvso"),
    "aaba": ("vvbv", "ivvbvso", "hhbhs", "vsbvo"),
    "choruses": ("hshs", "hssh", "ihsho", "hsks"),
    "strophes": ("vvvvo", "ivvsvv", "vsvkvv", "vvbvv"),
    "vamp": ("ivskvdo", "vvssvd", "iddkvd", "vskdsd"),
    "drop": ("ivpdkpdo", "ipdvpdk", "vpdkpd", "ikpddvd"),
}
"""Orders of parts; a song is cut off, or goes on from the middle, when its time is filled."""


def draw_form(name: str, bar_seconds: float, seconds: float, rng: np.random.Generator) -> tuple[tuple[Part, int], ...]:
    """Parts with their lengths in bars, which fill about `seconds`.

    Args:
        name: a key of `FORMS`.
        bar_seconds: length of a bar.
        seconds: length of the song.
        rng: the only source of randomness.
    """
    total = max(8, round(seconds / bar_seconds))
    long = 8 if total >= 30 else 4
    if name == "choruses":
        long = 12 if total >= 22 else 8
    order = FORMS[name][rng.integers(len(FORMS[name]))]
    order += order[1:] * 8
    sections: list[tuple[Part, int]] = []
    left = total
    for letter in order:
        part = PARTS[letter]
        bars = min(long if part.long else max(2, long // 2), left)
        # no stump at the end: the last section is a little longer instead
        bars = left if left - bars < 2 else bars
        sections.append((part, bars))
        left -= bars
        if left <= 0:
            break
    return tuple(sections)
