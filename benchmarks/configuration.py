"""Model, data and callbacks of a configuration, for benchmarks that run them their own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningCLI

from callbacks.trainer_facts import callbacks_of
from lightning_modules.cli import BEGINNING, ConfigParser, LivejamCLI, set_up_parsing


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


class Unrun(LivejamCLI):
    """The command line without a command."""

    def setup_parser(self, *args: Any) -> None:
        """No subcommand has options of its own."""
        LightningCLI.setup_parser(self, *args)

    def instantiate_classes(self) -> None:
        """No subcommand has options to look at."""
        LightningCLI.instantiate_classes(self)

    def _parse_ckpt_path(self) -> None:
        """There is none."""


def experiment(configs: Sequence[Path], data_root: Path | None = None) -> Experiment:
    """Build what configurations describe, later ones on top of earlier ones.

    Args:
        configs: YAML files.
        data_root: data set instead of the configurations'; nothing is rendered then.
    """
    words = [word for path in configs for word in ("--config", str(path))]
    if data_root is not None:
        words += ["--data.init_args.root", str(data_root), "--data.init_args.render_if_missing", "null"]
    set_up_parsing()
    cli = Unrun(
        args=words,
        run=False,
        parser_class=ConfigParser,
        parser_kwargs=BEGINNING,
        save_config_callback=None,
        auto_configure_optimizers=False,
    )
    return Experiment(cli.model, cli.datamodule, list(callbacks_of(cli.trainer)))
