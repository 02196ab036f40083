"""Trained weights to begin a training with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from livejam.checkpoints.facts import ancestors, require_same_codec, shape_difference
from livejam.checkpoints.file import played_weights
from livejam.checkpoints.published import read_model
from livejam.codecs.codec import Codec
from livejam.errors import UserError


def load_base(path: str, generator: nn.Module, codec: Codec, begun: Sequence[str] = ()) -> dict[str, Any]:
    """Start a generator from a checkpoint's generator, or from the averaged one if there is one.

    Args:
        path: a checkpoint of a recipe that trains such a generator, a published model or a bundled one's name.
        generator: changed in place.
        codec: the codec whose latents the generator is trained on.
        begun: names of weights that the checkpoint may lack; they stay as they were initialised.

    Returns:
        the checkpoint's record of its latents and its origin.

    Raises:
        UserError: it cannot be read, is of another codec, or its generator has another width, depth or encoder.
    """
    checkpoint = read_model(path)
    require_same_latents(checkpoint, codec)
    weights = played_weights(checkpoint["state_dict"])
    if not weights:
        raise UserError(f"base_checkpoint {path} holds no generator; name a checkpoint of a model that plays")
    own = generator.state_dict()
    weights = {name: own[name] for name in begun if name in own} | weights
    if difference := shape_difference(weights, own):
        raise UserError(
            f"base_checkpoint {path} does not fit this generator ({difference}); set width, depth and encoders to "
            "those of the config it was trained with"
        )
    generator.load_state_dict(weights)
    return {"livejam": {**checkpoint["livejam"], "lineage": ancestors(checkpoint)}}


def require_same_latents(checkpoint: dict[str, Any], codec: Codec) -> None:
    """Refuse a base of another codec; published models record only the shape of their latents, not the codec's weights.

    Raises:
        UserError: names every field that differs.
    """
    facts = checkpoint["livejam"]
    known = facts if facts["latents_hash"] is not None else {**facts, "latents_hash": codec.latents_hash}
    require_same_codec({"livejam": known}, codec)
