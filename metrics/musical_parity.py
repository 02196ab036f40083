"""Whether two ways of playing the same songs are equally good music, song by song.

Both play every item with the same noise, so their scores are compared in pairs: what songs differ in cancels out, and a
difference of a hundredth can be seen with a few dozen of them.

Shapes: N audio samples, U songs that are left out one at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torchmetrics import Metric

from metrics.beat_tracking import CachedBeatTracker, Floats
from metrics.beats import MadmomRNN
from metrics.embeddings import LogMel
from metrics.evaluation.beat_f1_measure import BeatF1Measure
from metrics.evaluation.clips import Audio, Clip, Stem, takes_of
from metrics.evaluation.fad_measure import FADMeasure
from metrics.evaluation.harmony_measure import HarmonyMeasure
from metrics.frechet import FrechetAudioDistance
from metrics.intervals import Interval, jackknife_interval
from metrics.scores import MeanScore

BEAT_F1, CHORD_TONES, DISTANCE = "beat_f1", "chord_tones", "distance"
LIMITS = {BEAT_F1: 0.01, CHORD_TONES: 0.01, DISTANCE: 0.05}
"""Largest differences that count as none: of the distance in proportion, of the others as they are."""


@dataclass(frozen=True)
class Score:
    """One number of what was played.

    Args:
        value: over all items that have one; nan if none does.
        left_out_U: the same without each of the songs.
        songs: that have such items.
    """

    value: float
    left_out_U: Floats
    songs: int


@dataclass(frozen=True)
class Difference:
    """How one way of playing differs from the reference in one number.

    Args:
        reference: the reference's value.
        value: the other's.
        difference: of both; of distances in proportion to the reference's.
        interval: 95 % over songs, which both played; unknown with fewer than five of them.
        limit: up to which it is none.
        songs: it was measured on.
    """

    reference: float
    value: float
    difference: float
    interval: Interval
    limit: float
    songs: int

    @property
    def kept(self) -> bool:
        """Whether it is none; a number that no song has is not kept."""
        return abs(self.difference) <= self.limit

    @property
    def sure(self) -> bool:
        """Whether other songs would say the same of the limit: the interval lies within it, or beyond it."""
        low, high = self.interval
        return -self.limit <= low <= high <= self.limit or low > self.limit or high < -self.limit


class MusicalScores:
    """Beat F1 of drums against the true beats, chord tones of pitched stems, and Fréchet distance of log-mel embeddings
    from the true stems, each with one song left out at a time.

    Args:
        clips: the items; what was generated in them does not count.
        segment_seconds: of every item that are measured, from its start.
        hop_samples: of the codec.
    """

    def __init__(self, clips: Sequence[Clip], segment_seconds: float, hop_samples: int) -> None:
        self.clips, self._seconds, self._hop = clips, segment_seconds, hop_samples
        beats = CachedBeatTracker(MadmomRNN(), None)
        self._beats, self._harmony = BeatF1Measure(beats, ("Percussive",), together=False), HarmonyMeasure()
        self._distance = FADMeasure(LogMel(), None, extrapolate=False)

    def __call__(self, played: Sequence[Audio], progress: Callable[[], object] = lambda: None) -> dict[str, Score]:
        """The scores of recordings (N), one per item.

        Args:
            played: what was played, as long as the items.
            progress: called after every item.
        """
        measures = (self._beats, self._harmony, self._distance)
        metrics = [_keeping_songs(measure.new_metrics()) for measure in measures]
        for clip, audio_N in zip(self.clips, played, strict=True):
            takes = takes_of([clip], [Stem(audio_N, clip.song)], self._seconds, self._hop)
            for measure, held in zip(measures, metrics, strict=True):
                if measure.accepts(clip):
                    measure.update(takes, held, keep=False)
            progress()
        beats, harmony, distance = metrics
        return {
            BEAT_F1: _mean(beats["beat_f1_truth"]),
            CHORD_TONES: _mean(harmony["chord_tone_share"]),
            DISTANCE: _distance(distance[self._distance.name]),
        }


def compared(reference: dict[str, Score], other: dict[str, Score]) -> dict[str, Difference]:
    """Every score of the same songs against the reference's."""
    return {name: _difference(name, reference[name], score) for name, score in other.items()}


def _difference(name: str, reference: Score, other: Score) -> Difference:
    relative = name == DISTANCE
    with np.errstate(divide="ignore", invalid="ignore"):
        change = other.value / np.float64(reference.value) - 1 if relative else other.value - reference.value
        if len(other.left_out_U) != len(reference.left_out_U):
            changes_U = np.full(1, math.nan)
        elif relative:
            changes_U = other.left_out_U / reference.left_out_U - 1
        else:
            changes_U = other.left_out_U - reference.left_out_U
    interval = jackknife_interval(float(change), changes_U)
    return Difference(reference.value, other.value, float(change), interval, LIMITS[name], other.songs)


def _keeping_songs(metrics: dict[str, Metric]) -> dict[str, Metric]:
    for metric in metrics.values():
        assert isinstance(metric, MeanScore | FrechetAudioDistance)
        metric.keep_songs()
    return metrics


def _mean(metric: Metric) -> Score:
    assert isinstance(metric, MeanScore)
    left_out_U = metric.left_out()[0]
    return Score(metric.compute().mean, left_out_U, len(left_out_U))


def _distance(metric: Metric) -> Score:
    assert isinstance(metric, FrechetAudioDistance)
    songs = len(np.unique(metric.rows_by_song()[0]))
    return Score(float(metric.compute().distance), metric.left_out("fake"), songs)
