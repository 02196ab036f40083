"""Curves in TensorBoard's files, in one place per run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from metrics.anchor_rows import anchor_of

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import ModelCheckpoint
    from torch.utils.tensorboard import SummaryWriter

MODEL = "model"


class RunLogger(TensorBoardLogger):
    """Writes to `tensorboard` in the run's folder, and continues there when the run is resumed.

    TensorBoard colours lines by run and names a run after its folder. So the model's curves are in `model`, and those
    of every anchor in their own folder, such as `ground_truth`, with the same tags as the model's: one chart shows all
    of them.

    TensorBoardLogger's `name` and `version` are not among its arguments. Another logger in its place, as with
    `--trainer.logger WandbLogger`, inherits the arguments that both have, and a version would become its run id, the
    same for every run.

    Args:
        save_dir: the run's folder.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir, name=None, version="tensorboard")
        self._writers: dict[str, SummaryWriter] = {}
        self._repeated_from: int | None = None

    @property
    @rank_zero_experiment
    def experiment(self) -> SummaryWriter:
        """Writer of the model's curves, sounds and pictures."""
        return self._writer(MODEL)

    @rank_zero_only
    def repeat_from(self, step: int) -> None:
        """Hide what an earlier process has logged from a step on, because it is done again.

        Args:
            step: the first one.
        """
        for writer in self._writers.values():
            writer.close()
        self._writers, self._repeated_from = {}, step

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write numbers, those of anchors to their own folders."""
        anchors = {tag: anchor for tag in metrics if (anchor := anchor_of(tag)) is not None}
        super().log_metrics({tag: value for tag, value in metrics.items() if tag not in anchors}, step)
        for tag, (row, name) in anchors.items():
            self._writer(row).add_scalar(f"val/{name}", metrics[tag], step)

    @rank_zero_only
    def save(self) -> None:
        super().save()
        for writer in self._writers.values():
            writer.flush()

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Curves are on disk up to the checkpoint: a run that goes on from it draws the rest."""
        self.save()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        super().finalize(status)
        for writer in self._writers.values():
            writer.close()

    def _writer(self, row: str) -> SummaryWriter:
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        if row not in self._writers:
            self._writers[row] = SummaryWriter(str(Path(self.log_dir) / row), purge_step=self._repeated_from)
        return self._writers[row]
