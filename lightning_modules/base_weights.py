"""The weights that a fine-tune starts from, and whether they fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lightning_modules.checkpoints import require_same_codec
from livejam.checkpoint import read_checkpoint
from livejam.codecs.codec import Codec
from livejam.errors import UserError
from livejam.lineage import ancestors
from livejam.statistics import LatentStatistics


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
    weights = _part(state, "ema_generator.") or _part(state, "generator.")
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


def statistics_of(base: dict[str, Any]) -> LatentStatistics:
    """How the latents were normalised that the base was trained on."""
    return LatentStatistics(base["livejam"]["latent_mean_C"], base["livejam"]["latent_std_C"])


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights of one sub-module, without the traces of `torch.compile`."""
    part = {name.removeprefix(prefix): w for name, w in state.items() if name.startswith(prefix)}
    return {name.replace("_orig_mod.", ""): w for name, w in part.items()}
