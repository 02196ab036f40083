"""A checkpoint never stands between an iteration and the validation that follows it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from toy_recipe import ToyCodec, WholeData, WholeRecipe

from callbacks import InterruptCheckpoint, LastCheckpoint
from livejam.slurm import Stopped


class Validations(Callback):
    """Counts them by the iterations before, and raises after some iterations.

    Args:
        fatal: how many.
    """

    def __init__(self, fatal: int | None = None) -> None:
        self.fatal = fatal
        self.after: list[int] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.fatal:
            raise RuntimeError("killed")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == self.fatal:
            raise RuntimeError("killed")
        self.after.append(trainer.global_step)


class Interrupted(Validations):
    """Gets a signal instead, in the validation after some iterations."""

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == self.fatal:
            os.kill(os.getpid(), signal.SIGUSR1)


def fit(
    folder: Path, counting: Validations, checkpoint: Path | None = None, *more: Callback, max_steps: int = -1
) -> WholeRecipe:
    """Two epochs of eight batches, with a validation every four and a checkpoint every two."""
    trainer = Trainer(
        max_epochs=2,
        max_steps=max_steps,
        val_check_interval=4,
        num_sanity_val_steps=0,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[counting, LastCheckpoint(str(folder), 2), *more],
    )
    recipe = WholeRecipe(ToyCodec())
    trainer.fit(recipe, WholeData(ToyCodec()), ckpt_path=checkpoint)
    return recipe


@pytest.mark.parametrize("fatal", [4, 8, 12, 16])
@pytest.mark.filterwarnings("ignore")
def test_no_validation_is_missed_by_a_run_that_stopped_in_one(fatal: int, tmp_path: Path) -> None:
    first, second = Validations(fatal), Validations()
    with pytest.raises(RuntimeError, match="killed"):
        fit(tmp_path, first)
    last = tmp_path / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == fatal - 2
    fit(tmp_path, second, last)
    assert first.after + second.after == [4, 8, 12, 16]
    assert torch.load(last, weights_only=True)["global_step"] == 16
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("fatal", [5, 7, 9, 13])
@pytest.mark.filterwarnings("ignore")
def test_none_is_repeated_by_a_run_that_stopped_after_one(fatal: int, tmp_path: Path) -> None:
    """The checkpoints after four, eight and twelve iterations are those of a validation's end."""
    first, second = Validations(fatal), Validations()
    with pytest.raises(RuntimeError, match="killed"):
        fit(tmp_path, first)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == fatal - 1
    fit(tmp_path, second, tmp_path / "last.ckpt")
    assert first.after + second.after == [4, 8, 12, 16]


@pytest.mark.parametrize("end", [1, 4, 5, 7, 8])
@pytest.mark.filterwarnings("ignore")
def test_the_last_iteration_is_kept_whatever_their_number(end: int, tmp_path: Path) -> None:
    recipe = fit(tmp_path, Validations(), max_steps=end)
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert kept["global_step"] == end
    assert all(torch.equal(kept["state_dict"][name], value) for name, value in recipe.state_dict().items())
    fit(tmp_path, Validations(), tmp_path / "last.ckpt", max_steps=end + 1)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == end + 1


@pytest.mark.filterwarnings("ignore")
def test_what_a_validation_held_up_is_written_when_the_run_goes_on(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        fit(tmp_path, Interrupted(4), None, InterruptCheckpoint())
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 2
    with pytest.raises(RuntimeError, match="killed"):
        fit(tmp_path, Validations(5), tmp_path / "interrupted.ckpt", InterruptCheckpoint())
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 4
