"""Checkpoints of the best validations: which are kept, what is said, and what is refused."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any, Literal

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from playing_recipe import Energetic
from torch import Tensor
from torch.utils.data import DataLoader

from callbacks import BeatF1Monitor, BestCheckpoints
from livejam.checkpoints.best import best_until_then
from livejam.checkpoints.file import read_torch_file
from livejam.errors import UserError

NUMBERS = (3.0, None, 1.0, math.nan, 2.0)
"""What the validations after iterations 2, 4, … find; the second one does not look, the fourth finds nothing."""


class Numbers(lightning.LightningModule):
    """Validations that find given numbers; two optimisers, as an adversary has."""

    def __init__(self, numbers: tuple[float | None, ...] = NUMBERS) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.register_buffer("iteration", torch.zeros((), dtype=torch.int64))
        self.layer, self.numbers = torch.nn.Linear(1, 1), list(numbers)

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        for optimizer in self.optimizers():
            optimizer.step()
        self.iteration += 1

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        number = self.numbers[self.current_epoch]
        if number is not None:
            self.log("val/score", number)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD([parameter], lr=0.0) for parameter in self.layer.parameters()]


def fit(root: Path, *callbacks: lightning.Callback, resumed: Path | None = None, **options: Any) -> lightning.Trainer:
    trainer = lightning.Trainer(
        **{"max_epochs": len(NUMBERS), "num_sanity_val_steps": 1, "logger": False} | options,
        default_root_dir=root,
        callbacks=list(callbacks),
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Numbers(), DataLoader(torch.zeros(2, 1)), DataLoader(torch.zeros(1, 1)), ckpt_path=resumed)
    return trainer


def best(root: Path, mode: Literal["min", "max"] = "min", keep: int = 1, metric: str = "val/score") -> BestCheckpoints:
    return BestCheckpoints(metric, mode, str(root / "best"), keep)


def last(root: Path) -> ModelCheckpoint:
    return ModelCheckpoint(
        root, filename="last", enable_version_counter=False, every_n_epochs=1, save_on_train_epoch_end=True
    )


@pytest.mark.parametrize(
    ("mode", "keep", "kept"), [("min", 1, [6]), ("min", 2, [6, 10]), ("max", 1, [2]), ("max", 4, [2, 6, 10])]
)
def test_the_best_validations_are_kept_and_named_by_iteration(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: Literal["min", "max"], keep: int, kept: list[int]
) -> None:
    with caplog.at_level(logging.INFO):
        fit(tmp_path, best(tmp_path, mode, keep), last(tmp_path))
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == [f"iteration_{n:06d}.ckpt" for n in kept]
    iteration, number = (6, "1") if mode == "min" else (2, "3")
    path = tmp_path / f"best/iteration_{iteration:06d}.ckpt"
    assert f"best val/score: {number}, {path}" in caplog.text
    for said in (tmp_path / "last.ckpt", path):
        assert best_until_then(read_torch_file(said, "")) == f"val/score {number}: {path}"


def test_a_resumed_run_remembers_its_best(tmp_path: Path) -> None:
    fit(tmp_path, best(tmp_path), last(tmp_path), max_epochs=3)
    fit(tmp_path, best(tmp_path), last(tmp_path), resumed=tmp_path / "last.ckpt")
    assert [path.name for path in (tmp_path / "best").iterdir()] == ["iteration_000006.ckpt"]


def test_a_run_that_goes_on_from_one_of_its_best_keeps_no_more_than_it_would_without_a_break(tmp_path: Path) -> None:
    fit(tmp_path, best(tmp_path, "max", 2), max_epochs=3)
    fit(tmp_path, best(tmp_path, "max", 2), resumed=tmp_path / "best/iteration_000006.ckpt")
    assert {path.name for path in (tmp_path / "best").iterdir()} == {"iteration_000002.ckpt", "iteration_000010.ckpt"}


def test_a_dry_run_keeps_nothing(tmp_path: Path) -> None:
    fit(tmp_path, best(tmp_path), fast_dev_run=1)
    assert not (tmp_path / "best").exists()


def test_other_callbacks_see_the_number_as_before(tmp_path: Path) -> None:
    trainer = fit(tmp_path, best(tmp_path), EarlyStopping("val/score", patience=9, check_finite=False))
    assert trainer.current_epoch == len(NUMBERS)


@pytest.mark.parametrize("dry", [False, 1])
def test_a_number_that_nothing_logs_ends_the_first_validation(tmp_path: Path, dry: bool | int) -> None:
    with pytest.raises(
        UserError, match=r"looks at val/scores, which the validation did not log; .* such as val/score$"
    ):
        fit(tmp_path, best(tmp_path, metric="val/scores"), fast_dev_run=dry)


def test_a_slip_in_a_monitors_number_is_refused_before_training(tmp_path: Path) -> None:
    monitor = BeatF1Monitor(Energetic())
    with pytest.raises(UserError, match=r"which nothing logs; did you mean val/beat_f1\?"):
        fit(tmp_path, best(tmp_path, metric="val/beat_f2"), monitor)
    of_a_category = best(tmp_path, metric="val/beat_f1/Bass")
    of_a_category.on_fit_start(fit(tmp_path, monitor, max_epochs=0), Numbers())


def test_a_run_without_validation_has_no_best(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing is validated"):
        fit(tmp_path, best(tmp_path), limit_val_batches=0)
    with pytest.raises(UserError, match="keep must be 1 or more"):
        best(tmp_path, keep=0)


@pytest.mark.parametrize("states", [None, [], {"a": 3}, {"a": {"monitor": "x", "best_model_score": None}}])
def test_what_says_no_best_is_no_fault(states: Any) -> None:
    assert best_until_then({"callbacks": states}) == ""
