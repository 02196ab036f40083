"""The provenance of a test's numbers, as plain data for `metrics.provenance`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import LightningModule, Trainer
from torch.distributed.fsdp import FSDPModule

from callbacks.trainer_facts import callbacks_of, data_module
from callbacks.validations import iteration_of
from livejam.checkpoints.weights import sha256_of
from livejam.codecs.codec import codec_identity
from metrics.evaluation.evaluate import Outcome
from metrics.provenance import Facts, short_hash


@runtime_checkable
class KeepsConfig(Protocol):
    """A callback that knows the run's configuration."""

    def resolved(self) -> dict[str, Any]:
        """All of it, as plain data."""


def measured_on(trainer: Trainer, module: LightningModule, outcomes: Sequence[Outcome], row: str) -> Facts:
    """The provenance of the test that has just ended.

    Args:
        trainer: the trainer that ran it.
        module: the module that was tested.
        outcomes: the results of its measures.
        row: name of the model's row.
    """
    codec: Any = module.codec
    return {
        "data": getattr(data_module(trainer), "tested_on", None) or {"root": None, "songs": None, "sha256": None},
        "codec": {"name": codec.spec.name, "sha256": codec_identity(codec)[:12]},
        "measures": {outcome.charts[0]: _measure(outcome) for outcome in outcomes},
        "models": {row: _model(trainer, module)},
    }


def _measure(outcome: Outcome) -> Facts:
    return {
        "method": outcome.method,
        "segment_seconds": outcome.segment_seconds,
        "items": len(outcome.places),
        "sha256": short_hash(outcome.places),
        "protocol": outcome.protocol,
    }


def _model(trainer: Trainer, module: LightningModule) -> Facts:
    # FSDP puts a class of its own before the recipe's
    recipe = next(kind for kind in type(module).__mro__ if not issubclass(kind, FSDPModule))
    path = None if trainer.ckpt_path is None else str(trainer.ckpt_path)
    return {
        "recipe": f"{recipe.__module__}.{recipe.__qualname__}",
        "iteration": iteration_of(trainer, module),
        "checkpoint": path,
        "sha256": sha256_of(Path(path))[:12] if path and Path(path).is_file() else None,
        "config": _config(trainer),
    }


def _config(trainer: Trainer) -> str | None:
    """A hash of the model's settings; None where no command line kept them."""
    kept = next((callback for callback in callbacks_of(trainer) if isinstance(callback, KeepsConfig)), None)
    return None if kept is None else short_hash(kept.resolved()["model"])
