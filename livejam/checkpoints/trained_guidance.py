"""What the configuration of a checkpoint says about the guidance that it was trained for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from livejam.checkpoints.facts import transformer_settings
from livejam.networks.diffusion_conditions import NOTHING_ASKED, Dropouts, Unconditional

RECIPES = tuple(
    f"lightning_modules.{name}" for name in ("FlowMatching", "DenseFlowMatching", "ConsistencyDistillation")
)
"""The recipes that train guidance's unconditional side by dropouts of their own."""


def unconditional_share(checkpoint: Mapping[str, Any]) -> float | None:
    """Share of the training windows that were like guidance's unconditional side, if a checkpoint has no record of it.

    None where the configuration does not say: ARC-Forcing's base and the recipes of others.
    """
    model = checkpoint["config"]["model"]
    settings, network = model["init_args"], transformer_settings(checkpoint)
    if str(model.get("class_path")) not in RECIPES or network is None:
        return None
    side = settings.get("unconditional")
    unconditional = NOTHING_ASKED if side is None else Unconditional(**side.get("init_args", side))
    context, block = network.get("context_frames") or 0, network["block_frames"]
    hears_mix = any(context + cutoff * block for cutoff in settings["cutoff_blocks"])
    has_prompts = settings["generator"]["init_args"].get("prompt_encoder") is not None
    return Dropouts.of(settings).share(unconditional, has_prompts, hears_mix)
