"""What all monitors share: items in, two segments, anchors beside the curve, numbers out."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from torchmetrics import Metric

from callbacks.anchors import LATENT_NOISE, anchor_stems, identity_of, load_states, save_states
from callbacks.clips import Clip, Stem, Take, clips_of, first_of_run, takes_of
from callbacks.metrics_file import MetricsFile
from callbacks.validations import ValidationCallback, iteration_of
from livejam.codecs.codec import codec_identity
from livejam.processes import gathered
from metrics.intervals import UNKNOWN, Interval, SongRows
from metrics.results import ANCHORS

MODEL = "model"

PROTOCOL = "both segments of the same items, the reference cut likewise"
"""What the numbers of all monitors depend on; anchors that were kept under another protocol are not looked at."""

Metrics = dict[str, Metric]
"""What one row is measured with."""


@dataclass(frozen=True)
class Result:
    """One number of the table.

    Args:
        value: of the first segment.
        drift: second segment minus first, over items that have both.
        count: how many items the value stands for.
        drift_count: how many the drift stands for.
        interval: where the value would lie, had other songs been drawn; only in test.
        drift_interval: the same of the drift.
    """

    value: float
    drift: float
    count: int
    drift_count: int
    interval: Interval = UNKNOWN
    drift_interval: Interval = UNKNOWN


class Monitor(ValidationCallback, ABC):
    """Measures what a recipe's validation and test steps return, and the anchors, by the LiveBand protocol.

    Of every item the first segment is reported; the drift is the second segment's number minus the first's of the
    same items. In validation it logs `val/<metric>`, `val/<metric>/drift`, the `/count` of both,
    `val/<metric>/<category>` and `anchor/<row>/<metric>`; in test `test/…`, and leaves all rows in `results`. Numbers
    that are undefined are not logged. Anchors are computed once per items, settings and codec and kept on disk. What a
    validation logs while fitting also goes to `metrics.csv` in the trainer's root, whatever logger is used; not in a
    dry `fast_dev_run`.

    In test every number gets a 95 % interval over songs.

    Args:
        every_n_validations: measure in every n-th validation only (≥ 1).
        max_items: items measured in validation, the first of the plan; None = all.
        max_test_items: items measured in test, the first of the plan; None = all.
        segment_seconds: length of a segment in seconds.
        cache_folder: where anchors and beats are kept; None = `cache` in the trainer's root.
    """

    def __init__(
        self,
        every_n_validations: int,
        max_items: int | None,
        max_test_items: int | None,
        segment_seconds: float,
        cache_folder: str | None,
    ) -> None:
        super().__init__(every_n_validations)
        self.segment_seconds = segment_seconds
        self.max_items, self.max_test_items = max_items, max_test_items
        self.cache_folder = Path(cache_folder) if cache_folder is not None else None
        self.results: dict[str, dict[str, Result]] = {}
        self.items: list[list[str | int | float | None]] = []
        self._clips: list[Clip] = []
        self._logged: dict[str, float] = {}

    @property
    @abstractmethod
    def identity(self) -> str:
        """Names the measurement and its settings; equal identities give equal numbers for equal audio."""

    @property
    @abstractmethod
    def charts(self) -> list[str]:
        """Metrics that get a chart with their anchors."""

    @abstractmethod
    def new_metrics(self) -> Metrics:
        """Fresh metrics for one row."""

    @abstractmethod
    def measure(self, takes: list[Take], metrics: Metrics, keep: bool) -> None:
        """Update the metrics of a row with its stems; `keep` says that these stems will come again."""

    @abstractmethod
    def read(self, metrics: Metrics) -> dict[str, Result]:
        """The numbers of a row by the name under which they are logged; of all processes."""

    def accepts(self, clip: Clip) -> bool:
        """Whether this item is measured at all."""
        return True

    @property
    def state_key(self) -> str:
        return self._generate_state_key(identity=self.identity)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.cache_folder is None:
            self.cache_folder = Path(trainer.default_root_dir) / "cache"

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The first monitor draws up the charts of all: a layout can be written only once."""
        monitors = [callback for callback in trainer.callbacks if isinstance(callback, Monitor)]
        if monitors[0] is not self or not trainer.is_global_zero:
            return
        lines = {name: ["Multiline", [f"^val/{name}$", f"^anchor/.*/{name}$"]] for m in monitors for name in m.charts}
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_custom_scalars({"model and anchors": lines})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lines of a run that stopped after its last checkpoint are done again; those of another run are kept."""
        monitors = [callback for callback in trainer.callbacks if isinstance(callback, Monitor)]
        if monitors[0] is self and trainer.is_global_zero and not trainer.fast_dev_run:
            _metrics_file(trainer).begin(iteration_of(trainer, pl_module))

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_epoch_start(trainer, pl_module)
        self._clips = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._due:
            self._collect(outputs, self.max_items)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._due:
            return
        results = self._evaluate(trainer, pl_module, self.max_items, intervals=False)
        self._log(pl_module, "val", results[MODEL])
        for row in ANCHORS:
            for name in self.charts:
                self._log_number(pl_module, f"anchor/{row}/{name}", results[row][name].value)
        in_fit = trainer.state.fn == TrainerFn.FITTING
        if trainer.is_global_zero and in_fit and not trainer.fast_dev_run:
            _metrics_file(trainer).append(iteration_of(trainer, pl_module), trainer.current_epoch, self._logged)
        self._logged = {}

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._clips = []

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._collect(outputs, self.max_test_items)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.results = self._evaluate(trainer, pl_module, self.max_test_items, intervals=True)
        self._log(pl_module, "test", self.results[MODEL])
        self._logged = {}

    def _collect(self, outputs: Any, limit: int | None) -> None:
        accepted = [clip for clip in clips_of(outputs) if self.accepts(clip)]
        # the first of a run are among the first of every process
        self._clips = (self._clips + accepted)[:limit]

    def _log(self, pl_module: LightningModule, stage: str, results: dict[str, Result]) -> None:
        for name, result in results.items():
            self._log_number(pl_module, f"{stage}/{name}", result.value)
            if name in self.charts:
                self._log_number(pl_module, f"{stage}/{name}/drift", result.drift)
                self._log_number(pl_module, f"{stage}/{name}/count", float(result.count))
                self._log_number(pl_module, f"{stage}/{name}/drift/count", float(result.drift_count))

    def _log_number(self, pl_module: LightningModule, name: str, value: float) -> None:
        """Log a number that is the same on all ranks already."""
        if not math.isnan(value):
            pl_module.log(name, value, on_step=False, on_epoch=True, sync_dist=True)
            self._logged[name] = value

    def _evaluate(
        self, trainer: Trainer, pl_module: LightningModule, limit: int | None, intervals: bool
    ) -> dict[str, dict[str, Result]]:
        """Results per row; every rank, also one without items, issues the same collectives in the same order."""
        self._clips = first_of_run(self._clips, limit)
        self.items = sorted((item for own in gathered([c.place for c in self._clips]) for item in own), key=str)
        played: list[Stem | None] = [Stem(clip.generated_N, clip.song, clip.broken) for clip in self._clips]
        rows = {MODEL: self._measured(played, False, intervals), **self._anchors(pl_module, intervals)}
        if trainer.world_size > 1:
            # The processes' sums meet on the device that they communicate with.
            for metric in _flat(rows).values():
                metric.to(pl_module.device)
        self._clips = []
        with warnings.catch_warnings():
            # Metrics restored from disk were never updated by this process.
            warnings.filterwarnings("ignore", message=".*method of metric .* was called before.*")
            return {row: self.read(metrics) for row, metrics in rows.items()}

    def _empty(self, intervals: bool) -> Metrics:
        """Fresh metrics that keep songs where intervals are wanted."""
        metrics = self.new_metrics()
        for metric in metrics.values():
            if intervals and isinstance(metric, SongRows):
                metric.keep_songs()
        return metrics

    def _measured(self, stems: list[Stem | None], keep: bool, intervals: bool) -> Metrics:
        """Metrics of a row, with this process's items only."""
        metrics = self._empty(intervals)
        self.measure(takes_of(self._clips, stems, self.segment_seconds), metrics, keep)
        return metrics

    def _anchors(self, pl_module: LightningModule, intervals: bool) -> dict[str, Metrics]:
        """Metrics of every anchor row, from disk where these items were measured before."""
        codec: Any = pl_module.codec
        key = identity_of(
            type(self).__name__,
            PROTOCOL,
            self.identity,
            *self.charts,
            str(self.segment_seconds),
            "songs" if intervals else "sums",
            f"noise {LATENT_NOISE}",
            codec_identity(codec),
            *(part for clip in self._clips for part in (clip.identity, clip.pairing)),
        )
        assert self.cache_folder is not None
        path = self.cache_folder / "anchors" / f"{key}.safetensors"
        rows = {row: self._empty(intervals) for row in ANCHORS}
        if not load_states(path, _flat(rows)):
            stems = {row: anchor_stems(row, self._clips, codec) for row in ANCHORS}
            rows = {row: self._measured(stems[row], True, intervals) for row in ANCHORS}
            save_states(path, _flat(rows))
        return rows


def _metrics_file(trainer: Trainer) -> MetricsFile:
    return MetricsFile(Path(trainer.default_root_dir) / "metrics.csv")


def _flat(rows: dict[str, Metrics]) -> Metrics:
    """Every metric by a name of its own."""
    return {f"{row}/{name}": metric for row, metrics in rows.items() for name, metric in metrics.items()}
