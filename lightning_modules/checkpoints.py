"""Checks that a checkpoint fits the model that is to load it; each failure is one sentence."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from livejam.codecs.codec import Codec
from livejam.errors import UserError
from livejam.spec import CodecSpec
from livejam.statistics import LatentStatistics


def require_same_codec(checkpoint: dict[str, Any], codec: Codec) -> None:
    """Refuse a checkpoint that was trained on the latents of another codec.

    Raises:
        UserError: names every field that differs.
    """
    if "livejam" not in checkpoint:
        raise UserError("the checkpoint carries no codec; it was not written by a livejam recipe")
    saved = checkpoint["livejam"]
    try:
        CodecSpec(**saved["codec_spec"]).require_same(codec.spec, ours="the checkpoint", theirs="this model")
    except ValueError as error:
        raise UserError(str(error)) from error
    # None: imported from elsewhere, where nothing is known of the encoder but its latents' shape
    if saved["latents_hash"] not in (None, codec.latents_hash):
        raise UserError(
            f"the checkpoint was trained on the latents of another encoder of codec {codec.spec.name} "
            f"(latents_hash {saved['latents_hash'][:12]} != {codec.latents_hash[:12]}); load that codec"
        )


def require_same_shapes(checkpoint: dict[str, Any], module: nn.Module) -> None:
    """Refuse a checkpoint of another width, depth or kind.

    Raises:
        UserError: names the first parameter that differs.
    """
    saved, own = checkpoint["state_dict"], module.state_dict()
    for name in sorted(saved.keys() | own.keys()):
        theirs = tuple(saved[name].shape) if name in saved else "missing"
        ours = tuple(own[name].shape) if name in own else "missing"
        if theirs != ours:
            raise UserError(
                f"the checkpoint does not fit this model ({name}: {theirs} in the checkpoint, {ours} here); "
                "use the config it was trained with"
            )


def require_same_statistics(checkpoint: dict[str, Any], statistics: LatentStatistics) -> None:
    """Refuse to train on with latents that are normalised in another way.

    Raises:
        UserError: names the field that differs.
    """
    saved = checkpoint["livejam"]
    for name, ours in (("latent_mean_C", statistics.mean_C), ("latent_std_C", statistics.std_C)):
        if not torch.allclose(saved[name], ours.cpu(), rtol=1e-4, atol=1e-6):
            raise UserError(
                f"{name} of the checkpoint differs from the data's; resume with the latent bank it was trained on"
            )
