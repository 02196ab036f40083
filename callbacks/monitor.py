"""What all monitors share: a measure with its settings, numbers for the logs, and rows for the table."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer

from callbacks.shared_evaluation import ItemCallback, SharedEvaluation
from metrics.anchor_rows import anchor_tag
from metrics.evaluation.clips import Clip
from metrics.evaluation.evaluate import Outcome, Task, evaluate
from metrics.evaluation.measure import Measure, Result
from metrics.evaluation.protocols import Protocol


class Monitor(ItemCallback):
    """Measures the output of a recipe's validation and test steps, and the anchors, by the LiveBand protocol.

    The value is that of every item's first segment; the drift is the second segment's value minus the first's, for the
    same items. In validation it logs `val/<metric>`, `val/<metric>/drift`, the `/count` of both,
    `val/<metric>/<category>` and `anchor/<row>/<metric>`; in test `test/…`, and leaves all rows in `results`. Undefined
    numbers are not logged. Anchors are computed once for each set of items, settings and codec, and kept on disk.
    Numbers that a validation logs during training also go to `metrics.csv` in the trainer's root, with any logger, but
    not in a dry `fast_dev_run`.

    In test every number gets a 95 % interval over songs.

    Args:
        measure: the measure.
        every_n_validations: n: measure only in every n-th validation (≥ 1).
        max_items: number of items in validation, the first of the plan; None = all.
        max_test_items: number of items in test, the first of the plan; None = all.
        segment_seconds: length of a segment in seconds.
        cache_folder: the folder for anchors and beats; None = `cache` in the trainer's root.
        protocol: what is done to recordings before; None = nothing.
        test_measure: the measure in tests; None = the same.
    """

    def __init__(
        self,
        measure: Measure,
        every_n_validations: int,
        max_items: int | None,
        max_test_items: int | None,
        segment_seconds: float,
        cache_folder: str | None,
        protocol: Protocol | None = None,
        test_measure: Measure | None = None,
    ) -> None:
        super().__init__(every_n_validations, max_items, max_test_items)
        self.measure, self.test_measure = measure, test_measure or measure
        self.segment_seconds, self.protocol = segment_seconds, protocol or Protocol()
        self.cache_folder = Path(cache_folder) if cache_folder is not None else None
        self.outcome: Outcome | None = None

    @property
    def charts(self) -> dict[str, list[str]]:
        """One per number of a validation: the model, and its anchors."""
        return {name: [f"^val/{name}$", f"^{anchor_tag('.*', name)}$"] for name in self.measure.charts}

    @property
    def results(self) -> dict[str, dict[str, Result]]:
        """Per row, `metrics.evaluation.evaluate.MODEL` and the anchors, what the last test said; empty before."""
        return {} if self.outcome is None else self.outcome.rows

    @property
    def state_key(self) -> str:
        return self._generate_state_key(identity=self.measure.identity)

    def accepts(self, clip: Clip) -> bool:
        """Whether the measure does."""
        return self.measure.accepts(clip)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if self.cache_folder is None:
            self.cache_folder = Path(trainer.default_root_dir) / "cache"

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.due:
            return
        shared = SharedEvaluation.of(trainer)
        task = self.task(self.measure, self.max_items)
        outcome = evaluate(task, shared.reconstructions(trainer, pl_module), intervals=False)
        numbers = {**outcome.curves("val"), **outcome.anchor_curves()}
        log(pl_module, numbers)
        shared.keep(trainer, pl_module, numbers)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        task = self.task(self.test_measure, self.max_test_items)
        self.outcome = evaluate(task, SharedEvaluation.of(trainer).reconstructions(trainer, pl_module))
        log(pl_module, self.outcome.curves("test"))

    def task(self, measure: Measure, limit: int | None) -> Task:
        """A measure, applied to the items that were collected."""
        assert self.cache_folder is not None
        folder = self.cache_folder / "anchors"
        return Task(measure, self.clips, limit, self.segment_seconds, folder, self.protocol)


def log(pl_module: LightningModule, numbers: dict[str, float]) -> None:
    """Log numbers that are the same on all ranks already."""
    for name, value in numbers.items():
        pl_module.log(name, value, on_step=False, on_epoch=True, sync_dist=True)
