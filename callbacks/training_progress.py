"""The progress of a training run, and its remaining time."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Timer, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from callbacks.pace import Ahead, Mark, Pace, clock, rate, time_left
from callbacks.trainer_facts import callbacks_of

BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{pace}{postfix}]"
DRAW_SECONDS = 0.2


class Bar(Tqdm):
    """A bar over a whole training run, with a given speed and remaining time."""

    pace = ""

    @property
    def format_dict(self) -> dict[str, Any]:
        return {**super().format_dict, "pace": "".join(f", {part}" for part in self.pace.split(", ") if part)}


class TrainingProgress(TQDMProgressBar):
    """One bar over the whole training run with the time left, or a line now and then if there is no terminal.

    The time left follows from the pace of the latest minutes, from the iterations that `max_epochs` or `max_steps`
    leave, and from what a validation takes; `max_time` bounds it. However fast a GPU is, the bar is drawn five times a
    second at most, and the losses in it are read from the GPU only then.

    Args:
        line_seconds: seconds between two lines, if standard output is not a terminal; more than 0.
    """

    def __init__(self, line_seconds: float = 30.0) -> None:
        super().__init__()
        self.line_seconds = line_seconds
        self._pace = Pace()
        self._began = self._paused = self._validation_began = 0.0
        self._validation_seconds: float | None = None
        self._shown = -math.inf

    @property
    def is_enabled(self) -> bool:
        """Whether there are bars."""
        return self._enabled and sys.stdout.isatty()

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The numbers that the recipe shows, read from the device only now; the name of the run is left out."""
        metrics = {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}
        latest = trainer.callback_metrics
        shown = (name for name in getattr(pl_module, "shown", ()) if name in latest)
        return metrics | {name: latest[name].item() for name in shown}

    def init_train_tqdm(self) -> Tqdm:
        position = 2 * self.process_position
        return Bar(disable=self.is_disabled, position=position, dynamic_ncols=True, file=sys.stdout, bar_format=BAR)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._pace, self._began, self._paused = Pace(), time.monotonic(), 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the epoch; the bar is the same for all of them."""
        self.train_progress_bar.set_description(_epoch(trainer), refresh=False)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        seconds, done = time.monotonic() - self._began - self._paused, trainer.fit_loop.total_batch_idx + 1
        self._pace.add(Mark(seconds, done, trainer.global_step))
        if not self._due():
            return
        left = ahead(trainer, self._pace, batch_idx)
        total = None if left.batches is None else done + left.batches
        pace = (time_left(left, self._pace, self._validation_seconds, _limit(trainer)), rate(self._pace))
        self._tell(done, total, ", ".join(filter(None, pace)), self.get_metrics(trainer, pl_module), _epoch(trainer))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's bar would end here."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        done, took = trainer.fit_loop.total_batch_idx + 1, clock(time.monotonic() - self._began)
        self._tell(done, done, rate(self._pace), self.get_metrics(trainer, pl_module), f"trained for {took}")
        super().on_train_end(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_start(trainer, pl_module)
        self._validation_began = time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        if not trainer.sanity_checking:
            self._validation_seconds = time.monotonic() - self._validation_began
            self._paused += self._validation_seconds

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        super().on_validation_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)
        what = "sanity check" if trainer.sanity_checking else "validation"
        self._tell_batch(what, batch_idx, self.total_val_batches_current_dataloader)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        super().on_test_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)
        self._tell_batch("test", batch_idx, self.total_test_batches_current_dataloader)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        super().on_predict_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)
        self._tell_batch("predict", batch_idx, self.total_predict_batches_current_dataloader)

    def _due(self) -> bool:
        """Whether it is time to draw or write; if so, the next time is set."""
        now = time.monotonic()
        due = self._enabled and now - self._shown >= (DRAW_SECONDS if self.is_enabled else self.line_seconds)
        self._shown = now if due else self._shown
        return due

    def _tell(self, done: int, total: int | None, pace: str, metrics: dict[str, Any], where: str) -> None:
        if self.is_enabled:
            bar = self.train_progress_bar
            assert isinstance(bar, Bar)
            bar.n, bar.total, bar.pace = done, total, pace
            bar.set_postfix(metrics)
        elif self._enabled:
            numbers = [f"{name} {value:.4g}" for name, value in metrics.items() if isinstance(value, int | float)]
            _write(", ".join([where, f"iteration {done}{_of(total)}", *filter(None, [pace]), *numbers]))

    def _tell_batch(self, what: str, batch_idx: int, total: float) -> None:
        if not self.is_enabled and self._due():
            _write(f"{what}, batch {batch_idx + 1}{_of(total)}")


def ahead(trainer: Trainer, pace: Pace, batch_idx: int) -> Ahead:
    """The remaining work at the end of a batch, before a validation that may follow it."""
    ends: list[float] = []
    if trainer.max_epochs not in (None, -1):
        ends.append((trainer.max_epochs - trainer.current_epoch) * trainer.num_training_batches - batch_idx - 1)
    if trainer.max_steps != -1 and pace.steps_per_batch > 0:
        ends.append(math.ceil((trainer.max_steps - trainer.global_step) / pace.steps_per_batch))
    left = min(ends, default=math.inf)
    if math.isinf(left):
        return Ahead(None, 0)
    # those that begin after a batch; how many there are is not known where they go by the clock
    every = (trainer.val_check_batch or math.inf) * (trainer.check_val_every_n_epoch or 1)
    before = trainer.fit_loop.total_batch_idx
    validations = (before + 1 + left) // every - before // every if trainer.enable_validation else 0
    return Ahead(int(left), 0 if math.isnan(validations) else int(validations))


def _limit(trainer: Trainer) -> float | None:
    """Seconds until `max_time`."""
    timers = [callback.time_remaining() for callback in callbacks_of(trainer) if isinstance(callback, Timer)]
    return min((seconds for seconds in timers if seconds is not None), default=None)


def _epoch(trainer: Trainer) -> str:
    last = trainer.max_epochs if trainer.max_epochs not in (None, -1) else None
    return f"epoch {trainer.current_epoch + 1}{_of(last)}"


def _of(total: float | None) -> str:
    return "" if total is None or math.isinf(total) else f" of {total:.0f}"


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
