"""Keeps a last checkpoint when training is stopped half-way."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info

from callbacks.trainer_facts import is_dry_run


class InterruptCheckpoint(Callback):
    """Saves `<default_root_dir>/interrupted.ckpt` on Ctrl-C or on an error during training.

    An error on one rank only saves nothing, because the other ranks would wait for it at the barrier of saving. Ctrl-C
    reaches every rank. Nothing is saved if a `ModelCheckpoint(save_on_exception=True)` does so already.
    """

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        trained = trainer.state.fn == TrainerFn.FITTING and trainer.global_step > 0
        together = trainer.world_size == 1 or isinstance(exception, KeyboardInterrupt)
        covered = any(getattr(callback, "save_on_exception", False) for callback in trainer.checkpoint_callbacks)
        if not (trained and together) or covered or is_dry_run(trainer):
            return
        path = Path(trainer.default_root_dir) / "interrupted.ckpt"
        trainer.save_checkpoint(path, weights_only=False)
        rank_zero_info(f"training stopped; continue with the same command and --ckpt_path {path}")
