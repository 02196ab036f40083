"""A signal stops training where nothing is lost: between two iterations, or in a validation, which begins again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from test_whole_runs import RUNS
from toy_latents import make_trainer, same

from callbacks.interrupt_checkpoint import InterruptCheckpoint
from callbacks.validations import ValidationCallback
from livejam.slurm import Stopped

MOMENTS = ("on_before_optimizer_step", "on_train_batch_end", "on_validation_epoch_start", "on_validation_batch_end")
"""In the middle of an iteration; at its end, where a validation follows; and in the validation."""


class Counting(ValidationCallback):
    """Counts validations, as monitors do.

    Args:
        moment: hook in which the process gets a signal; "" = none does.
        batch: index of the batch in which that happens, or which the validation follows.
        number: the signal.
    """

    def __init__(self, moment: str = "", batch: int = -1, number: int = signal.SIGUSR1) -> None:
        super().__init__(every_n_validations=2)
        self.moment, self.batch, self.number = moment, batch, number
        self.judged: list[tuple[int, bool]] = []

    def send(self, trainer: Trainer, moment: str) -> None:
        if moment == self.moment and trainer.fit_loop.epoch_loop.batch_idx == self.batch:
            self.moment = ""
            os.kill(os.getpid(), self.number)

    def on_before_optimizer_step(self, trainer: Trainer, *_: Any) -> None:
        self.send(trainer, "on_before_optimizer_step")

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.send(trainer, "on_train_batch_end")

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        super().on_validation_epoch_start(trainer, pl_module)
        self.send(trainer, "on_validation_epoch_start")

    def on_validation_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        self.send(trainer, "on_validation_batch_end")

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.judged.append((trainer.global_step, self.due))


def fit(name: str, root: Path, counting: Counting, ckpt_path: Path | None = None) -> dict[str, Any]:
    """Train a recipe in miniature, validated three times; what it ended with."""
    run = RUNS[name]
    callbacks = [counting, InterruptCheckpoint()]
    trainer = make_trainer(root, callbacks=callbacks, limit_val_batches=1, val_check_interval=run.batches // 3)
    trainer.fit(run.module(), run.data(), ckpt_path=ckpt_path)
    trainer.save_checkpoint(root / "end.ckpt")
    content: dict[str, Any] = torch.load(root / "end.ckpt", weights_only=True)
    return content


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Whatever a test listens to, nothing listens afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)}
    yield
    assert {number: signal.getsignal(number) for number in before} == before


QUICK = {("R3GAN", "on_before_optimizer_step"), ("FlowMatching", "on_validation_batch_end")}
CASES = [(name, moment) for name in ("R3GAN", "FlowMatching") for moment in MOMENTS]


@pytest.mark.parametrize(
    ("name", "moment"), [case if case in QUICK else pytest.param(*case, marks=pytest.mark.slow) for case in CASES]
)
def test_a_run_goes_on_exactly_from_wherever_a_signal_came(name: str, moment: str, tmp_path: Path) -> None:
    """Also in the last batch of the epoch, which is the last of the run."""
    batches = RUNS[name].batches
    uninterrupted = Counting()
    whole = fit(name, tmp_path / "whole", uninterrupted)
    for batch in (batches // 3 - (2 if moment == MOMENTS[0] else 1), batches - 1):
        root, counting, again = tmp_path / str(batch), Counting(moment, batch), Counting()
        with pytest.raises(Stopped) as stop:
            fit(name, root, counting)
        assert stop.value.code == 128 + signal.SIGUSR1
        kept = torch.load(root / "interrupted.ckpt", weights_only=True)
        assert kept["state_dict"]["iteration"] == batch + 1
        assert kept["global_step"] == (batch + 1) * len(kept["optimizer_states"])
        resumed = fit(name, root, again, root / "interrupted.ckpt")
        assert counting.judged + again.judged == uninterrupted.judged
        for end in (whole, resumed):  # which tells one run from the other
            end["callbacks"].pop("InterruptCheckpoint", None)
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "livejam"):
            assert same(whole[part], resumed[part]), part


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_every_signal_has_the_status_that_a_shell_gives_it(number: int, status: int, tmp_path: Path) -> None:
    with pytest.raises(Stopped) as stop:
        fit("FlowMatching", tmp_path, Counting("on_before_optimizer_step", 2, number))
    assert stop.value.code == status
    assert (tmp_path / "interrupted.ckpt").is_file()
