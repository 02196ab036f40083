"""Everything that a run leaves, for a comparison bit by bit: checkpoints, curves, and notes of every process."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from torch.distributed.tensor import DTensor

from callbacks.validations import iteration_of
from livejam.checkpoints.run_states import BEGAN

LAST = "checkpoints/last.ckpt"
NOTES = "notes_of_process_{}.jsonl"
OWN = {"ckpt_path", BEGAN}
"""What the command that continues says and the first one does not, and when a run began."""


class Notes(Callback):
    """Notes in every process what each iteration heard and drew, and what it left, as hashes.

    A checkpoint holds the weights of the first process alone, and no generator and no batch.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        facts = {
            "batch": batch,
            "draws of this process": pl_module._rng.get_state(),
            "draws of all processes": pl_module._shared_rng.get_state(),
            "draws of layers": torch.get_rng_state(),
            "draws of Python": random.getstate(),
            "draws of NumPy": np.random.get_state(),
            "networks": pl_module.state_dict(),
            "optimisers": [optimizer.state_dict() for optimizer in trainer.optimizers],
        }
        line = {"iteration": iteration_of(trainer, pl_module), **{name: _hash(value) for name, value in facts.items()}}
        with (Path(trainer.default_root_dir) / NOTES.format(trainer.global_rank)).open("a") as file:
            file.write(json.dumps(line) + "\n")


def _hash(value: Any) -> str:
    digest = hashlib.sha256()
    for leaf in _leaves(value):
        digest.update(leaf)
    return digest.hexdigest()[:16]


def _leaves(value: Any) -> Iterator[bytes]:
    if isinstance(value, DTensor):
        value = value.to_local()
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if dataclasses.is_dataclass(value):
        value = vars(value)
    if isinstance(value, np.ndarray):
        yield value.tobytes()
    elif isinstance(value, dict):
        for name, item in value.items():
            yield str(name).encode()
            yield from _leaves(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    else:
        yield repr(value).encode()


def notes(root: Path, process: int = 0) -> dict[int, dict[str, str]]:
    """What a process noted: iteration → fact → hash. What was done twice was the same twice."""
    found: dict[int, dict[str, str]] = {}
    for line in (root / NOTES.format(process)).read_text(encoding="utf-8").splitlines():
        facts = json.loads(line)
        iteration = facts.pop("iteration")
        assert found.setdefault(iteration, facts) == facts, f"iteration {iteration} was another one the second time"
    return found


def state(root: Path) -> dict[str, Any]:
    """All of the last checkpoint, without the run's own folder."""
    return _read(root / LAST, root)


def best(root: Path) -> dict[str, Any]:
    """The best checkpoints by their names."""
    return {path.name: _read(path, root) for path in (root / LAST).with_name("best").glob("*.ckpt")}


def _read(path: Path, root: Path) -> Any:
    return _plain(torch.load(path, weights_only=True), str(root))


def trace(root: Path) -> dict[str, dict[int, float]]:
    """The curves: tag → step → the value that was written last."""
    files = sorted((root / "tensorboard").rglob("events.*"), key=lambda path: path.stat().st_mtime)
    curves: dict[str, dict[int, float]] = {}
    for file in files:
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if value.HasField("tensor") and not value.tag.startswith(("speed/", "memory/")):
                    number = value.tensor.float_val
                    if number:
                        curves.setdefault(f"{file.parent.name}:{value.tag}", {})[event.step] = number[0]
    return curves


def numbers(root: Path) -> list[str]:
    """The lines of the file of numbers; none where nothing writes it."""
    path = root / "metrics.csv"
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _plain(value: Any, root: str) -> Any:
    if isinstance(value, dict):
        return {_plain(k, root): _plain(v, root) for k, v in value.items() if k not in OWN}
    if isinstance(value, (list, tuple)):
        return [_plain(item, root) for item in value]
    return value.replace(root, "ROOT") if isinstance(value, str) else value


def differences(first: Any, second: Any, path: str = "") -> list[str]:
    """Where two states differ, bit by bit."""
    if isinstance(first, dict) and isinstance(second, dict):
        names = sorted({*first, *second}, key=str)
        missing = [f"{path}/{name}: only once" for name in names if (name in first) != (name in second)]
        both = [name for name in names if name in first and name in second]
        return [*missing, *(d for name in both for d in differences(first[name], second[name], f"{path}/{name}"))]
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        pairs = enumerate(zip(first, second, strict=True))
        return [d for i, (one, two) in pairs for d in differences(one, two, f"{path}[{i}]")]
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        alike = first.dtype == second.dtype and first.shape == second.shape and _hash(first) == _hash(second)
        return [] if alike else [f"{path}: {first.flatten()[:3].tolist()} {second.flatten()[:3].tolist()}"]
    alike = type(first) is type(second) and (first == second or (first != first and second != second))
    return [] if alike else [f"{path}: {first} {second}"]
