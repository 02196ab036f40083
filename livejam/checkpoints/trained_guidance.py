"""What the configuration of a checkpoint says about the guidance that it was trained for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from livejam.networks.diffusion_conditions import Dropouts
from livejam.systems.context import dropouts_of

RECIPES = tuple(
    f"lightning_modules.{name}" for name in ("FlowMatching", "DenseFlowMatching", "ConsistencyDistillation")
)
"""The recipes that train guidance's other sides by dropouts of their own."""


def trained_dropouts(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """`{class_path, init_args}` of the dropouts of a checkpoint that has no record of them.

    None where the configuration does not say: ARC-Forcing's base and the recipes of others.
    """
    model = checkpoint["config"]["model"]
    if str(model.get("class_path")) not in RECIPES:
        return None
    dropouts = asdict(dropouts_of(model["init_args"]))
    return {"class_path": f"{Dropouts.__module__}.{Dropouts.__qualname__}", "init_args": dropouts}
