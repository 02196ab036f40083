"""The checkpoint of every so many iterations, from which a run that was killed goes on."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from callbacks.validations import iteration_of
from livejam.errors import UserError


class LastCheckpoint(ModelCheckpoint):
    """Keeps `<folder>/last.ckpt`, one file, written again every n iterations.

    The last iteration of a training is kept as well, also where n does not divide their number.

    Where a validation follows the iteration, it is written after it. Lightning's own callback writes before it, and a
    run that goes on from there never makes up for the validation: its numbers are lost, and with them perhaps the best
    checkpoint and a step of early stopping. Iterations are the recipe's, however many optimisers it has.

    Args:
        folder: where the file lies; the only one of its kind there.
        every_n_iterations: n ≥ 1.
    """

    def __init__(self, folder: str, every_n_iterations: int) -> None:
        if every_n_iterations < 1:
            raise UserError(
                f"LastCheckpoint saves every {every_n_iterations} iterations; every_n_iterations is 1 or more"
            )
        super().__init__(folder, "last", enable_version_counter=False, every_n_train_steps=1)
        self._every_n_iterations = every_n_iterations
        self._after_validation = False

    def state_dict(self) -> dict[str, Any]:
        """Also whether a validation is under way after which it writes: it may be stopped, and begun again."""
        return {**super().state_dict(), "after_validation": self._after_validation}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._after_validation = state_dict.get("after_validation", False)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.fit_loop._should_accumulate() or iteration_of(trainer, pl_module) % self._every_n_iterations:
            return
        data = trainer.fit_loop._data_fetcher
        assert data is not None
        if trainer.fit_loop.epoch_loop._should_check_val_fx(data):
            self._after_validation = True
        else:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._after_validation and trainer.state.fn == TrainerFn.FITTING:
            self._after_validation = False
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))
