"""How soon an accompaniment is as good again as it was, after something happened in the music.

Shapes: N audio samples, T frames of onset strength, S songs, B beats around the event.
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
from metrics.intervals import Interval, jackknife_interval
from metrics.loudness import silence_rate
from metrics.phase_lock import FRAME_SECONDS, onset_strength, phase_lock

Floats = NDArray[np.floating[Any]]

STRETCH_BEATS = 4
"""What is measured at a beat is that of this beat and the next three."""

STEADY_BEATS = 4
"""So long it has to stay as good as before."""

BEFORE, AFTER = 16, 32
"""Beats before and after the event that are looked at."""

BEATS_B = np.arange(-BEFORE, AFTER + 1)

COLUMNS = ("beat_f1", "phase_lock", "chord_tone_share", "sounding")


@dataclass(frozen=True)
class Happening:
    """A song in which something happens.

    Args:
        target_N: the true stem.
        sample_rate_hz: its rate.
        annotations: true beats, downbeats and chords of the whole song.
        event_seconds: when it happens.
        pitched: whether chords say something about the stem; otherwise tracked beats do.
    """

    target_N: Audio
    sample_rate_hz: int
    annotations: Annotations
    event_seconds: float
    pitched: bool

    @property
    def event_beat(self) -> int:
        """Number of the first beat of the event."""
        return int(np.searchsorted(self.annotations.beats_seconds, self.event_seconds - 1e-3))

    def edges(self, beat: int) -> tuple[float, float] | None:
        """Beginning and end in seconds of the stretch at a beat, counted from the event; None outside the song."""
        first = self.event_beat + beat
        beats = self.annotations.beats_seconds
        inside = first >= 0 and first + STRETCH_BEATS < len(beats)
        return (beats[first], beats[first + STRETCH_BEATS]) if inside else None


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
    return found


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
    scores = {
        "phase_lock": phase_lock(onsets[0][frames], onsets[1][frames], grid),
        "sounding": 1 - silence_rate(part_N, song.sample_rate_hz),
    }
    if song.pitched:
        return scores | {"chord_tone_share": chord_tone_share(part_N, true_N, song.sample_rate_hz, truth.chords)}
    heard = tracked_seconds[(tracked_seconds >= start) & (tracked_seconds < stop)] - start
    return scores | {"beat_f1": beat_f_measure(truth.beats_seconds, heard)}


@dataclass(frozen=True)
class Recovery:
    """What an event does to a number.

    Args:
        before: its mean over the beats before the event, over songs.
        interval: of that, over songs.
        lowest: the lowest mean over songs after the event.
        beats: from the event until the mean over songs is within the interval or above it, and stays there for four
            beats; None if that does not happen in 32 beats.
        songs: that have the number.
    """

    before: float
    interval: Interval
    lowest: float
    beats: int | None
    songs: int


def recovery(curves_SB: Floats) -> Recovery:
    """When songs are as good again as before an event.

    Args:
        curves_SB: a number of every song at every beat in `BEATS_B`.
    """
    whole = BEATS_B <= -STRETCH_BEATS
    known_S = np.isfinite(curves_SB[:, whole]).any(1)
    curves_SB = curves_SB[known_S]
    if not len(curves_SB):
        return Recovery(math.nan, Interval(math.nan, math.nan), math.nan, None, 0)
    before_S = np.nanmean(curves_SB[:, whole], axis=1)
    without_S = np.array([np.delete(before_S, place).mean() for place in range(len(before_S))])
    before = float(before_S.mean())
    interval = jackknife_interval(before, without_S)
    after_B = mean_of(curves_SB)[BEATS_B >= 0]
    fine_B = after_B >= interval.low
    steady = (place for place in range(len(fine_B) - STEADY_BEATS + 1) if fine_B[place : place + STEADY_BEATS].all())
    return Recovery(before, interval, float(np.nanmin(after_B)), next(steady, None), len(curves_SB))


def mean_of(curves_SB: Floats) -> Floats:
    """The mean over the songs that have a number, at every beat; nan where none has."""
    known_SB = np.isfinite(curves_SB)
    counts_B = known_SB.sum(0)
    totals_B = np.where(known_SB, curves_SB, 0).sum(0)
    return np.where(counts_B > 0, totals_B / np.maximum(counts_B, 1), math.nan)


def ignoring(song: Happening) -> Audio:
    """What somebody plays who ignores the event: the four bars before it, again and again."""
    return _goes_on(song, song.event_seconds, len(song.target_N) / song.sample_rate_hz)


def late(song: Happening) -> Audio:
    """What somebody plays who notices the event a bar late: the true stem, but for the first bar as before."""
    downbeats = [t for t in song.annotations.downbeats_seconds if t > song.event_seconds + 1e-3]
    return _goes_on(song, song.event_seconds, downbeats[0] if downbeats else song.event_seconds)


BARS_BEFORE = 4


def _goes_on(song: Happening, start: float, stop: float) -> Audio:
    """The true stem, with its four bars before the start repeated until the stop."""
    earlier = [t for t in song.annotations.downbeats_seconds if t < start - 1e-3][-BARS_BEFORE:]
    first, begin, end = (round(t * song.sample_rate_hz) for t in (earlier[0] if earlier else 0.0, start, stop))
    played_N: Audio = song.target_N.copy()
    end = min(end, len(played_N))
    if first < begin < end:
        played_N[begin:end] = np.resize(song.target_N[first:begin], end - begin)
    return played_N
