"""The models that post-training starts from, and whether they are what it continues."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_modules.accompaniment import AccompanimentModule
from lightning_modules.base_weights import load_base
from livejam.checkpoint import read_checkpoint
from livejam.codecs.codec import Codec
from livejam.errors import UserError
from livejam.lineage import mask_name, transformer_settings
from livejam.networks import ConditionedTransformer, DiffusionTransformer


def load_stage_one(
    path: str, generator: ConditionedTransformer, codec: Codec[Any, Any], cutoff_blocks: Sequence[int]
) -> dict[str, Any]:
    """Start a generator from a trained one with the same mask and window.

    Args:
        path: a checkpoint of FlowMatching.
        generator: changed in place.
        codec: whose latents it is trained on.
        cutoff_blocks: of the mix, each of which it must know.

    Returns:
        the checkpoint.

    Raises:
        UserError: it cannot be read, or codec, window, mask or sizes differ.
    """
    checkpoint = read_checkpoint(path)
    require_same_window(path, checkpoint, generator.transformer)
    known = checkpoint["config"]["model"]["init_args"].get("cutoff_blocks")
    if known is not None and not set(cutoff_blocks) <= set(known):
        raise UserError(
            f"{path} was trained with cutoff_blocks {known}, not with {list(cutoff_blocks)}; choose of those"
        )
    load_base(Path(path), generator, codec)
    return checkpoint


def adopt_statistics(module: AccompanimentModule, checkpoint: Mapping[str, Any]) -> None:
    """Normalise latents as the weights that are trained on were made for, whatever the data's own statistics are."""
    for name in ("latent_mean_C", "latent_std_C"):
        getattr(module, name).copy_(checkpoint["livejam"][name])


def require_same_window(path: str, checkpoint: Mapping[str, Any], network: DiffusionTransformer) -> None:
    """Refuse a model that saw another window, or saw it in another way: its weights would fit, its habits not.

    Raises:
        UserError: names the field that differs.
    """
    settings = transformer_settings(checkpoint)
    if settings is None:
        raise UserError(
            f"{path} carries no configuration of a diffusion transformer; name a checkpoint of FlowMatching"
        )
    saved = {name: settings[name] for name in ("context_frames", "block_frames") if name in settings}
    own: dict[str, Any] = {name: getattr(network, name) for name in saved}
    saved["mask"], own["mask"] = mask_name(settings), type(network.mask).__name__
    if own["mask"] == saved["mask"] and settings.get("mask"):
        saved |= {f"mask.{name}": value for name, value in (settings["mask"].get("init_args") or {}).items()}
        own |= {f"mask.{name}": value for name, value in dataclasses.asdict(network.mask).items()}
    for name, theirs in saved.items():
        if own[name] != theirs:
            raise UserError(
                f"{path} was trained with {name} {theirs}, this model has {own[name]}; use the generator of its config"
            )
