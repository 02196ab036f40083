"""Beat F1: does the accompaniment keep the musician's beat?"""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer

from callbacks.monitor import Monitor
from metrics.beat_tracking import BeatTracker, CachedBeatTracker
from metrics.beats import MadmomRNN
from metrics.evaluation.beat_f1_measure import BeatF1Measure
from metrics.evaluation.clips import known_categories
from metrics.evaluation.protocols import Protocol


class BeatF1Monitor(Monitor):
    """Tracks beats on the stems alone and compares them one to one, within ±70 ms, without trimming.

    `beat_f1` is LiveBand's and StreamMusicGen's beat alignment: beats of the stem against beats tracked on the mix.
    `beat_f1_truth` compares with the true beats where they are known. Both have a breakdown per category. Trackers
    err by octaves on stems without drums: read `beat_f1_truth/Percussive` first.

    A test also tracks beats on mix and stem together: `beat_f1_together` and `beat_f1_together_truth` say whether the
    audience still hears the musician's beat. Validations leave this out, because they have to be cheap.

    Each segment is tracked on its own, without what comes before and after.

    Args:
        tracker: the beat tracker; None = `metrics.beats.MadmomRNN`.
        categories: names of the categories that are tracked, such as Percussive; None = all.
        workers: number of processes that track; 0 = this one, which tracks at about thirty times real time on one core.
        every_n_validations: n: measure only in every n-th validation (≥ 1).
        max_items: number of items in validation, the first of the plan; None = all.
        max_test_items: number of items in test, the first of the plan; None = all.
        segment_seconds: length of a segment in seconds.
        cache_folder: the folder for anchors and beats; None = `cache` in the trainer's root.
        together: whether a test also tracks mix and stem together, which takes as long again.
        protocol: what is done to recordings before; None = nothing (`metrics.evaluation.protocols`).
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
        protocol: Protocol | None = None,
    ) -> None:
        self.beats = CachedBeatTracker(tracker or MadmomRNN(), None, workers)
        known = known_categories(categories)
        super().__init__(
            BeatF1Measure(self.beats, known, together=False),
            every_n_validations,
            max_items,
            max_test_items,
            segment_seconds,
            cache_folder,
            protocol,
            test_measure=BeatF1Measure(self.beats, known, together),
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep beats in the cache folder."""
        super().setup(trainer, pl_module, stage)
        assert self.cache_folder is not None
        self.beats.folder = self.cache_folder / "beats"

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """End worker processes."""
        self.beats.close()
