"""The trained weights that a training starts from, and whether they fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from livejam.checkpoints.facts import ancestors, mask_name, require_same_codec, transformer_settings
from livejam.checkpoints.file import part, read_checkpoint
from livejam.codecs.codec import Codec
from livejam.errors import UserError
from livejam.networks import ConditionedTransformer, DiffusionTransformer


def load_warm_start(
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


def load_base(path: Path, generator: nn.Module, codec: Codec[Any, Any]) -> dict[str, Any]:
    """Start a generator from a checkpoint's, from the averaged one where there is one.

    Args:
        path: a checkpoint of a recipe that trains such a generator.
        generator: changed in place.
        codec: whose latents the generator is trained on.

    Returns:
        what the checkpoint says about the latents that it was trained on, and where it comes from.

    Raises:
        UserError: it cannot be read, is of another codec, or its generator has another width, depth or encoder.
    """
    checkpoint = read_checkpoint(path)
    require_same_latents(checkpoint, codec)
    state = checkpoint["state_dict"]
    weights = part(state, "ema_generator") or part(state, "generator")
    if not weights:
        raise UserError(f"base_checkpoint {path} holds no generator; name a checkpoint of FlowMatching")
    own = generator.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        theirs = tuple(weights[name].shape) if name in weights else "missing"
        ours = tuple(own[name].shape) if name in own else "missing"
        if theirs != ours:
            raise UserError(
                f"base_checkpoint {path} does not fit this generator ({name}: {theirs} in the checkpoint, {ours} "
                "here); set width, depth and encoders to those of the config it was trained with"
            )
    generator.load_state_dict(weights)
    return {"livejam": {**checkpoint["livejam"], "lineage": ancestors(checkpoint)}}


def require_same_latents(checkpoint: dict[str, Any], codec: Codec[Any, Any]) -> None:
    """Refuse a base of another codec; published models say only what their latents are like, not of which weights.

    Raises:
        UserError: names every field that differs.
    """
    facts = checkpoint["livejam"]
    known = facts if facts["latents_hash"] is not None else {**facts, "latents_hash": codec.latents_hash}
    require_same_codec({"livejam": known}, codec)
