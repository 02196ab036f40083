"""Configurations that are printed and saved: complete, and movable.

What depends on the run's folder is written as `${trainer.default_root_dir}/…`, as it was read, so that who changes the
folder in a copy changes everything that lies in it.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from lightning.pytorch.trainer.states import TrainerFn
from omegaconf import OmegaConf

from livejam.files import atomic_path

ROOT = "${trainer.default_root_dir}"
COMMAND_ONLY = ("ckpt_path", "overwrite")
"""Say how a command is run, not what the experiment is: they are not saved."""

PLACEHOLDER = "__run_folder__"
"""Stands for `${trainer.default_root_dir}` until the text is written; the parser would read an interpolation."""


def movable(config: Namespace, unresolved: dict[str, Any]) -> Namespace:
    """A resolved configuration with `PLACEHOLDER` wherever it follows the run's folder.

    Args:
        config: of one subcommand.
        unresolved: the same before interpolation.
    """
    if not (unresolved.get("trainer") or {}).get("default_root_dir"):
        return config
    probed = {**unresolved, "trainer": {**unresolved["trainer"], "default_root_dir": PLACEHOLDER}}
    where = OmegaConf.to_container(OmegaConf.create(probed), resolve=True)
    moved = _with_root(config.clone(), where)
    moved["trainer.default_root_dir"] = config["trainer.default_root_dir"]
    return moved


def _with_root(value: Any, probed: Any) -> Any:
    """`value` with the texts of `probed` that hold the placeholder."""
    if isinstance(probed, str) and PLACEHOLDER in probed:
        return probed
    if isinstance(probed, dict) and isinstance(value, Namespace | dict):
        for key in [key for key in probed if key in value]:
            value[key] = _with_root(value[key], probed[key])
    if isinstance(probed, list) and isinstance(value, list) and len(value) == len(probed):
        return [_with_root(*pair) for pair in zip(value, probed, strict=True)]
    return value


class KeptConfig(SaveConfigCallback):
    """Writes the complete configuration beside the logs and into every checkpoint.

    Training's is `config.yaml`; what is tested, validated or predicted leaves that alone and writes
    `config_test.yaml` and so on. `checkpoint["config"]` is plain data without interpolation, so that a player can
    rebuild the networks without Lightning and without unpickling anything.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        folder = Path(trainer.log_dir or trainer.default_root_dir)  # every process takes part in its broadcast
        if not trainer.is_global_zero:
            return
        config = self.config.clone()
        for key in COMMAND_ONLY:
            config.pop(key, None)
        name = "config.yaml" if stage == TrainerFn.FITTING else f"config_{TrainerFn(stage).value}.yaml"
        with atomic_path(folder / name) as path:
            text = self.parser.dump(config, skip_unset=False, skip_validation=True)
            command = " ".join(shlex.join(["lightning", *sys.argv[1:]]).split())
            path.write_text(f"# {command}\n{text}", encoding="utf-8")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["config"] = self.resolved()

    def resolved(self) -> dict[str, Any]:
        """The configuration as plain data, without interpolation."""
        # as Lightning's parser writes it: our own would write what is movable
        write = LightningArgumentParser.dump
        return yaml.safe_load(
            write(self.parser, self.config, skip_unset=False, skip_link_targets=False, skip_validation=True)
        )
