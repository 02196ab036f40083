"""Ticks and seconds of a song whose tempo changes with every beat, exactly as its MIDI file says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from datamodules.pocket_slakh.meter import TICKS_PER_QUARTER, TICKS_PER_STEP
from datamodules.wide_songs.plan import Plan


@dataclass(frozen=True)
class Timeline:
    """A tempo map.

    Args:
        ticks: where every beat begins.
        microseconds: length of a quarter from there on.
    """

    ticks: tuple[int, ...]
    microseconds: tuple[int, ...]

    @cached_property
    def _seconds(self) -> NDArray[np.float64]:
        lengths = np.diff(self.ticks) * np.array(self.microseconds[:-1]) / (TICKS_PER_QUARTER * 1e6)
        return np.concatenate([[0.0], np.cumsum(lengths)])

    def seconds(self, tick: float) -> float:
        """The time of a tick, which may lie after the last beat's beginning."""
        beat = self._beat(tick)
        return float(
            self._seconds[beat] + (tick - self.ticks[beat]) * self.microseconds[beat] / (TICKS_PER_QUARTER * 1e6)
        )

    def ticks_per_ms(self, tick: float) -> float:
        """How many ticks a millisecond has there."""
        return TICKS_PER_QUARTER * 1e3 / self.microseconds[self._beat(tick)]

    def _beat(self, tick: float) -> int:
        return max(0, int(np.searchsorted(self.ticks, tick, side="right")) - 1)


def timeline(plan: Plan) -> Timeline:
    """The tempo map of a plan."""
    ticks: list[int] = []
    microseconds: list[int] = []
    for bar, start in zip(plan.bars, plan.starts, strict=False):
        ticks += [(start + step) * TICKS_PER_STEP for step in bar.metre.beat_starts]
        microseconds += [round(60e6 / tempo) for tempo in bar.tempos]
    return Timeline(tuple(ticks), tuple(microseconds))
