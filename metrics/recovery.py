"""How soon players are as good again as before an event, and how soon they fall silent and sound again.

Shapes: S songs, B beats in `metrics.adaptation.BEATS_B`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from metrics.adaptation import AFTER, BEATS_B, LEVEL, SCORES, STRETCH_BEATS
from metrics.intervals import LEVEL as CONFIDENCE
from metrics.intervals import UNKNOWN, Interval

Floats = NDArray[np.floating[Any]]

STEADY_BEATS = 4
"""So long it has to stay as good as before."""

SILENT_DB = -20.0
"""A beat counts as silent if it is that much softer than those before the event together."""

PARTS = ("drums", "pitched")

WHOLE = slice(0, BEATS_B.tolist().index(-STRETCH_BEATS) + 1, STRETCH_BEATS)
"""Stretches that lie wholly before the event and do not overlap."""


@dataclass(frozen=True)
class Recovery:
    """What an event does to a number.

    Args:
        before: its mean over the stretches before the event, over songs.
        interval: where the mean over songs of one more such stretch would lie in 95 of 100 cases.
        after: its mean over the beats from the event on, over songs.
        lowest: the lowest mean over songs at any of them.
        beats: from the event until the mean over songs is in the interval or above it, and stays there for four beats;
            0 if it never leaves it, None if it does not come back in 32 beats.
        songs: that have the number.
    """

    before: float
    interval: Interval
    after: float
    lowest: float
    beats: int | None
    songs: int

    @property
    def beats_or_more(self) -> int:
        """One more than the beats that are looked at, if it does not come back in them."""
        return AFTER + 1 if self.beats is None else self.beats


Answers = dict[str, "Recovery | Rest"]
"""Column → what the event does to it; `rest_drums`, `rest_pitched` → what these do while everybody rests."""


def answers(found: Mapping[str, Floats]) -> Answers:
    """What an event does to a row.

    Args:
        found: `<column>_<part>` → curves_SB, and `rests_<part>` → beats_S for which everybody rests.
    """
    said: Answers = {name: recovery(own) for name, own in found.items() if name.startswith(SCORES)}
    for part in PARTS:
        rests_S = found.get(f"rests_{part}", np.zeros(0))
        if rests_S.any():
            said[f"rest_{part}"] = rest_of(found[f"{LEVEL}_{part}"], rests_S.tolist())
    return said


def recovery(curves_SB: Floats) -> Recovery:
    """When songs are as good again as before an event.

    Songs differ from each other far more than a song from itself, so each is compared with itself: the interval comes
    from how much the stretches of a song before the event differ, and holds for these songs.

    Args:
        curves_SB: a number of every song at every beat.
    """
    curves_SB = curves_SB[np.isfinite(curves_SB[:, WHOLE]).any(1)]
    if not len(curves_SB):
        return Recovery(math.nan, UNKNOWN, math.nan, math.nan, None, 0)
    before = float(np.nanmean(curves_SB[:, WHOLE], axis=1).mean())
    interval = usual_range(curves_SB[:, WHOLE])
    after_B = mean_of(curves_SB)[BEATS_B >= 0]
    fine_B = after_B >= interval.low
    steady = (place for place in range(len(fine_B) - STEADY_BEATS + 1) if fine_B[place : place + STEADY_BEATS].all())
    return Recovery(
        before, interval, float(np.nanmean(after_B)), float(np.nanmin(after_B)), next(steady, None), len(curves_SB)
    )


def usual_range(stretches_SB: Floats) -> Interval:
    """Where the mean over songs of one more stretch would lie: Student's 95 % prediction interval within songs.

    Args:
        stretches_SB: a number of every song at stretches that do not overlap; nan where undefined.

    Returns:
        Both ends; nan if no song has two stretches.
    """
    counts_S = np.isfinite(stretches_SB).sum(1)
    freedom, songs = int((counts_S - 1).sum()), len(counts_S)
    if freedom < 1:
        return UNKNOWN
    means_S = np.nanmean(stretches_SB, axis=1)
    variance = float(np.nansum(np.square(stretches_SB - means_S[:, None]))) / freedom
    error = math.sqrt(variance * float((1 + 1 / counts_S).sum())) / songs
    half_width = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    return Interval(float(means_S.mean()) - half_width, float(means_S.mean()) + half_width)


def mean_of(curves_SB: Floats) -> Floats:
    """The mean over the songs that have a number, at every beat; nan where none has."""
    known_SB = np.isfinite(curves_SB)
    counts_B = known_SB.sum(0)
    totals_B = np.where(known_SB, curves_SB, 0).sum(0)
    return np.where(counts_B > 0, totals_B / np.maximum(counts_B, 1), math.nan)


@dataclass(frozen=True)
class Rest:
    """What players do while everybody else rests.

    Args:
        silent_after: beats from the beginning of the rest until they are silent: the median over songs in which they
            fall silent before it ends; None if there is no such song.
        sounds_after: beats from its end until they sound again: the median over the same songs, 33 where they do not.
        silent_songs: songs in which they fall silent.
        songs: all that sounded before.
    """

    silent_after: float | None
    sounds_after: float | None
    silent_songs: int
    songs: int


def rest_of(levels_SB: Floats, rests_S: Sequence[int]) -> Rest:
    """How soon players fall silent, and sound again.

    Args:
        levels_SB: level of every song's beats against those before the rest, in dB.
        rests_S: beats for which everybody rests.
    """
    first = BEATS_B.tolist().index(0)
    known = [(row_B[first:], rest) for row_B, rest in zip(levels_SB, rests_S, strict=True) if np.isfinite(row_B).any()]
    times = [_fall_and_return(row_B < SILENT_DB, rest) for row_B, rest in known]
    fallen = [time for time in times if time is not None]
    falls, returns = ([time[i] for time in fallen] for i in (0, 1))
    silent, sounds = ((float(np.median(beats)) if beats else None) for beats in (falls, returns))
    return Rest(silent, sounds, len(fallen), len(known))


def _fall_and_return(silent_B: NDArray[np.bool_], rest: int) -> tuple[int, int] | None:
    """Beats until silence, and from the end of the rest until sound; None if it is never silent in the rest."""
    falls, sounds = np.flatnonzero(silent_B[:rest]), np.flatnonzero(~silent_B[rest:])
    if not len(falls):
        return None
    return int(falls[0]), int(sounds[0]) if len(sounds) else AFTER + 1
