"""`torch.compile` on a CPU: what is compiled trains as what is not, on the networks of the shipped configs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import pytest
import torch
from elsewhere_recipes import CASES, Values, _set, build
from lightning.pytorch import Callback, Trainer
from torch import Tensor

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler"),
    pytest.mark.filterwarnings("ignore"),
]

BATCHES = 3
CLOSE = 1e-4
"""Largest difference of a network's gradients or a loss, relative to its norm: fused kernels round differently."""

SMALL = {"liveband/pocket": {"generator.blocks": "2"}, "lmdm/blockcausal_pocket": {"generator.transformer.depth": "2"}}


class Kept(Callback):
    """Loss and gradients of every step."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, Tensor, Tensor]] = []

    def on_before_optimizer_step(self, trainer: Trainer, module: Any, optimizer: Any) -> None:
        name, loss = module._stepping
        weights = (p for group in optimizer.param_groups for p in group["params"])
        gradient = torch.cat([p.grad.flatten() for p in weights if p.grad is not None])
        self.steps.append((name, loss.clone(), gradient))


def steps(config: str, compile_generator: bool, compile_step: bool) -> list[tuple[str, Tensor, Tensor]]:
    """What a few batches of noise do to the config's networks."""
    torch.manual_seed(0)
    built = build(config, *CASES[config], *_set(**SMALL[config], compile_generator=str(compile_generator).lower()))
    data = Values(built, BATCHES)
    noise = (torch.randn(data.batch.mix.shape, generator=torch.Generator().manual_seed(i)) for i in (1, 2))
    data.batch = replace(data.batch, mix=next(noise), target=next(noise))
    if compile_step:
        built.model.training_step = torch.compile(built.model.training_step)
    kept = Kept()
    silent = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    few: dict[str, Any] = {"max_epochs": 1, "limit_val_batches": 0, "accelerator": "cpu", "callbacks": [kept]}
    Trainer(**silent, **few).fit(built.model, data)
    return kept.steps


@pytest.mark.parametrize(
    ("what", "config"),
    [("generator", "liveband/pocket"), ("generator", "lmdm/blockcausal_pocket"), ("step", "lmdm/blockcausal_pocket")],
)
def test_compiled_trains_as_eager(what: str, config: str) -> None:
    """LiveBand's whole step cannot be compiled: its penalty differentiates a gradient, which no compiled graph has."""
    torch.compiler.reset()
    eager = steps(config, False, False)
    compiled = steps(config, what == "generator", what == "step")
    assert len(eager) == len(compiled) >= BATCHES
    for (name, loss, gradient), (same, found, moved) in zip(eager, compiled, strict=True):
        assert name == same
        assert (found - loss).abs() <= CLOSE * loss.abs(), name
        assert (moved - gradient).norm() <= CLOSE * gradient.norm(), name
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0, "nothing was compiled"
