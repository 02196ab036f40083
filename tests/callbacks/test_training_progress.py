"""How far a training is and how long it still takes: on a terminal, in a file, and as numbers."""

from __future__ import annotations

import io
import math
import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
from playing_recipe import loader
from slow_recipe import DATA, STEP, VALIDATION, Clock, SlowLoader, SlowPlayer

from callbacks import TrainingProgress
from callbacks.pace import Ahead, Mark, Pace, clock, rate, time_left

BATCHES = 40
BATCH_SECONDS = DATA + STEP


class Terminal(io.StringIO):
    """Where bars are drawn."""

    def isatty(self) -> bool:
        return True

    def drawn(self) -> list[str]:
        return [line.strip() for line in self.getvalue().replace("\n", "\r").split("\r") if line.strip()]


@pytest.fixture
def turned(monkeypatch: pytest.MonkeyPatch) -> Clock:
    own = Clock()
    monkeypatch.setattr("callbacks.training_progress.time", SimpleNamespace(monotonic=own))
    return own


def train(
    screen: io.StringIO, turned: Clock, monkeypatch: pytest.MonkeyPatch, manual: bool = False, **options: Any
) -> None:
    options = {"max_epochs": 2, "logger": False, "num_sanity_val_steps": 0} | options
    trainer = lightning.Trainer(
        **options,
        accelerator="cpu",
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[TrainingProgress(line_seconds=10)],
    )
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", screen)
        trainer.fit(SlowPlayer(turned, manual), SlowLoader(turned, BATCHES), loader(2))


def test_where_no_terminal_is_a_line_now_and_then_says_the_time_left(
    turned: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    train(screen, turned, monkeypatch)
    lines = screen.getvalue().splitlines()
    assert lines[0] == "epoch 1 of 2, iteration 1 of 80"
    left = 71 * BATCH_SECONDS
    assert lines[1] == f"epoch 1 of 2, iteration 9 of 80, {clock(left)} + 2 validations left, 1.2 s/it"
    assert lines[5] == "validation, batch 1 of 1"
    assert lines[6] == f"epoch 2 of 2, iteration 48 of 80, {clock(32 * BATCH_SECONDS + VALIDATION)} left, 1.2 s/it"
    assert lines[-1] == f"trained for {clock(80 * BATCH_SECONDS + 2 * VALIDATION)}, iteration 80 of 80, 1.2 s/it"
    assert len(lines) == 12, "a line in ten seconds"


def test_a_terminal_has_one_bar_for_the_whole_training(turned: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    train(screen, turned, monkeypatch)
    bars = [line for line in screen.drawn() if line.startswith("epoch")]
    assert any(
        "| 9/80 [" in bar and f"{clock(71 * BATCH_SECONDS)} + 2 validations left, 1.2 s/it" in bar for bar in bars
    )
    assert "100%" in bars[-1]
    assert "| 80/80 [" in bars[-1]
    assert "left" not in bars[-1]
    assert sum("| 41/80" in bar for bar in bars) == 1


def test_a_fast_training_is_not_drawn_at_every_step(turned: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slow_recipe.STEP", 0.001)
    monkeypatch.setattr("slow_recipe.DATA", 0.0)
    screen = Terminal()
    train(screen, turned, monkeypatch, max_epochs=10, limit_val_batches=0)
    assert len({line for line in screen.drawn() if line.startswith("epoch")}) <= 2 + 10 * BATCHES * 0.001 / 0.2 + 10


@pytest.mark.parametrize(
    ("manual", "options", "total"),
    [
        (False, {"max_epochs": -1, "max_steps": 30}, 30),
        (True, {"max_epochs": -1, "max_steps": 60}, 30),
        (False, {"max_epochs": 9, "max_steps": 10, "accumulate_grad_batches": 2}, 20),
        (True, {"max_epochs": 1, "max_steps": 500}, 40),
    ],
)
def test_whatever_ends_the_training_is_what_counts(
    turned: Clock, monkeypatch: pytest.MonkeyPatch, manual: bool, options: dict[str, int], total: int
) -> None:
    """Manual optimisation has two optimisers, and Lightning counts the steps of both.

    Half an accumulation is no step yet, so the end may seem a batch too far.
    """
    screen = io.StringIO()
    train(screen, turned, monkeypatch, manual, limit_val_batches=0, **options)
    lines = screen.getvalue().splitlines()
    shown = total + (options.get("accumulate_grad_batches", 1) > 1)
    assert f"iteration 9 of {shown}, {clock((shown - 9) * BATCH_SECONDS)} left" in lines[1]
    assert f"iteration {total} of {total}" in lines[-1]


def test_a_training_without_an_end_says_how_far_it_is(turned: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    class Enough(lightning.Callback):
        def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
            trainer.should_stop = trainer.global_step > 50

    screen = io.StringIO()
    trainer = lightning.Trainer(
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        limit_val_batches=0,
        callbacks=[TrainingProgress(line_seconds=10), Enough()],
    )
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", screen)
        trainer.fit(SlowPlayer(turned), SlowLoader(turned, BATCHES))
    assert screen.getvalue().splitlines()[1] == "epoch 1, iteration 9, 1.2 s/it"


def test_a_time_limit_bounds_the_estimate(turned: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr("lightning.pytorch.callbacks.timer.time", SimpleNamespace(monotonic=turned))
    train(screen, turned, monkeypatch, max_epochs=1000, max_time=timedelta(seconds=60), limit_val_batches=0)
    assert f"{clock(60 - 9 * BATCH_SECONDS)} left" in screen.getvalue().splitlines()[1]


def pace(*marks: tuple[float, int, int]) -> Pace:
    made = Pace()
    for mark in marks:
        made.add(Mark(*mark))
    return made


def test_the_first_batch_does_not_spoil_the_pace() -> None:
    slow_start = pace((100.0, 1, 1), *((100.0 + 2 * n, 1 + n, 1 + n) for n in range(1, 6)))
    assert slow_start.seconds_per_batch == 2.0
    assert math.isnan(pace((100.0, 1, 1)).seconds_per_batch)
    assert math.isnan(pace().steps_per_batch)


def test_a_pace_is_that_of_the_latest_minutes() -> None:
    changed = pace(*((float(n), n, 2 * n) for n in range(1, 200)), *((200.0 + 4 * n, 200 + n, 0) for n in range(300)))
    assert changed.seconds_per_batch == pytest.approx(4.0, rel=0.01)


def test_time_left_in_words() -> None:
    running = pace((0.0, 0, 0), (10.0, 10, 10))
    assert time_left(Ahead(100, 2), running, None, None) == "1:40 + 2 validations left"
    assert time_left(Ahead(100, 1), running, None, None) == "1:40 + 1 validation left"
    assert time_left(Ahead(100, 2), running, 30.0, None) == "2:40 left"
    assert time_left(Ahead(100, 2), running, 30.0, 50.0) == "0:50 left"
    assert time_left(Ahead(100, 2), running, None, 50.0) == "0:50 left"
    assert time_left(Ahead(None, 0), running, 30.0, None) == ""
    assert time_left(Ahead(None, 0), running, None, 50.0) == "0:50 left"
    assert time_left(Ahead(100, 0), pace(), None, None) == ""
    assert [clock(s) for s in (7, 272, 3723, 190800)] == ["0:07", "4:32", "1:02:03", "2 d 5 h"]
    assert rate(running) == "1.0 it/s"
    assert rate(pace((0.0, 0, 0), (1.0, 250, 0))) == "250 it/s"
    assert rate(pace((0.0, 0, 0), (12.34, 1, 0))) == "12.3 s/it"
