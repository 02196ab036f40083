"""How well an accompaniment goes on when something happens in the music, beat by beat; and players to compare it with.

Shapes: N audio samples, T frames of onset strength, B beats around the event.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from livejam.batch import Annotations
from metrics.beats import beat_f_measure
from metrics.evaluation.clips import Audio
from metrics.harmony import chord_tone_share
from metrics.phase_lock import FRAME_SECONDS, onset_strength, phase_lock

Floats = NDArray[np.floating[Any]]

STRETCH_BEATS = 4
"""What is measured at a beat is that of this beat and the next three."""

BEFORE, AFTER = 16, 32
"""Beats before and after the event that are looked at."""

BEATS_B = np.arange(-BEFORE, AFTER + 1)

SCORES = ("beat_f1", "phase_lock", "chord_tone_share")
"""What may get worse, and come back."""

LEVEL = "level_db"
COLUMNS = (*SCORES, LEVEL)

LOWEST_DB = -60.0


@dataclass(frozen=True)
class Happening:
    """A song in which something happens.

    Args:
        target_N: the true stem.
        sample_rate_hz: its rate.
        annotations: true beats, downbeats and chords of the whole song.
        event_seconds: when it happens.
        resumes_seconds: from when on beats after it are counted: the event itself or, if everybody rests then, the end
            of the rest.
        pitched: whether chords say something about the stem; otherwise tracked beats do.
    """

    target_N: Audio
    sample_rate_hz: int
    annotations: Annotations
    event_seconds: float
    resumes_seconds: float
    pitched: bool

    @property
    def event_beat(self) -> int:
        """Number of the first beat of the event."""
        return self._number(self.event_seconds)

    @property
    def rest_beats(self) -> int:
        """Beats for which everybody rests; 0 where nobody does."""
        return self._number(self.resumes_seconds) - self.event_beat

    def edges(self, beat: int) -> tuple[float, float] | None:
        """Beginning and end in seconds of the stretch at a beat, as in `BEATS_B`; None outside the song."""
        return self.times(self.event_beat + beat + (self.rest_beats if beat >= 0 else 0), STRETCH_BEATS)

    def times(self, first: int, length: int) -> tuple[float, float] | None:
        """Beginning and end in seconds of so many beats of the song; None outside of it."""
        beats = self.annotations.beats_seconds
        return (beats[first], beats[first + length]) if first >= 0 and first + length < len(beats) else None

    def _number(self, seconds: float) -> int:
        return int(np.searchsorted(self.annotations.beats_seconds, seconds - 1e-3))


def curves(song: Happening, stem_N: Audio, tracked_seconds: Floats) -> dict[str, Floats]:
    """Every column of a stem around the event, one number per beat in `BEATS_B`; nan where it is undefined.

    Args:
        song: what is played to.
        stem_N: as long as the true stem.
        tracked_seconds: beats that were tracked on the stem; not looked at if it is pitched.
    """
    onsets = [onset_strength(torch.from_numpy(x.copy()), song.sample_rate_hz).numpy() for x in (stem_N, song.target_N)]
    found = {name: np.full(len(BEATS_B), math.nan) for name in COLUMNS}
    for place, beat in enumerate(BEATS_B.tolist()):
        edges = song.edges(beat)
        if edges is not None:
            scores = _at(song, stem_N, onsets, tracked_seconds, *edges)
            for name, score in scores.items():
                found[name][place] = score
    return found | {LEVEL: levels_db(song, stem_N)}


def levels_db(song: Happening, stem_N: Audio) -> Floats:
    """Level of single beats in `BEATS_B`, against that of all beats before the event together; at least -60 dB.

    They are counted from the event, also if everybody rests. Nan outside the song, and if nothing sounded before.
    """
    powers_B = np.array([_power(song, stem_N, beat) for beat in BEATS_B.tolist()])
    usual = float(np.nanmean(powers_B[BEATS_B < 0]))
    if not usual > 0:
        return np.full(len(BEATS_B), math.nan)
    return np.asarray(10 * np.log10(np.maximum(powers_B / usual, 10 ** (LOWEST_DB / 10))))


def _power(song: Happening, stem_N: Audio, beat: int) -> float:
    times = song.times(song.event_beat + beat, 1)
    if times is None:
        return math.nan
    start, stop = (round(t * song.sample_rate_hz) for t in times)
    return float(np.mean(np.square(stem_N[start:stop], dtype=np.float64)))


def _at(
    song: Happening, stem_N: Audio, onsets: Sequence[Floats], tracked_seconds: Floats, start: float, stop: float
) -> dict[str, float]:
    """The columns of one stretch."""
    samples = slice(*(round(edge * song.sample_rate_hz) for edge in (start, stop)))
    frames = slice(*(round(edge / FRAME_SECONDS) for edge in (start, stop)))
    truth = song.annotations.excerpt(start, stop - start)
    part_N, true_N = stem_N[samples], song.target_N[samples]
    # the beat at the end belongs to the grid, though not to the stretch
    grid = (*truth.beats_seconds, stop - start)
    scores = {"phase_lock": phase_lock(onsets[0][frames], onsets[1][frames], grid)}
    if song.pitched:
        return scores | {"chord_tone_share": chord_tone_share(part_N, true_N, song.sample_rate_hz, truth.chords)}
    heard = tracked_seconds[(tracked_seconds >= start) & (tracked_seconds < stop)] - start
    return scores | {"beat_f1": beat_f_measure(truth.beats_seconds, heard)}


def ignoring(song: Happening) -> Audio:
    """What somebody plays who ignores the event: the four bars before it, again and again."""
    return _goes_on(song, song.event_seconds, math.inf)


def late(song: Happening, bars: int = 1) -> Audio:
    """What somebody plays who notices the event late: the true stem, but for the first bars as before.

    Args:
        song: what is played to.
        bars: how many, at least 1; if the song has fewer left, it is never noticed.
    """
    downbeats = [t for t in song.annotations.downbeats_seconds if t > song.event_seconds + 1e-3]
    return _goes_on(song, song.event_seconds, [*downbeats, math.inf][min(bars - 1, len(downbeats))])


BARS_BEFORE = 4


def _goes_on(song: Happening, start: float, stop: float) -> Audio:
    """The true stem, with its four bars before the start repeated until the stop."""
    earlier = [t for t in song.annotations.downbeats_seconds if t < start - 1e-3][-BARS_BEFORE:]
    played_N: Audio = song.target_N.copy()
    stop = min(stop, len(played_N) / song.sample_rate_hz)
    first, begin, end = (round(t * song.sample_rate_hz) for t in (earlier[0] if earlier else 0.0, start, stop))
    if first < begin < end:
        played_N[begin:end] = np.resize(song.target_N[first:begin], end - begin)
    return played_N
