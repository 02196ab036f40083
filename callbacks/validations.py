"""What callbacks share: the validations in which they work, the iteration, and the loggers for sound and pictures."""

from __future__ import annotations

from typing import Any

from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import WarningCache  # type: ignore[attr-defined]  # not in its __all__

from callbacks.media import takes_media


class ValidationCallback(Callback):
    """Works in every n-th validation during training, and in every one otherwise; the count is in the checkpoint.

    Args:
        every_n_validations: n (≥ 1).

    Attributes:
        due: whether it works in the current validation.
    """

    def __init__(self, every_n_validations: int) -> None:
        self.every_n_validations = every_n_validations
        self.due = False
        self._validations = 0
        self._said = WarningCache()

    def state_dict(self) -> dict[str, Any]:
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._validations = state_dict["validations"]

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        in_fit = trainer.state.fn == TrainerFn.FITTING
        self.due = not trainer.sanity_checking and (not in_fit or self._validations % self.every_n_validations == 0)
        self._validations += in_fit and not trainer.sanity_checking

    def media_loggers(self, trainer: Trainer, what: str) -> list[Logger]:
        """Those of the trainer's loggers that take sounds and pictures; that there is none is said once.

        Args:
            trainer: the trainer that has the loggers.
            what: what is lost without one.
        """
        taking = [logger for logger in trainer.loggers if takes_media(logger)]
        if not taking:
            message = f"no logger in use takes sounds and pictures, as TensorBoard's does, so {what} logged"
            self._said.warn(message, category=PossibleUserWarning)
        return taking


def logged_step(trainer: Trainer, pl_module: LightningModule) -> int:
    """Where loggers draw what belongs to a validation: in training, beside its numbers.

    Lightning counts the batches before the last one there. What has the number of the next batch would be hidden by a
    run that goes on from here.
    """
    if trainer.state.fn == TrainerFn.FITTING:
        return trainer.fit_loop.epoch_loop._batches_that_stepped
    return iteration_of(trainer, pl_module)


def iteration_of(trainer: Trainer, pl_module: LightningModule) -> int:
    """The recipe's own iteration, if it has one; `global_step` counts every optimiser."""
    return int(getattr(pl_module, "iteration", trainer.global_step))
