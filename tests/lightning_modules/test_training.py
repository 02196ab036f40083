"""The average of weights, an exponential mean that forgets its start; and what a run knows after a break."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from toy_latents import make_trainer

from callbacks import LastCheckpoint
from lightning_modules.training import Recipe, linear_warmup, update_average


def scalar(value: float) -> nn.Module:
    module = nn.Linear(1, 1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)
    return module


@settings(max_examples=5, deadline=None)
@given(decay=st.floats(0, 0.95), values=st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_it_stays_within_what_was_seen_and_converges(decay: float, values: list[float]) -> None:
    averaged = scalar(100.0)
    for iteration, value in enumerate(values):
        update_average(averaged, scalar(value), decay, iteration)
    assert min(values) - 1e-5 <= float(averaged.weight) <= max(100.0, *values)
    for iteration in range(len(values), 900):
        update_average(averaged, scalar(values[-1]), decay, iteration)
    assert abs(float(averaged.weight) - values[-1]) < 1e-3


@settings(max_examples=10, deadline=None)
@given(iteration=st.integers(1000, 10**6), decay=st.floats(0, 0.99))
def test_late_in_training_it_is_the_textbook_average(iteration: int, decay: float) -> None:
    averaged = scalar(1.0)
    update_average(averaged, scalar(0.0), decay, iteration)
    assert abs(float(averaged.weight) - decay) < 1e-6


class Judged(Recipe):
    """Its validations find what they find."""

    def __init__(self) -> None:
        super().__init__(seed=0, gradient_clip=None)
        self.network = nn.Linear(1, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.about_to_step("network", self.network(batch).square().mean())

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val/loss", self.network(batch).square().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Killed(Callback):
    """At the beginning of the second epoch."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 1:
            raise RuntimeError("killed")


def fit_judged(folder: Path, *more: Callback, checkpoint: Path | None = None) -> dict[str, Any]:
    """Two epochs of two batches; the state of early stopping in the end."""
    stopping = EarlyStopping("val/loss", patience=9)
    callbacks = [stopping, *more, LastCheckpoint(str(folder), 2)]
    trainer = make_trainer(folder, max_epochs=2, limit_val_batches=1, enable_checkpointing=True, callbacks=callbacks)
    torch.manual_seed(0)
    items = DataLoader(torch.arange(1.0, 3.0)[:, None])
    trainer.fit(Judged(), items, items, ckpt_path=checkpoint)
    return stopping.state_dict()


@pytest.mark.filterwarnings("ignore")
def test_early_stopping_goes_on_from_between_a_validation_and_the_end_of_its_epoch(tmp_path: Path) -> None:
    """There, a checkpoint of a validation stands, and early stopping has not yet looked at its number."""
    whole = fit_judged(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        fit_judged(tmp_path, Killed())
    assert fit_judged(tmp_path, checkpoint=tmp_path / "last.ckpt") == whole


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 40), st.integers(1, 30), st.integers(0, 60))
def test_a_rate_rests_rises_stays_and_falls(rest: int, rise: int, stay: int, fall: int, stop: int) -> None:
    """And a resumed one goes on where it was."""
    begin = rest + rise + stay

    def schedule() -> tuple[torch.optim.Optimizer, LambdaLR]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
        return optimizer, linear_warmup(optimizer, rise, rest, begin, fall)

    def rates(optimizer: torch.optim.Optimizer, scheduler: LambdaLR, steps: int) -> list[float]:
        found = []
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return found

    optimizer, scheduler = schedule()
    whole = rates(optimizer, scheduler, begin + fall + 5)
    assert whole[:rest] == [0.0] * rest
    assert whole[rest : rest + rise] == pytest.approx([2.0 * (k + 1) / max(1, rise) for k in range(rise)])
    assert whole[rest + rise : begin] == [2.0] * stay
    assert whole[begin:] == pytest.approx([2.0 * max(0.0, 1 - k / fall) for k in range(fall + 5)])
    first, second = schedule(), schedule()
    kept = rates(*first, min(stop, len(whole)))
    second[0].load_state_dict(first[0].state_dict())
    second[1].load_state_dict(first[1].state_dict())
    assert kept + rates(*second, len(whole) - len(kept)) == whole
