"""Model, data and callbacks of a configuration, for benchmarks that run them their own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning.pytorch import Callback, LightningDataModule, LightningModule

from callbacks.trainer_facts import callbacks_of
from lightning_modules.untrained import untrained


@dataclass(frozen=True)
class Experiment:
    """What a YAML describes.

    Args:
        model: the recipe, with fresh weights.
        data: the data module, prepared by whoever uses it.
        callbacks: as the trainer would have them.
    """

    model: LightningModule
    data: LightningDataModule
    callbacks: list[Callback]


def experiment(configs: Sequence[Path], data_root: Path | None = None) -> Experiment:
    """Build what configurations describe, later ones on top of earlier ones.

    Args:
        configs: YAML files.
        data_root: data set instead of the configurations'; nothing is rendered then.
    """
    words = [word for path in configs for word in ("--config", str(path))]
    if data_root is not None:
        words += ["--data.init_args.root", str(data_root), "--data.init_args.render_if_missing", "null"]
    cli = untrained(words)
    return Experiment(cli.model, cli.datamodule, list(callbacks_of(cli.trainer)))
