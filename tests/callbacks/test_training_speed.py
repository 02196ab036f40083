"""What a training does with its time, against a clock that the test turns."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from playing_recipe import Player, loader
from slow_recipe import DATA, ITEM_SECONDS, ITEMS, STEP, VALIDATION, Clock, SlowLoader, SlowPlayer

from callbacks import TrainingSpeed
from callbacks.training_speed import Stretch, extent, memory


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    turned = Clock()
    monkeypatch.setattr("callbacks.training_speed.time", SimpleNamespace(perf_counter=turned))
    return turned


def logged(root: Path, clock: Clock, manual: bool = False, batches: int = 4, **options: Any) -> list[dict[str, float]]:
    """What a training of two epochs writes, row by row."""
    logger = CSVLogger(root)
    lightning.Trainer(
        max_epochs=2,
        logger=logger,
        callbacks=[TrainingSpeed()],
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    ).fit(SlowPlayer(clock, manual), SlowLoader(clock, batches), loader(2))
    lines = (Path(logger.log_dir) / "metrics.csv").read_text().splitlines()
    names = lines[0].split(",")
    rows = [dict(zip(names, line.split(","), strict=True)) for line in lines[1:]]
    return [{name: float(value) for name, value in row.items() if value} for row in rows]


def test_time_is_told_apart_and_validation_is_no_part_of_the_rate(tmp_path: Path, clock: Clock) -> None:
    rows = logged(tmp_path, clock, log_every_n_steps=2)
    trained = [row for row in rows if "speed/step_seconds" in row]
    assert [row["step"] for row in trained] == [1, 3, 5, 7]
    for row in trained:
        assert row["speed/data_seconds"] == pytest.approx(DATA)
        assert row["speed/step_seconds"] == pytest.approx(STEP)
        seconds = row["speed/data_seconds"] + STEP
        assert row["speed/items_per_second"] == pytest.approx(ITEMS / seconds)
        assert row["speed/audio_seconds_per_second"] == pytest.approx(ITEMS * ITEM_SECONDS / seconds)
        assert row["learning_rate/generator"] == 0.5
    validated = [row["speed/validation_seconds"] for row in rows if "speed/validation_seconds" in row]
    assert validated == [VALIDATION, VALIDATION]


def test_an_iteration_of_accumulated_gradients_is_logged_once_and_whole(tmp_path: Path, clock: Clock) -> None:
    rows = logged(tmp_path, clock, log_every_n_steps=1, accumulate_grad_batches=2, limit_val_batches=0)
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    for row in rows:
        seconds = row["speed/data_seconds"] + row["speed/step_seconds"]
        assert row["speed/items_per_second"] * seconds == pytest.approx(ITEMS)


def test_optimisers_are_named_after_what_they_train(tmp_path: Path, clock: Clock) -> None:
    row = logged(tmp_path, clock, manual=True, log_every_n_steps=4, limit_val_batches=0)[0]
    rates = {name: value for name, value in row.items() if name.startswith("learning_rate/")}
    assert rates == {
        "learning_rate/generator": 0.25,
        "learning_rate/discriminator": 0.125,
        "learning_rate/discriminator_group2": 0.125,
    }


def test_nothing_is_asked_of_a_training_without_a_logger(clock: Clock) -> None:
    lightning.Trainer(
        max_epochs=1,
        logger=False,
        callbacks=[TrainingSpeed()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(SlowPlayer(clock), SlowLoader(clock, 2), loader(2))


def test_processes_train_beside_each_other() -> None:
    alone, together = (Stretch(2, 8, 16.0, 1.0, 3.0).numbers(processes) for processes in (1, 4))
    assert alone["speed/items_per_second"] == 2.0
    assert together["speed/items_per_second"] == 8.0
    assert together["speed/audio_seconds_per_second"] == 16.0
    assert together["speed/step_seconds"] == alone["speed/step_seconds"] == 1.5


def test_a_batch_says_how_long_it_sounds() -> None:
    spec = Player().codec.spec
    batch = next(iter(loader(2)))
    assert extent(batch, spec) == (2, 8.0)
    assert extent(batch.target, spec) == (2, 8.0), "a codec is trained on bare audio"
    assert extent([torch.zeros(5, 3), torch.zeros(5)], None) == (5, 0.0)


def test_memory_is_of_this_process() -> None:
    before = memory(torch.device("cpu"))["memory/resident_gib"]
    kept = torch.ones(64 << 20)
    assert memory(torch.device("cpu"))["memory/resident_gib"] - before == pytest.approx(0.25, abs=0.05)
    del kept
