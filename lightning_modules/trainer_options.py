"""Options of the trainer that Lightning accepts unchecked and then fails on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    for name, allowed in RANGES.items():
        value = trainer.get(name)
        if isinstance(value, int | float):
            require_number(f"trainer.{name}", value, allowed)
