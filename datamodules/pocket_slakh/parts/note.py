"""A note as a part writes it, and the patterns it reads it from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """A note on the step grid, before swing and human timing.

    Args:
        step: sixteenths from the start of the song.
        steps: length in sixteenths.
        pitch: MIDI pitch, or the drum.
        velocity: 0 to 1.
    """

    step: float
    steps: float
    pitch: int
    velocity: float


def strokes(pattern: str) -> Iterator[tuple[int, int, str]]:
    """The (step, length, letter) of every letter of a pattern; "-" lengthens the letter before, "." is a rest."""
    for start, letter in enumerate(pattern):
        if letter in "-.":
            continue
        end = start + 1
        while end < len(pattern) and pattern[end] == "-":
            end += 1
        yield start, end - start, letter
