"""Song form: sections, their length in bars and how full they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Section:
    """A run of bars with one character.

    Args:
        label: intro, verse, build, chorus, break or outro.
        first_bar: its first bar in the song.
        bars: its length.
        energy: 0 (sparse) to 1 (full).
        loop: which chord loop it plays, 0 or 1.
    """

    label: str
    first_bar: int
    bars: int
    energy: float
    loop: int

    @property
    def end_bar(self) -> int:
        """The bar after its last one."""
        return self.first_bar + self.bars


_ENERGY = {"intro": 0.3, "verse": 0.6, "build": 0.75, "chorus": 1.0, "break": 0.15, "outro": 0.5}
_ORDERS = (
    ("intro", "verse", "chorus", "verse", "break", "chorus", "outro"),
    ("intro", "verse", "build", "chorus", "verse", "chorus", "break", "chorus", "outro"),
    ("verse", "chorus", "break", "build", "chorus", "verse", "outro"),
    ("intro", "chorus", "verse", "chorus", "break", "verse", "chorus", "outro"),
    ("intro", "verse", "verse", "build", "chorus", "break", "chorus", "outro"),
)


def draw_form(bar_seconds: float, duration_seconds: float, rng: np.random.Generator) -> tuple[Section, ...]:
    """Sections that fill about `duration_seconds` with whole bars, always with a verse and a chorus."""
    total = round(duration_seconds / bar_seconds)
    short, long = (2, 4) if bar_seconds > 1.9 or total < 24 else (4, 8)
    order = _ORDERS[rng.integers(len(_ORDERS))]
    sections: list[Section] = []
    bar = 0
    for label in (*order, "chorus", "verse", "chorus", "verse", "chorus", "verse", "chorus"):
        length = min(long if label in ("verse", "chorus") else short, total - bar)
        if length <= 0:
            break
        sections.append(Section(label, bar, length, _ENERGY[label], int(label in ("chorus", "build"))))
        bar += length
    return tuple(sections)
