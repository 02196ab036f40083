"""The part that callbacks on items share: each item is taken from the module's output once, for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn

from callbacks.metrics_file import MetricsFile
from callbacks.trainer_facts import callbacks_of, is_dry_run
from callbacks.validations import ValidationCallback, iteration_of
from metrics.evaluation.anchors import Reconstructions
from metrics.evaluation.clips import Clip, clips_of
from metrics.lag_copy import horizon_of


class ItemCallback(ValidationCallback):
    """Receives the items of validations and tests; `clips` are those of this process, the first of the plan.

    Args:
        every_n_validations: n: receive items only in every n-th validation (≥ 1).
        max_items: number of items of a validation; None = all.
        max_test_items: number of items of a test; None = all.
    """

    def __init__(self, every_n_validations: int, max_items: int | None, max_test_items: int | None) -> None:
        super().__init__(every_n_validations)
        self.max_items, self.max_test_items = max_items, max_test_items
        self.clips: list[Clip] = []

    @property
    def charts(self) -> dict[str, list[str]]:
        """Title of a chart → patterns of the tags of its lines."""
        return {}

    def accepts(self, clip: Clip) -> bool:
        """Whether this item is received."""
        return True

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        SharedEvaluation.of(trainer)


class SharedEvaluation(Callback):
    """Collects items for all `ItemCallback`s of a trainer, begins the file of their curves and lays out their charts.

    The first of them adds it to the trainer; it has no state for a checkpoint.
    """

    def __init__(self) -> None:
        self._reconstructions: Reconstructions | None = None

    @staticmethod
    def of(trainer: Trainer) -> SharedEvaluation:
        """The instance of this trainer, which is added if there is none yet."""
        for callback in callbacks_of(trainer):
            if isinstance(callback, SharedEvaluation):
                return callback
        callbacks_of(trainer).append(SharedEvaluation())
        return SharedEvaluation.of(trainer)

    def reconstructions(self, trainer: Trainer, pl_module: LightningModule) -> Reconstructions:
        """True stems through the module's codec, kept for the duration of an evaluation, and what else it has beside
        it: a horizon, and in tests what it estimates in one step."""
        if self._reconstructions is None:
            module: Any = pl_module
            player = getattr(module, "accompanist", None)  # of our recipes; others need not have it
            horizon = None if player is None else horizon_of(player())
            estimates = trainer.testing and getattr(module, "estimates", False)
            self._reconstructions = Reconstructions(module.codec, horizon, estimates)
        return self._reconstructions

    def keep(self, trainer: Trainer, pl_module: LightningModule, numbers: dict[str, float]) -> None:
        """Write the numbers of a validation during training to the run's `metrics.csv`, except in a dry run."""
        in_fit = trainer.state.fn == TrainerFn.FITTING
        if trainer.is_global_zero and in_fit and not is_dry_run(trainer):
            _metrics_file(trainer).append(iteration_of(trainer, pl_module), trainer.current_epoch, numbers)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A layout of charts can be written only once, so it is that of all callbacks."""
        lines = {title: tags for callback in _item_callbacks(trainer) for title, tags in callback.charts.items()}
        if trainer.is_global_zero and lines:
            layout = {"model and anchors": {title: ["Multiline", tags] for title, tags in lines.items()}}
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_custom_scalars(layout)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lines of a run that stopped after its last checkpoint are done again; those of another run are kept."""
        if trainer.is_global_zero and not is_dry_run(trainer):
            _metrics_file(trainer).begin(iteration_of(trainer, pl_module))

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._clear(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        _share(outputs, [(callback, callback.max_items) for callback in _item_callbacks(trainer) if callback.due])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._clear(trainer)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._clear(trainer)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        _share(outputs, [(callback, callback.max_test_items) for callback in _item_callbacks(trainer)])

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._clear(trainer)

    def _clear(self, trainer: Trainer) -> None:
        self._reconstructions = None
        for callback in _item_callbacks(trainer):
            callback.clips = []


def _item_callbacks(trainer: Trainer) -> list[ItemCallback]:
    return [callback for callback in callbacks_of(trainer) if isinstance(callback, ItemCallback)]


def _share(outputs: object, limits: Iterable[tuple[ItemCallback, int | None]]) -> None:
    """Give each callback its items, until it has reached its limit.

    The first of a run are among the first of every process.
    """
    wanting = [(callback, limit) for callback, limit in limits if limit is None or len(callback.clips) < limit]
    clips = clips_of(outputs) if wanting else []
    for callback, limit in wanting:
        callback.clips = (callback.clips + [clip for clip in clips if callback.accepts(clip)])[:limit]


def _metrics_file(trainer: Trainer) -> MetricsFile:
    return MetricsFile(Path(trainer.default_root_dir) / "metrics.csv")
