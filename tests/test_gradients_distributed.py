"""Two processes with half a batch each take the step of one process with the whole batch, in every recipe.

The two are as shipped: pocket configs, the bundled codec, latents of real songs, gloo. The one gets the items and the
draws of both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from commands import REPOSITORY
from gradient_probe import HALF
from test_two_processes import CODEC, SMALL, STARTS, Command, Runs
from torch import Tensor

pytestmark = pytest.mark.filterwarnings("ignore")

CLOSE = 2e-4
"""Largest difference of a parameter's gradients in one network, relative to their norm: float32, other sums."""

SHORT = {
    **SMALL,
    "trainer.limit_val_batches": "0",
    "trainer.enable_checkpointing": "false",
    "data.init_args.batch_size": str(HALF),
    "data.init_args.crop_frames": "88",  # enough for every window; another class of data loses what was interpolated
}
ADVERSARY = {
    "model.init_args.adversary.init_args.start_iteration": "1",
    "model.init_args.adversary.init_args.penalty_every": "2",
    "trainer.max_steps": "5",
    "trainer.limit_train_batches": "3",
}
CODECS = {**CODEC, "trainer.limit_val_batches": "0", "trainer.enable_checkpointing": "false"} | {
    "data.init_args.batch_size": str(HALF),
    "model.init_args.initial_weights": "pocket",
}
RECIPES: dict[str, dict[str, str]] = {
    "liveband/pocket": {**SHORT, "model.init_args.penalty_every": "2"},
    "lmdm/blockcausal_pocket": SHORT,
    "lmdm/arc_forcing_pocket": SHORT,
    "lookahead/consistency_pocket": SHORT,
    "codec/pocket": CODECS,
    "codec/pocket with adversary": {**CODECS, **ADVERSARY},
}


@pytest.fixture(scope="module")
def runs(rendered_songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(rendered_songs, tmp_path_factory.mktemp("runs"))


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


def overlay(kept: Path, codec: bool, whole: bool) -> Path:
    """The YAML of what keeps gradients, and of what gives one process the items of two."""
    watching = {"class_path": f"gradient_probe.{'AsTwoProcesses' if whole else 'KeepGradients'}"}
    told: dict[str, Any] = {"trainer": {"callbacks": [{**watching, "init_args": {"path": str(kept)}}]}}
    if whole:
        told["data"] = {"class_path": f"gradient_probe.{'WholeCrops' if codec else 'WholeBatches'}"}
    path = kept.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(told), encoding="utf-8")
    return path


def gradients(
    name: str,
    processes: int,
    options: dict[str, str],
    runs: Runs,
    command: Command,
) -> list[dict[str, Tensor]]:
    """Of every step of a training."""
    config, _, adversary = name.partition(" with ")
    root = runs.folder / f"gradients {name} {processes}"
    kept = runs.folder / f"{name.replace('/', ' ')} {processes}.pt"
    codec, whole = config == "codec/pocket", processes == 1
    words = ["--config", f"configs/{config}.yaml"]
    words += ["--config", "configs/overlays/codec_adversary.yaml"] if adversary else []
    options = {**options, "trainer.default_root_dir": str(root), "data.init_args.root": str(runs.songs)}
    if codec:
        options |= {"data.init_args.cache": str(runs.folder / "decoded")}
        options |= {"model.init_args.export_path": str(root / "codec.safetensors")}
    else:
        options |= {"data.init_args.cache_root": str(runs.folder / "data")}
    words += ["--config", str(overlay(kept, codec, whole))]
    words += [word for key, value in options.items() for word in (f"--{key}", value)]
    for option, start in STARTS.get(config, {}).items():
        words += [option, str(runs.checkpoint(start, command))]
    words += ["--trainer.devices", str(processes)]
    status, err = command("fit", *words, "--trainer.strategy", "ddp_fork_find_unused_parameters_true")
    assert status == 0, err
    return torch.load(kept, weights_only=True)


@pytest.mark.parametrize(
    "name", [name if name == "liveband/pocket" else pytest.param(name, marks=pytest.mark.slow) for name in RECIPES]
)
def test_two_halves_are_a_whole(name: str, runs: Runs, lightning_command: Command) -> None:
    whole, halves = (gradients(name, processes, RECIPES[name], runs, lightning_command) for processes in (1, 2))
    assert len(whole) == len(halves) >= 2
    for step, (one, two) in enumerate(zip(whole, halves, strict=True)):
        assert one.keys() == two.keys()
        apart = {key: float((one[key] - two[key]).norm() / one[key].norm().clamp(min=1e-8)) for key in one}
        norm = torch.stack([value.norm() for value in one.values()]).norm()
        worst = max(float((one[key] - two[key]).norm() / norm) for key in one)
        assert norm > 0
        assert worst < CLOSE, f"step {step}: {worst}, {sorted(apart.items(), key=lambda item: -item[1])[:5]}"
