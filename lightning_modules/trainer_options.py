"""Options of the trainer that Lightning accepts unchecked and then fails on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden

from lightning_modules.fully_sharded import FullyShardedStrategy
from livejam.errors import UserError
from livejam.option_ranges import Range, require_number

RANGES = {
    "accumulate_grad_batches": Range(1),
    "check_val_every_n_epoch": Range(1),
    "gradient_clip_val": Range(0),
    "log_every_n_steps": Range(0),
    "num_sanity_val_steps": Range(-1),
    "val_check_interval": Range(0, open_low=True),
}
"""Option → its range."""

OTHER_SHARDS = ("fsdp", "modelparallel", "deepspeed")
"""Parts of the names of strategies that spread a network in ways of their own."""


def require_sound(options: Mapping[str, Any]) -> None:
    """Refuse numbers that are out of range, and options that our data modules do not support.

    Args:
        options: options of the trainer and of the data module, under `trainer` and `data`.

    Raises:
        UserError: names the option and its range.
    """
    trainer, data = options["trainer"], options.get("data")
    if trainer.get("overfit_batches") and isinstance(data, Mapping) and data["class_path"].startswith("datamodules."):
        raise UserError(
            "trainer.overfit_batches does not go with training items that are drawn again in every epoch; to overfit, "
            "train on a few songs: `livejam data render --out data/few --songs 3`, and data.init_args.root data/few"
        )
    _require_known_shards(trainer)
    for name, allowed in RANGES.items():
        value = trainer.get(name)
        if isinstance(value, int | float):
            require_number(f"trainer.{name}", value, allowed)


def _require_known_shards(trainer: Mapping[str, Any]) -> None:
    """Refuse other strategies than ours that spread a network over processes: their checkpoints are their own."""
    strategy = trainer.get("strategy") or ""
    name = str(strategy["class_path"] if isinstance(strategy, Mapping) else strategy)
    if any(part in name.lower() for part in OTHER_SHARDS):
        raise UserError(
            f"trainer.strategy {name} would write checkpoints that do not play; --config configs/overlays/fsdp.yaml "
            "spreads lightning_modules.FlowMatching over GPUs, and every recipe trains with `auto`"
        )
    if name.endswith(FullyShardedStrategy.__name__) and trainer.get("precision") == "16-mixed":
        raise UserError(
            "trainer.precision 16-mixed does not go with FullyShardedStrategy, whose shares no scaler knows; set it to "
            "bf16-mixed"
        )


def require_shardable(trainer: Trainer, recipe: LightningModule) -> None:
    """Refuse to spread networks over processes whose recipe does not say how.

    Raises:
        UserError: names the recipe.
    """
    if isinstance(trainer.strategy, FullyShardedStrategy) and not is_overridden("configure_model", recipe):
        raise UserError(
            f"FullyShardedStrategy trains lightning_modules.FlowMatching only, not {type(recipe).__name__}: leave "
            "trainer.strategy out, and every GPU holds the whole network"
        )
