"""Beat F1: does the accompaniment keep the musician's time?"""

from __future__ import annotations

import math

from lightning.pytorch import LightningModule, Trainer

from callbacks.clips import Clip, Segment, known_categories
from callbacks.score_monitor import ScoreMonitor, Scores
from metrics.beat_tracking import CachedBeatTracker
from metrics.beats import BeatTracker, Floats, MadmomRNN, beat_f_measure


class BeatF1Monitor(ScoreMonitor):
    """Tracks beats on the stems alone and compares them, ±70 ms, one to one, without trimming.

    `beat_f1` is LiveBand's and StreamMusicGen's beat alignment: beats of the stem against beats tracked on the mix.
    `beat_f1_truth` compares with the true beats where they are known. Both have a breakdown per category. Trackers
    err by octaves on stems without drums: read `beat_f1_truth/Percussive` first.

    A test also listens to mix and stem together: `beat_f1_together` and `beat_f1_together_truth` say whether the
    beat that an audience hears is still the musician's. Validations, which have to be cheap, do without.

    Each segment is tracked on its own, as if nothing had been played before or after.

    Args:
        tracker: finds the beats; None = `metrics.beats.MadmomRNN`.
        categories: names of the categories that are tracked, such as Percussive; None = all.
        workers: processes that track; 0 = this one, which tracks at about thirty times real time on one core.
        every_n_validations: measure in every n-th validation only (≥ 1).
        max_items: items measured in validation, the first of the plan; None = all.
        max_test_items: items measured in test, the first of the plan; None = all.
        segment_seconds: length of a segment in seconds.
        cache_folder: where anchors and beats are kept; None = `cache` in the trainer's root.
        together: whether a test listens to mix and stem together too, for as long again.
    """

    def __init__(
        self,
        tracker: BeatTracker | None = None,
        categories: list[str] | None = None,
        workers: int = 0,
        every_n_validations: int = 1,
        max_items: int | None = 8,
        max_test_items: int | None = None,
        segment_seconds: float = 10.0,
        cache_folder: str | None = None,
        together: bool = True,
    ) -> None:
        super().__init__(every_n_validations, max_items, max_test_items, segment_seconds, cache_folder)
        self.tracker = tracker or MadmomRNN()
        self.categories = known_categories(categories)
        self.workers = workers
        self.together = together
        self._in_test = False
        self.beats = CachedBeatTracker(self.tracker, None, workers)

    @property
    def identity(self) -> str:
        """The tracker's."""
        return self.tracker.identity

    @property
    def charts(self) -> list[str]:
        """Both references, and in a test, if asked for, the same with the mix."""
        return ["beat_f1", "beat_f1_truth", *(["beat_f1_together", "beat_f1_together_truth"] * self._listens_together)]

    @property
    def _listens_together(self) -> bool:
        return self.together and self._in_test

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep beats in the cache folder."""
        super().setup(trainer, pl_module, stage)
        assert self.cache_folder is not None
        self.beats.folder = self.cache_folder / "beats"

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """End worker processes."""
        self.beats.close()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stems alone."""
        super().on_validation_epoch_start(trainer, pl_module)
        self._in_test = False

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stems alone, and with the mix."""
        super().on_test_epoch_start(trainer, pl_module)
        self._in_test = True

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
        if self._listens_together:
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
