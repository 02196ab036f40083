"""Beat F1: does the accompaniment keep the musician's time?"""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
from torchmetrics import Metric

from callbacks.clips import Clip, Segment, known_categories
from callbacks.monitor import GROUPS, Monitor
from metrics.beat_tracking import CachedBeatTracker
from metrics.beats import BeatF1, BeatTracker, MadmomRNN


class BeatF1Monitor(Monitor):
    """Tracks beats on the stems alone and compares them, ±70 ms, one to one, without trimming.

    `beat_f1` is LiveBand's and StreamMusicGen's beat alignment: beats of the stem against beats tracked on the mix.
    `beat_f1_truth` compares with the true beats where they are known. Both have a breakdown per category. Trackers
    err by octaves on stems without drums: read `beat_f1_truth/Percussive` first.

    Each segment is tracked on its own, as if nothing had been played before or after.

    Args:
        tracker: finds the beats; None = `metrics.beats.MadmomRNN`.
        categories: names of the categories that are tracked, such as Percussive; None = all.
        workers: processes that track; 0 = this one, which tracks at about thirty times real time on one core.
        every_n_validations: measure in every n-th validation only (≥ 1).
        max_items: items measured in validation, per process; None = all.
        max_test_items: items measured in test, per process; None = all.
        segment_seconds: length of a segment in seconds.
        cache_folder: where anchors and beats are kept; None = `cache` in the trainer's root.
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
    ) -> None:
        super().__init__(every_n_validations, max_items, max_test_items, segment_seconds, cache_folder)
        self.tracker = tracker or MadmomRNN()
        self.categories = known_categories(categories)
        self.workers = workers
        self.beats = CachedBeatTracker(self.tracker, None, workers)

    @property
    def identity(self) -> str:
        """The tracker's."""
        return self.tracker.identity

    @property
    def charts(self) -> list[str]:
        """Both references."""
        return ["beat_f1", "beat_f1_truth"]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep beats in the cache folder."""
        super().setup(trainer, pl_module, stage)
        assert self.cache_folder is not None
        self.beats.folder = self.cache_folder / "beats"

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """End worker processes."""
        self.beats.close()

    def accepts(self, clip: Clip) -> bool:
        """Only the categories asked for."""
        return self.categories is None or clip.instrument in self.categories

    def new_metrics(self) -> dict[str, Metric]:
        """One F1 per reference, grouped by category."""
        return {name: BeatF1(GROUPS) for name in self.charts}

    def measure(self, segments: list[Segment], metrics: dict[str, Metric], keep: bool) -> None:
        """Track mixes and stems; mixes come again in every row and every validation."""
        if not segments:
            return
        rate = segments[0].clip.sample_rate_hz
        mix_beats = self.beats([segment.mix_N for segment in segments], rate)
        stem_beats = self.beats([segment.stem_N for segment in segments], rate, keep=keep)
        for segment, mix, stem in zip(segments, mix_beats, stem_beats, strict=True):
            clip = segment.clip
            metrics["beat_f1"].update(mix, stem, clip.category, clip.song)
            if segment.annotations is not None:
                metrics["beat_f1_truth"].update(segment.annotations.beats_seconds, stem, clip.category, clip.song)
