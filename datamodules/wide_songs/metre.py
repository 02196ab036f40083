"""Metres whose beats need not be equal, and the places of a bar.

A step is a sixteenth note, as in `datamodules.pocket_slakh`. Beats are what a listener taps: quarters, dotted quarters
in 6/8 and 12/8, and groups of two or three eighths in 7/8.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Metre:
    """A time signature with its beats.

    Args:
        numerator: of the time signature.
        denominator: of the time signature.
        beats: sixteenths of every beat.
        roles: a letter per beat: "o" opens the bar, "h" opens its second half, "b" is a backbeat.
    """

    numerator: int
    denominator: int
    beats: tuple[int, ...]
    roles: str

    @property
    def name(self) -> str:
        """For example "7/8"."""
        return f"{self.numerator}/{self.denominator}"

    @property
    def steps(self) -> int:
        """Sixteenths per bar."""
        return sum(self.beats)

    @property
    def beat_starts(self) -> tuple[int, ...]:
        """The step of every beat."""
        return (0, *accumulate(self.beats[:-1]))

    @property
    def is_compound(self) -> bool:
        """Whether all beats have three parts."""
        return set(self.beats) == {6}

    def places(self) -> str:
        """A letter per step: "o", "h" and "b" on beats, "a" on eighths between them, "e" on the other sixteenths."""
        return "".join(
            role + "".join("ea"[step % 2 == 0] for step in range(1, length))
            for role, length in zip(self.roles, self.beats, strict=True)
        )


FOUR_FOUR = Metre(4, 4, (4, 4, 4, 4), "obhb")
THREE_FOUR = Metre(3, 4, (4, 4, 4), "obb")
FIVE_FOUR = Metre(5, 4, (4, 4, 4, 4, 4), "obbhb")
SIX_EIGHT = Metre(6, 8, (6, 6), "ob")
TWELVE_EIGHT = Metre(12, 8, (6, 6, 6, 6), "obhb")
SEVEN_EIGHT = Metre(7, 8, (4, 4, 6), "ohb")
SEVEN_EIGHT_LONG_FIRST = Metre(7, 8, (6, 4, 4), "ohb")
