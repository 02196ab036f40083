"""What a checkpoint records about itself (codec, statistics, instruments, lineage), and checks that it fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from livejam.batch import CATEGORIES, NEVER_ASKED, in_order
from livejam.codecs.codec import Codec
from livejam.errors import UserError
from livejam.spec import CodecSpec, LatentStatistics

Ancestor = Mapping[str, Any]
"""A training as plain values: `recipe`, `iteration`, and if it has them, the `mask` of the network and `averaged`, the
number of models whose mean took the place of its weights."""


def ancestors(checkpoint: Mapping[str, Any]) -> list[Ancestor]:
    """The training runs that led to a checkpoint, its own last."""
    before: list[Ancestor] = list(checkpoint["livejam"].get("lineage", []))
    return [*before, _training(checkpoint)]


def lineage_text(lineage: Sequence[Ancestor]) -> str:
    """The lineage as text: `FlowMatching (BlockCausal) 8000 → ARCForcing (BlockCausal) 1200`."""
    names = [f"{a['recipe']} ({a['mask']})" if a.get("mask") else str(a["recipe"]) for a in lineage]
    means = [f" (mean of {a['averaged']})" if a.get("averaged") else "" for a in lineage]
    return " → ".join(f"{name} {a['iteration']}{mean}" for name, a, mean in zip(names, lineage, means, strict=True))


def transformer_settings(checkpoint: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The settings of a checkpoint's diffusion transformer; None if it has none, or carries no configuration."""
    settings: Any = checkpoint.get("config", {}).get("model", {})
    for name in ("generator", "transformer"):
        settings = ((settings or {}).get("init_args") or {}).get(name)
        if not isinstance(settings, Mapping):
            return None
    found: Mapping[str, Any] | None = settings.get("init_args")
    return found


def mask_name(settings: Mapping[str, Any]) -> str:
    """The class of a transformer's mask."""
    mask = settings.get("mask")
    return str(mask["class_path"]).rpartition(".")[2] if mask else "Bidirectional"


def _training(checkpoint: Mapping[str, Any]) -> Ancestor:
    recipe = checkpoint.get("config", {}).get("model", {}).get("class_path", "unknown recipe").rpartition(".")[2]
    iteration = checkpoint["state_dict"].get("iteration")
    training = {"recipe": recipe, "iteration": "?" if iteration is None else int(iteration)}
    if averaged := checkpoint["livejam"].get("averaged_from"):
        training["averaged"] = len(averaged)
    settings = transformer_settings(checkpoint)
    return training if settings is None else training | {"mask": mask_name(settings)}


def learnt_instruments(checkpoint: Mapping[str, Any]) -> tuple[str, ...]:
    """The instruments that a checkpoint learnt; none if it does not record them.

    For older checkpoints they follow from the targets in the configuration.
    """
    said = checkpoint.get("livejam", {}).get("instruments")
    return _configured(checkpoint.get("config", {})) if said is None else in_order(map(str, said))


def _configured(config: Mapping[str, Any]) -> tuple[str, ...]:
    data, model = ((config.get(part) or {}).get("init_args") or {} for part in ("data", "model"))
    if "targets" not in data:
        return ()
    dropouts = (model.get("generator_class_dropout"), model.get("prompt_dropout"))
    may_choose = any(isinstance(share, float) and share > 0 for share in dropouts)
    targets = data["targets"] or [name for name in CATEGORIES if name not in NEVER_ASKED]
    return in_order([*map(str, targets), *["Any"] * may_choose])


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
    # None: imported from elsewhere, where only the shape of the encoder's latents is known
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
    if difference := shape_difference(checkpoint["state_dict"], module.state_dict()):
        raise UserError(f"the checkpoint does not fit this model ({difference}); use the config it was trained with")


def shape_difference(saved: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """The first weight that differs, as `name: (2, 3) in the checkpoint, missing here`; empty if all of them fit."""
    for name in sorted(saved.keys() | own.keys()):
        theirs, ours = (tuple(w[name].shape) if name in w else "missing" for w in (saved, own))
        if theirs != ours:
            return f"{name}: {theirs} in the checkpoint, {ours} here"
    return ""


def require_same_statistics(checkpoint: dict[str, Any], statistics: LatentStatistics) -> None:
    """Refuse to continue training with latents that are normalised differently.

    Raises:
        UserError: names the field that differs.
    """
    saved = checkpoint["livejam"]
    for name, ours in (("latent_mean_C", statistics.mean_C), ("latent_std_C", statistics.std_C)):
        if not torch.allclose(saved[name], ours.cpu(), rtol=1e-4, atol=1e-6):
            raise UserError(
                f"{name} of the checkpoint differs from the data's; resume with the latent bank it was trained on"
            )
