"""LMDM's fine-tune in shares: two processes do what they do under DDP, hold half as much, and save what one would save.

The shipped config with its overlay, the bundled codec, latents of real songs, gloo.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from commands import REPOSITORY
from test_two_processes import FORKED, STARTS, Command, Runs, console, require_equal
from torch import Tensor

from benchmarks.strategy_memory import built, held, share, stepped
from lightning_modules import FullyShardedStrategy

pytestmark = pytest.mark.filterwarnings("ignore")

CONFIG = "lmdm/blockcausal_pocket"
CLOSE = 1e-6
"""Largest difference, relative to the norm: of two processes, sums have one order only."""

OVERLAY = ("--config", "configs/overlays/fsdp.yaml", "--trainer.precision", "32-true")
SHORT = {"trainer.limit_val_batches": "0", "data.init_args.batches_per_epoch": "3"}


@pytest.fixture(scope="module")
def runs(rendered_songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(rendered_songs, tmp_path_factory.mktemp("runs"))


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


def probes(root: Path) -> dict[str, Any]:
    """Callbacks that keep gradients and bytes beside the checkpoint."""
    checkpoint = {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint"}
    checkpoint |= {"init_args": {"dirpath": str(root / "checkpoints"), "filename": "last"}}
    files = {"KeepGradients": "gradients.pt", "KeepBytes": "bytes.json"}
    kept = [{"class_path": f"gradient_probe.{n}", "init_args": {"path": str(root / f)}} for n, f in files.items()]
    return {"trainer": {"callbacks": [checkpoint, *kept]}}


def fitted(name: str, runs: Runs, command: Command, told: dict[str, Any], *words: str) -> dict[str, Any]:
    """The checkpoint of a short run in two processes."""
    path = runs.root(name) / "told.yaml"
    path.write_text(yaml.safe_dump(told), encoding="utf-8")
    status, err = command("fit", *runs.words(name, CONFIG, **SHORT), *words, "--config", str(path))
    assert status == 0, err
    return torch.load(runs.root(name) / "checkpoints/last.ckpt", weights_only=True)


def require_close(one: Any, two: Any) -> None:
    """Trees of tensors of the same form, equal to float tolerance."""
    assert type(one) is type(two)
    if isinstance(one, dict):
        assert list(one) == list(two)
        one, two = list(one.values()), list(two.values())
    if isinstance(one, Tensor):
        assert one.shape == two.shape
        assert (one.double() - two.double()).norm() <= CLOSE * one.double().norm()
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(two)
        for first, second in zip(one, two, strict=True):
            require_close(first, second)
    else:
        assert one == two


def test_shares_train_as_whole_networks_do(runs: Runs, lightning_command: Command) -> None:
    """Gradients, weights, average and optimiser; and what a process holds is what the benchmark computes."""
    whole = fitted("whole", runs, lightning_command, probes(runs.root("whole")), *FORKED)
    told = probes(runs.root("shares"))
    told["trainer"] |= {"devices": 2, "strategy": {"class_path": "gradient_probe.Forked"}}
    shares = fitted("shares", runs, lightning_command, told, *OVERLAY)
    require_close(*(torch.load(runs.root(n) / "gradients.pt", weights_only=True) for n in ("whole", "shares")))
    require_close(*({part: c[part] for part in ("state_dict", "optimizer_states")} for c in (whole, shares)))
    assert any(name.startswith("ema_generator.") for name in shares["state_dict"])

    recipe = built(f"configs/{CONFIG}.yaml", {"optimizer.init_args.fused": "false"}, None)
    parts = recipe.generator, recipe.ema_generator, stepped(recipe)
    assert json.loads((runs.root("whole") / "bytes.json").read_text()) == held(*parts)
    assert json.loads((runs.root("shares") / "bytes.json").read_text()) == held(*parts, share(2))
