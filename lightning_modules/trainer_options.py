"""Numbers of the trainer that Lightning takes without looking, and then stumbles over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from livejam.option_ranges import Range, require_number

RANGES = {
    "accumulate_grad_batches": Range(1),
    "check_val_every_n_epoch": Range(1),
    "gradient_clip_val": Range(0),
    "log_every_n_steps": Range(0),
    "num_sanity_val_steps": Range(-1),
    "val_check_interval": Range(0, open_low=True),
}
"""Option → what makes sense."""


def require_sound(options: Mapping[str, Any]) -> None:
    """Refuse numbers out of range, whoever will train.

    Args:
        options: of the trainer; what is missing has Lightning's default.

    Raises:
        UserError: names the option, and what it may be.
    """
    for name, allowed in RANGES.items():
        value = options.get(name)
        if isinstance(value, int | float):
            require_number(f"trainer.{name}", value, allowed)
