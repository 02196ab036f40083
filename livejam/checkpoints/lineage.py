"""Where a model comes from: the trainings before the last one, in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Ancestor = Mapping[str, Any]
"""A training as plain values: `recipe`, `iteration`, and the `mask` of the network, if it has one."""


def ancestors(checkpoint: Mapping[str, Any]) -> list[Ancestor]:
    """The trainings that led to a checkpoint, its own last."""
    before: list[Ancestor] = list(checkpoint["livejam"].get("lineage", []))
    return [*before, _training(checkpoint)]


def told(lineage: Sequence[Ancestor]) -> str:
    """For people: `FlowMatching (BlockCausal) 8000 → ARCForcing (BlockCausal) 1200`."""
    names = [f"{a['recipe']} ({a['mask']})" if a.get("mask") else str(a["recipe"]) for a in lineage]
    return " → ".join(f"{name} {a['iteration']}" for name, a in zip(names, lineage, strict=True))


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
    settings = transformer_settings(checkpoint)
    return training if settings is None else training | {"mask": mask_name(settings)}
