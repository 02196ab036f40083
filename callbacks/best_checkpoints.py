"""The checkpoints of the best validations, besides the last one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from callbacks.monitor import Monitor
from callbacks.trainer_facts import callbacks_of
from callbacks.validations import iteration_of
from livejam.errors import UserError


class BestCheckpoints(ModelCheckpoint):
    """Keeps `iteration_<n>.ckpt` of the validations with the best value of one metric, and names the best at the end.

    Every checkpoint of the run carries the name of the best one so far and its value, which `livejam describe` shows.
    Validations in which the metric is not measured or undefined do not count.

    Args:
        metric: tag of the metric in the logs, for example `val/fad/log_mel`.
        mode: `min` where less is better, `max` where more is.
        folder: the folder for the checkpoints.
        keep: number of checkpoints, at least 1.
    """

    def __init__(self, metric: str, mode: Literal["min", "max"], folder: str, keep: int = 1) -> None:
        if keep < 1:
            raise UserError(f"BestCheckpoints keeps {keep} checkpoints; keep must be 1 or more")
        super().__init__(
            dirpath=folder,
            filename="iteration_{iteration:06.0f}",
            monitor=metric,
            mode=mode,
            save_top_k=keep,
            auto_insert_metric_name=False,
            save_on_train_epoch_end=False,  # but when the number is new
            enable_version_counter=False,
        )
        self._metric = metric
        self._known: Tensor | None = None
        self._iteration = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse mistakes that can be found before training: no validation, or a misspelt metric of a monitor.

        Raises:
            UserError: names the mistake, and what was probably meant.
        """
        if not trainer.enable_validation:
            raise UserError(
                f"BestCheckpoints looks at {self._metric}, but nothing is validated; take it out of the YAML"
            )
        promised = _promised(trainer)
        if not _is_among(self._metric, promised) and (meant := get_close_matches(self._metric, promised, 1, 0.8)):
            raise UserError(f"BestCheckpoints looks at {self._metric}, which nothing logs; did you mean {meant[0]}?")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # a number that this validation does not measure stays among the metrics as the former one left it
        self._known = trainer.callback_metrics.get(self._metric)
        self._iteration = iteration_of(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        number = trainer.callback_metrics.get(self._metric)
        if number is None and not _is_among(self._metric, _promised(trainer)):
            raise UserError(_unlogged(self._metric, trainer.callback_metrics))
        if number is not None and number is not self._known and not torch.isnan(number):
            super().on_validation_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """All that was saved: Lightning's own leaves out the number of the last validation."""
        super().load_state_dict(state_dict)
        self.current_score = state_dict["current_score"]

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.best_model_score is not None:
            rank_zero_info(f"best {self._metric}: {float(self.best_model_score):.4g}, {_shown(self.best_model_path)}")

    def _should_remove_checkpoint(self, trainer: Trainer, previous: str, current: str) -> bool:
        """Also the one from which the run went on, which Lightning keeps: a run without a break would not have it."""
        return previous != current

    def _monitor_candidates(self, trainer: Trainer) -> dict[str, Tensor]:
        """What a file may be named after; Lightning's own `step` counts every optimiser."""
        return {**super()._monitor_candidates(trainer), "iteration": torch.tensor(self._iteration)}


def _promised(trainer: Trainer) -> list[str]:
    """What the monitors log unless it is undefined; what a recipe logs is not known before it does."""
    monitors = [callback for callback in callbacks_of(trainer) if isinstance(callback, Monitor)]
    return [f"val/{name}" for monitor in monitors for name in monitor.charts]


def _is_among(metric: str, promised: list[str]) -> bool:
    """Whether it is one of them, or a part of one: its drift, or a category's share."""
    return any(metric == name or metric.startswith(f"{name}/") for name in promised)


def _unlogged(metric: str, logged: Iterable[Any]) -> str:
    numbers = sorted(name for name in map(str, logged) if name.startswith("val/"))
    near = get_close_matches(metric, numbers, 3, 0.4) or numbers[:3]
    instead = f"name one that was, such as {', '.join(near)}" if near else "no number was"
    return f"BestCheckpoints looks at {metric}, which the validation did not log; {instead}"


def _shown(path: str) -> str:
    """As one would type it here."""
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path
