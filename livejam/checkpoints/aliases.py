"""Names in older checkpoints and configurations that have changed since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MODULES = {
    "livejam.past": "livejam.systems.context",
    "livejam.codecs.front_end": "livejam.codecs.features",
    "livejam.codecs.trunk": "livejam.codecs.causal_convs",
    "livejam.networks.attention": "livejam.networks.causal_transformer",
    "livejam.networks.unconditional": "livejam.networks.diffusion_conditions",
    "livejam.sampling.sampler": "livejam.sampling.samplers",
}
"""Modules that moved."""

CLASSES = {
    "ImposedPast": "InpaintedContext",
    "RoutedPast": "RoutedContext",
    "Scales": "KarrasTimes",
}
"""Classes with another name."""

ARGUMENTS = {
    "jam_channels": "mix_channels",
    "jam_dropout": "mix_dropout",
    "jam_partial_dropout": "mix_partial_dropout",
    "past": "context_mode",
    "scales": "karras_times",
    "valley_weight": "spectral_gap_weight",
}
"""Constructor arguments with another name."""

GROUPS = {
    "ARCForcing": {
        "rollout": {
            "rollout_blocks": "blocks",
            "schedule_steps": "schedule_steps",
            "fewest_steps": "fewest_steps",
            "checkpointing": "checkpointing",
        },
        "objective": {
            name: name for name in ("contrastive_weight", "penalty_weight", "penalty_noise", "judging_times")
        },
    }
}
"""Arguments of a class that are now those of a part of it: class → part → old name → its name there."""


def renamed(config: Any) -> Any:
    """A configuration, or a part of one, with today's names; unchanged names stay as they are.

    Args:
        config: plain values; arguments are renamed only under `init_args`, so that nothing else is mistaken for one.
    """
    if isinstance(config, Mapping):
        changed = {key: _value(key, value) for key, value in config.items()}
        groups = GROUPS.get(str(changed.get("class_path")).rpartition(".")[2])
        if groups and isinstance(changed.get("init_args"), dict):
            changed["init_args"] = _grouped(changed["init_args"], groups)
        return changed
    return [renamed(item) for item in config] if isinstance(config, list) else config


def _grouped(arguments: dict[str, Any], groups: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    for part, names in groups.items():
        found = {new: arguments.pop(old) for old, new in names.items() if old in arguments}
        if found:
            arguments[part] = {**arguments.get(part, {}), **found}
    return arguments


def _value(key: str, value: Any) -> Any:
    if key == "class_path" and isinstance(value, str):
        return _class_path(value)
    if key == "init_args" and isinstance(value, Mapping):
        return {ARGUMENTS.get(name, name): renamed(given) for name, given in value.items()}
    return renamed(value)


def _class_path(path: str) -> str:
    module, dot, name = path.rpartition(".")
    return f"{MODULES.get(module, module)}{dot}{CLASSES.get(name, name)}"


def player_of_older(config: Mapping[str, Any]) -> dict[str, Any]:
    """The accompanist of a checkpoint that was written before checkpoints named it.

    Raises:
        KeyError: its recipe has other names for its parts, or does not play.
    """
    recipe, settings = config["model"]["class_path"].rpartition(".")[2], config["model"]["init_args"]
    if recipe == "R3GAN":
        names, class_path = ("generator", "anticipation_frames"), "livejam.systems.liveband.LiveBandAccompanist"
        return {"class_path": class_path, "init_args": {name: settings[name] for name in names}}
    first, played = settings["cutoff_blocks"][0], settings["play_cutoff_blocks"]
    arguments = {name: settings[name] for name in ("generator", "context_mode", "sampler")}
    arguments["cutoff_blocks"] = first if played is None else played
    if settings.get("unconditional") is not None:
        sides = {"class_path": "livejam.networks.Unconditional", "init_args": settings["unconditional"]}
        arguments["unconditional"] = sides
    return {"class_path": "livejam.systems.lmdm.LMDMAccompanist", "init_args": arguments}
