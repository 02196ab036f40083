"""Stops training on a signal where nothing is lost, and keeps the state there."""

from __future__ import annotations

import os
import signal
import threading
import time
from copy import deepcopy
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from torch import Tensor

from callbacks.trainer_facts import callbacks_of, is_dry_run
from callbacks.validations import iteration_of
from livejam.checkpoints.run_states import BEGAN, JOB, RESTARTS, furthest_first
from livejam.errors import UserError
from livejam.processes import gathered
from livejam.slurm import Stopped, job_id, need_no_requeue, requeue, restarts

FILE = "interrupted.ckpt"
OLDER = "hpc_ckpt_*.ckpt"
"""Lightning's own name for what a SLURM job leaves."""

FIRST_WORDS = (
    b"stopping after this iteration, or this item of a validation; Ctrl-C again stops at once and saves nothing\n"
)


class InterruptCheckpoint(Callback):
    """Saves `<default_root_dir>/interrupted.ckpt` when training is stopped, and ends the run.

    SIGUSR1, SIGTERM and Ctrl-C only leave a note. At the end of an iteration, or of an item of a validation, all
    processes agree on what has been noted, save together and stop; SIGUSR1 also puts a SLURM job back into the queue,
    unless its environment's `auto_requeue` is false. So the state is always one between two iterations. A validation
    is begun again when training goes on.

    An error saves as well, unless it came within an iteration after the first backward pass, from where nothing could
    go on exactly, or there are other processes, which would wait at the barrier of saving. A
    `ModelCheckpoint(save_on_exception=True)` is left to do that by itself.

    When a later checkpoint of the run is complete, the older `interrupted.ckpt` and `hpc_ckpt_*.ckpt` are deleted.

    It comes last among the callbacks, so that the others have finished the iteration; the `lightning` command puts it
    there.
    """

    def __init__(self) -> None:
        self._noted = 0
        self._former: dict[int, Any] = {}
        self._whole = False
        self._before_validation: dict[str, Any] | None = None
        self._validated = 0
        self._saving = False
        self._first_step = 0
        self._superseded: list[Path] = []
        self._began = time.time()

    def state_dict(self) -> dict[str, Any]:
        """What tells the checkpoints of this run from those of another one in the same folder."""
        job = job_id()
        return {BEGAN: self._began} | ({JOB: job, RESTARTS: restarts()} if job is not None else {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._began = state_dict.get(BEGAN, 0.0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_dry_run(trainer):
            return
        if _is_elsewhere(trainer.ckpt_path, trainer):
            self._began = time.time()
        self._listen(trainer)
        self._whole, self._first_step = True, trainer.global_step
        root, done = Path(trainer.default_root_dir), iteration_of(trainer, pl_module)
        if trainer.is_global_zero:
            states, _ = furthest_first([*root.glob(FILE), *root.glob(OLDER)])
            self._superseded = [state.path for state in states if state.iteration <= done]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._delete_superseded(trainer)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        self._whole = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._whole = True
        if _goes_on(trainer):
            self._stop_if_told(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            states = ((callback.state_key, callback.state_dict()) for callback in callbacks_of(trainer))
            self._before_validation = deepcopy({key: state for key, state in states if state})
            # an item that was begun before training was stopped is not counted twice
            total: Any = trainer.fit_loop.epoch_loop.val_loop.batch_progress.total
            total.ready = total.started = total.completed
            self._validated = total.completed

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._stop_validation_if_told(trainer, pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._stop_validation_if_told(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._before_validation = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._saving and self._before_validation is not None:
            checkpoint["callbacks"] = self._before_validation
            _begin_validation_again(checkpoint["loops"]["fit_loop"], self._validated)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._delete_superseded(trainer)
        self._stop_listening()
        need_no_requeue()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        trained = trainer.state.fn == TrainerFn.FITTING and trainer.global_step > 0
        covered = any(getattr(callback, "save_on_exception", False) for callback in trainer.checkpoint_callbacks)
        stopped = isinstance(exception, Stopped)
        if trained and self._whole and trainer.world_size == 1 and not (stopped or covered or is_dry_run(trainer)):
            self._save_after_error(trainer)
        self._stop_listening()

    def _listen(self, trainer: Trainer) -> None:
        """Take the place of the handlers that there are, Lightning's among them, which save at once."""
        self._noted = 0
        if threading.current_thread() is threading.main_thread():
            for number in {_requeue_signal(trainer), signal.SIGTERM, signal.SIGINT}:
                self._former[number] = signal.signal(number, self._note)

    def _stop_listening(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._noted:
            raise KeyboardInterrupt
        self._noted = max(self._noted, number)
        # the workers of a loader get the signal as well; PyTorch would raise an error here for those that it killed
        self._former.setdefault(signal.SIGCHLD, signal.signal(signal.SIGCHLD, signal.SIG_DFL))
        if number == signal.SIGINT and rank_zero_only.rank == 0:  # type: ignore[attr-defined]  # set by Lightning
            os.write(2, FIRST_WORDS)

    def _stop_validation_if_told(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # after the last of max_steps nothing would begin this validation again
        ends = trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps
        if self._before_validation is not None and not ends:
            self._stop_if_told(trainer, pl_module)

    def _stop_if_told(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save and stop, if any process was told to; all of them call this."""
        if is_dry_run(trainer) or not trainer.strategy.reduce_boolean_decision(self._noted > 0, all=False):
            return
        number = signal.Signals(max(gathered(self._noted)))
        if self._before_validation is None:
            # Lightning logs an iteration after its callbacks, and nothing does it again
            trainer._logger_connector.update_train_step_metrics()
        path = self._save(trainer)
        for logger in trainer.loggers:
            logger.save()
        what = f"{number.name}: iteration {iteration_of(trainer, pl_module)} is saved in {path}"
        if number == _requeue_signal(trainer) and _requeues(trainer):
            self._requeue(trainer, what)
        else:
            rank_zero_info(f"{what}; continue with the same command and --ckpt_path last")
        raise Stopped(number, trainer.is_global_zero)

    def _requeue(self, trainer: Trainer, what: str) -> None:
        """Put the job back into the queue, before any task ends: SLURM may end the others with it."""
        refused = requeue() if trainer.is_global_zero else None
        if refused is not None:
            raise UserError(
                f"{what}, but the job could not be requeued ({refused}); submit it again with --ckpt_path last"
            )
        rank_zero_info(f"{what}, and the job is requeued")
        trainer.strategy.barrier()

    def _save(self, trainer: Trainer) -> Path:
        path = Path(trainer.default_root_dir) / FILE
        self._saving = True
        try:
            trainer.save_checkpoint(path, weights_only=False)
        finally:
            self._saving = False
        return path

    def _save_after_error(self, trainer: Trainer) -> None:
        try:
            path = self._save(trainer)
        except UserError as error:  # it must not take the place of what stopped training
            rank_zero_info(f"training stopped, and its state could not be saved: {error}")
        else:
            rank_zero_info(f"training stopped; continue with the same command and --ckpt_path {path}")

    def _delete_superseded(self, trainer: Trainer) -> None:
        keepers = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
        if any(
            keeper._last_global_step_saved > self._first_step and not keeper.save_weights_only for keeper in keepers
        ):
            for path in self._superseded:
                path.unlink(missing_ok=True)
            self._superseded = []


def _is_elsewhere(checkpoint: Path | str | None, trainer: Trainer) -> bool:
    """Whether it lies outside of the run's folder, where another run left it."""
    root = Path(trainer.default_root_dir).resolve()
    return checkpoint is not None and not Path(checkpoint).resolve().is_relative_to(root)


def _goes_on(trainer: Trainer) -> bool:
    """Whether the next thing is another iteration of this epoch.

    Lightning does not go on exactly from the end of a batch that completes an epoch, or that a validation follows.
    There, the validation's first item or the next epoch's first batch is the place to stop.
    """
    loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    assert fetcher is not None
    return not (loop._is_training_done or loop._should_accumulate() or loop._should_check_val_fx(fetcher))


def _begin_validation_again(fit_loop: dict[str, Any], validated: int) -> None:
    """Let the loops of a checkpoint go on with the first item of a validation, none of whose numbers are kept.

    Args:
        fit_loop: their state; changed in place.
        validated: items of this epoch's earlier validations.
    """
    progress = fit_loop["epoch_loop.val_loop.batch_progress"]
    for name, done in (("total", validated), ("current", 0)):
        # Lightning knows a validation that was left by an item that was begun and not processed
        progress[name] = {"ready": done + 1, "started": done + 1, "processed": done, "completed": done}
    progress["is_last_batch"] = False


def _environment(trainer: Trainer) -> SLURMEnvironment | None:
    environment = trainer._accelerator_connector.cluster_environment
    return environment if isinstance(environment, SLURMEnvironment) else None


def _requeue_signal(trainer: Trainer) -> int:
    environment = _environment(trainer)
    return (environment.requeue_signal if environment else None) or signal.SIGUSR1


def _requeues(trainer: Trainer) -> bool:
    environment = _environment(trainer)
    return environment is not None and environment.auto_requeue and job_id() is not None
