"""Curves of a run that was stopped or killed and went on: every point stands there, and once."""

from __future__ import annotations

import functools
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from test_whole_runs import RUNS
from toy_latents import make_trainer

from callbacks.interrupt_checkpoint import InterruptCheckpoint
from callbacks.media import log_sound
from callbacks.validations import logged_step
from lightning_modules import RunLogger
from livejam.slurm import Stopped

PLACES = ("on_train_batch_end", "on_validation_end", "on_train_epoch_end")
"""Where checkpoints are saved, each of which Lightning goes on from in a way of its own."""


class Saving(Callback):
    """Saves where it is told, at the end of the third batch or later, and dies two batches after that.

    Args:
        place: hook in which it saves; "" = nowhere.
    """

    def __init__(self, place: str = "") -> None:
        self.place = place
        self.saved = -1

    def save(self, trainer: Trainer, place: str) -> None:
        done = trainer.fit_loop.epoch_loop.batch_progress.total.processed
        if place == self.place and done > 2 and self.saved < 0:
            self.saved = done
            trainer.save_checkpoint(Path(trainer.default_root_dir) / "saved.ckpt")

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.save(trainer, "on_train_batch_end")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for logger in trainer.loggers:
            log_sound(logger, "val/song", np.zeros(8, np.float32), 8000, logged_step(trainer, pl_module))
        self.save(trainer, "on_validation_end")

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        self.save(trainer, "on_train_epoch_end")

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if 0 <= self.saved == trainer.fit_loop.epoch_loop.batch_progress.total.processed - 2:
            raise RuntimeError("killed")


class SignalAfter(Callback):
    """Sends SIGUSR1 in a batch.

    Args:
        batch: index in the first epoch.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_before_optimizer_step(self, trainer: Trainer, *_: Any) -> None:
        epoch, batch = trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_idx
        if (epoch, batch) == (0, self.batch):
            self.batch = -1
            os.kill(os.getpid(), signal.SIGUSR1)


def fit(name: str, root: Path, *callbacks: Callback, ckpt_path: Path | None = None) -> None:
    """Two epochs of six batches, with a validation after every second one."""
    run, settings = RUNS[name], {"max_epochs": 2, "limit_val_batches": 1, "val_check_interval": 2}
    logger = RunLogger(str(root))
    trainer = make_trainer(root, callbacks=list(callbacks), logger=logger, log_every_n_steps=1, **settings)
    trainer.fit(run.module(), run.make_data(batches=6), ckpt_path=ckpt_path)


Points = dict[str, list[tuple[int, float]]]


def drawn(root: Path) -> Points:
    """What TensorBoard shows: tag → (step, value), and the steps of sounds."""
    runs = EventMultiplexer().AddRunsFromDirectory(str(root)).Reload()
    points: Points = {}
    for run, found in runs.Runs().items():
        for tag in found["scalars"]:
            points[tag] = [(event.step, event.value) for event in runs.Scalars(run, tag)]
        for tag in found["audio"]:
            points[tag] = [(event.step, 0.0) for event in runs.Audio(run, tag)]
    return points


@pytest.fixture
def on_another_host(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """TensorBoard reads files in the order of their names: second, host, process, number."""
    return lambda name: monkeypatch.setattr(socket, "gethostname", lambda: name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Points]:
    """What a recipe draws that nothing happens to."""

    @functools.cache
    def points(name: str) -> Points:
        root = tmp_path_factory.mktemp(name)
        fit(name, root, Saving())
        return drawn(root)

    return points


@pytest.mark.parametrize(
    ("name", "place"), [("R3GAN", "on_train_epoch_end"), *(("FlowMatching", place) for place in PLACES)]
)
def test_after_a_kill(
    name: str,
    place: str,
    tmp_path: Path,
    whole: Callable[[str], Points],
    on_another_host: Callable[[str], None],
) -> None:
    """Of a recipe with two optimisers, and of one that leaves its optimiser to Lightning."""
    on_another_host("a")
    with pytest.raises(RuntimeError, match="killed"):
        fit(name, tmp_path / "killed", Saving(place))
    on_another_host("b")
    fit(name, tmp_path / "killed", Saving(), ckpt_path=tmp_path / "killed/saved.ckpt")
    require_same(whole(name), drawn(tmp_path / "killed"))


def test_after_a_signal(tmp_path: Path, whole: Callable[[str], Points], on_another_host: Callable[[str], None]) -> None:
    """In the middle of an epoch, and where a validation follows."""
    name = "FlowMatching"
    for batch in (2, 3):
        root = tmp_path / str(batch)
        on_another_host("a")
        with pytest.raises(Stopped):
            fit(name, root, SignalAfter(batch), Saving(), InterruptCheckpoint())
        on_another_host(f"b{batch}")
        fit(name, root, Saving(), InterruptCheckpoint(), ckpt_path=root / "interrupted.ckpt")
        require_same(whole(name), drawn(root))


def require_same(one: Points, two: Points) -> None:
    assert one.keys() == two.keys()
    assert any(tag.startswith("train/") for tag in one)
    assert one["val/song"]
    for tag, points in one.items():
        assert points == two[tag], tag
