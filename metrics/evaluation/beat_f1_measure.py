"""Beat F1: does the accompaniment keep the musician's time?"""

from __future__ import annotations

import math
from collections.abc import Collection

from metrics.beat_tracking import CachedBeatTracker, Floats
from metrics.beats import beat_f_measure
from metrics.evaluation.clips import Clip, Segment
from metrics.evaluation.measure import ScoreMeasure, Scores


class BeatF1Measure(ScoreMeasure):
    """Beats tracked on stems against those tracked on the mix, and against the true ones where they are known.

    Each segment is tracked on its own, as if nothing had been played before or after.

    Args:
        beats: tracks, and remembers what it has heard.
        categories: names of the categories that are measured; None = all.
        together: whether mix and stem are listened to together too.
    """

    def __init__(self, beats: CachedBeatTracker, categories: Collection[str] | None, together: bool) -> None:
        self.beats, self.categories, self.together = beats, categories, together

    @property
    def identity(self) -> str:
        """The tracker's."""
        return self.beats.tracker.identity

    @property
    def published(self) -> bool:
        """Whether the tracker is the papers', and tracks all instruments."""
        return self.beats.tracker.published and self.categories is None

    @property
    def charts(self) -> list[str]:
        """Both references, and if asked for the same with the mix."""
        return ["beat_f1", "beat_f1_truth", *(["beat_f1_together", "beat_f1_together_truth"] * self.together)]

    def accepts(self, clip: Clip) -> bool:
        """Only the categories asked for."""
        return self.categories is None or clip.instrument in self.categories

    def scores(self, segments: list[Segment], keep: bool) -> list[Scores]:
        """Track mixes and stems; mixes come again in every row and every validation."""
        if not segments:
            return []
        rate = segments[0].clip.sample_rate_hz
        mix_beats = self.beats([segment.mix_N for segment in segments], rate)
        stem_beats = self.beats([segment.stem_N for segment in segments], rate, keep=keep)
        scores = _agreements("beat_f1", segments, mix_beats, stem_beats)
        if self.together:
            together = self.beats([segment.mix_N + segment.stem_N for segment in segments], rate, keep=keep)
            more = _agreements("beat_f1_together", segments, mix_beats, together)
            scores = [alone | both for alone, both in zip(scores, more, strict=True)]
        return scores


def _agreements(name: str, segments: list[Segment], mix: list[Floats], judged: list[Floats]) -> list[Scores]:
    """Of every segment's beats with those of the mix, and with the true ones where they are known."""
    return [
        {
            name: beat_f_measure(reference, beats),
            f"{name}_truth": math.nan
            if segment.annotations is None
            else beat_f_measure(segment.annotations.beats_seconds, beats),
        }
        for segment, reference, beats in zip(segments, mix, judged, strict=True)
    ]
