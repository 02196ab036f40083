"""Cheap musical numbers: harmony, level, phase and silence, in milliseconds per item."""

from __future__ import annotations

import math
from collections.abc import Callable

from torchmetrics import Metric

from callbacks.clips import Audio, Segment
from callbacks.monitor import GROUPS, Monitor
from livejam.batch import Annotations
from metrics.harmony import chord_tone_share
from metrics.loudness import relative_level_db, silence_rate
from metrics.phase_lock import phase_lock
from metrics.scores import MeanScore

UNPITCHED = ("Percussive", "Sound Effects", "Synth Effects", "Unknown")
"""Categories whose stems need not have a pitch, so that chords say nothing about them."""

TruthScore = Callable[[Audio, int, Annotations], float]


def _chord_tone_share(audio_N: Audio, sample_rate_hz: int, truth: Annotations) -> float:
    return chord_tone_share(audio_N, sample_rate_hz, truth.chords)


def _phase_lock(audio_N: Audio, sample_rate_hz: int, truth: Annotations) -> float:
    return phase_lock(audio_N, sample_rate_hz, truth.beats_seconds)


class HarmonyMonitor(Monitor):
    """What betrays a collapse at once, and whether notes fit the chords and the grid.

    `chord_tone_share`: share of energy on the pitch classes of the true chord, over pitched stems. `phase_lock`: how
    steadily onsets sit on the true beat grid. `loudness_db`: level of the stem relative to the true stem;
    `loudness_error_db`: the mean of its absolute value, in which too loud and too soft do not cancel.
    `silence_rate`: share of silent blocks.

    A score that exists for the true stem but not for the judged one, because nothing sounds there, counts as 0: what
    is silent fits no chord. If the true stem has none either, the item is excluded.

    Args:
        every_n_validations: measure in every n-th validation only (≥ 1).
        max_items: items measured in validation, per process; None = all.
        max_test_items: items measured in test, per process; None = all.
        segment_seconds: length of a segment in seconds.
        cache_folder: where anchors are kept; None = `cache` in the trainer's root.
    """

    identity = "chord_tone_share phase_lock loudness silence 1"

    def __init__(
        self,
        every_n_validations: int = 1,
        max_items: int | None = None,
        max_test_items: int | None = None,
        segment_seconds: float = 10.0,
        cache_folder: str | None = None,
    ) -> None:
        super().__init__(every_n_validations, max_items, max_test_items, segment_seconds, cache_folder)
        self._truths: dict[tuple[str, str, int], float] = {}

    @property
    def charts(self) -> list[str]:
        """All of them."""
        return ["chord_tone_share", "phase_lock", "loudness_db", "loudness_error_db", "silence_rate"]

    def new_metrics(self) -> dict[str, Metric]:
        """One mean per number, grouped by category."""
        return {name: MeanScore(GROUPS) for name in self.charts}

    def measure(self, segments: list[Segment], metrics: dict[str, Metric], keep: bool) -> None:
        """Score every segment; musical scores only where the truth is known."""
        for segment in segments:
            group, rate = segment.clip.category, segment.clip.sample_rate_hz
            level_db = relative_level_db(segment.stem_N, segment.target_N, rate)
            metrics["loudness_db"].update(level_db, group)
            metrics["loudness_error_db"].update(abs(level_db), group)
            metrics["silence_rate"].update(silence_rate(segment.stem_N, rate), group)
            if segment.annotations is None:
                continue
            metrics["phase_lock"].update(self._against_truth(_phase_lock, segment), group)
            if segment.annotations.chords and segment.clip.instrument not in UNPITCHED:
                metrics["chord_tone_share"].update(self._against_truth(_chord_tone_share, segment), group)

    def _against_truth(self, score: TruthScore, segment: Segment) -> float:
        """The stem's score: nan where the true stem has none, 0 where only the true stem has one."""
        clip, annotations = segment.clip, segment.annotations
        assert annotations is not None
        key = (score.__name__, clip.identity, segment.start)
        if key not in self._truths:
            self._truths[key] = score(segment.target_N, clip.sample_rate_hz, annotations)
        if math.isnan(self._truths[key]):
            return math.nan
        value = score(segment.stem_N, clip.sample_rate_hz, annotations)
        return 0.0 if math.isnan(value) else value
