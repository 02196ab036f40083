"""16-bit training by recipes that step by themselves: scaled gradients are not what is clipped or judged."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pytest
import test_r3gan
import torch
import toy_rollouts
from commands import REPOSITORY
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.plugins import MixedPrecision
from test_codec_adversary import small_adversary, small_training
from toy_latents import make_trainer

from datamodules.stem_audio import StemAudioDataModule
from lightning_modules.training import LOWEST_SCALE
from livejam.errors import UserError

CLIP = 0.01
ENDLESS = 2.0**40
"""A scale at which every gradient overflows in float16."""


def sgd(parameters: Any, fused: bool = False) -> torch.optim.Optimizer:
    """Steps as long as the clipped gradient."""
    return torch.optim.SGD(parameters, lr=1.0, fused=fused)


def liveband(fused: bool = False) -> tuple[LightningModule, Any]:
    rates = {"generator_optimizer": partial(sgd, fused=fused), "discriminator_optimizer": partial(sgd, fused=fused)}
    return test_r3gan.make_module(gradient_clip=CLIP, warmup_iterations=0, **rates), test_r3gan.data(batches=2)


def arc_forcing() -> tuple[LightningModule, Any]:
    rates = {"generator_optimizer": sgd, "discriminator_optimizer": sgd}
    return toy_rollouts.make_module(gradient_clip=CLIP, **rates), toy_rollouts.data(batches=2)


RECIPES: dict[str, Callable[[], tuple[LightningModule, Any]]] = {
    "R3GAN": liveband,
    "R3GAN, fused": partial(liveband, fused=True),
    "ARCForcing": arc_forcing,
}


class Steps(lightning.Callback):
    """How far each optimiser moved its network in every batch."""

    def __init__(self) -> None:
        self.lengths: list[list[float]] = []

    def on_train_batch_start(self, trainer: Trainer, module: Any, batch: Any, index: int) -> None:
        self.before = [[w.detach().clone() for w in _weights(optimizer)] for optimizer in trainer.optimizers]

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        moved = [
            math.sqrt(sum(float((w - old).square().sum()) for w, old in zip(_weights(o), before, strict=True)))
            for o, before in zip(trainer.optimizers, self.before, strict=True)
        ]
        self.lengths.append(moved)


def _weights(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def train(recipe: str, root: Path, scale: float, *callbacks: lightning.Callback) -> tuple[Trainer, list[list[float]]]:
    """Two batches of 16-bit training that begins with a scale, on a CPU."""
    module, data = RECIPES[recipe]()
    steps = Steps()
    scaled = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=scale))
    trainer = make_trainer(root, plugins=[scaled], callbacks=[steps, *callbacks])
    trainer.fit(module, data)
    return trainer, steps.lengths


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_threshold_is_that_of_gradients_without_their_scale(tmp_path: Path, recipe: str) -> None:
    trainer, lengths = train(recipe, tmp_path, 256.0)
    assert all(length == pytest.approx(CLIP, rel=1e-3) for moved in lengths for length in moved if length)
    assert sum(length > 0 for moved in lengths for length in moved) == trainer.global_step
    norm = float(trainer.logged_metrics["train/gradient_norm/discriminator"])
    assert CLIP < norm < 256, "as without a scale"


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_overflow_while_the_scale_is_sought_skips_a_step(tmp_path: Path, recipe: str) -> None:
    trainer, lengths = train(recipe, tmp_path, ENDLESS)
    assert not any(length for moved in lengths for length in moved)
    assert trainer.precision_plugin.scaler.get_scale() < ENDLESS


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_overflows_by_itself_has_diverged(tmp_path: Path, recipe: str) -> None:
    class Poison(lightning.Callback):
        def on_train_start(self, trainer: Trainer, module: Any) -> None:
            next(module.generator.parameters()).data.fill_(torch.nan)

    with pytest.raises(UserError, match="training diverged at iteration"):
        train(recipe, tmp_path, LOWEST_SCALE / 2, Poison())


def test_the_codec_and_its_adversary_are_judged_without_a_scale(rendered_songs: Path, tmp_path: Path) -> None:
    norms = []
    for scale in (0.125, 0.5):
        torch.manual_seed(3)
        module = small_training(tmp_path, small_adversary(start_iteration=1))
        scaled = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=scale))
        # after the first step's high rate, every other choice of crops overflows in 16 bits; this one does not
        data = StemAudioDataModule(
            str(rendered_songs), str(tmp_path / "cache"), 22050, 2, 8192, 2, validation_crops=2, seed=3
        )
        trainer = make_trainer(tmp_path, plugins=[scaled], max_steps=3, limit_train_batches=2)
        trainer.fit(module, data)
        norms.append([float(trainer.logged_metrics[f"train/{of}gradient_norm"]) for of in ("", "discriminator/")])
    assert norms[1] == pytest.approx(norms[0], rel=0.05)


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true"])
def test_precisions_in_which_nothing_works_are_refused(
    tmp_path: Path, lightning_command: Any, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.chdir(REPOSITORY)
    words = ("fit", "--config", "configs/quickstart.yaml", "--trainer.precision", precision)
    roots = ("--trainer.default_root_dir", tmp_path / "run", "--data.init_args.root", tmp_path / "songs")
    status, err = lightning_command(*words, *roots)
    assert status == 2
    assert f"trainer.precision {precision} does not work" in err.splitlines()[-1]
    assert not (tmp_path / "songs").exists()
