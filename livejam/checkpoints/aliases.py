"""What older checkpoints and configurations call by names that have changed since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MODULES = {
    "livejam.past": "livejam.systems.context",
    "livejam.codecs.front_end": "livejam.codecs.features",
    "livejam.codecs.trunk": "livejam.codecs.causal_convs",
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


def renamed(config: Any) -> Any:
    """A configuration, or a part of one, with today's names; what has not changed stays as it is.

    Args:
        config: plain values; arguments are renamed under `init_args` alone, so that nothing else is taken for one.
    """
    if isinstance(config, Mapping):
        return {key: _value(key, value) for key, value in config.items()}
    return [renamed(item) for item in config] if isinstance(config, list) else config


def _value(key: str, value: Any) -> Any:
    if key == "class_path" and isinstance(value, str):
        return _class_path(value)
    if key == "init_args" and isinstance(value, Mapping):
        return {ARGUMENTS.get(name, name): renamed(given) for name, given in value.items()}
    return renamed(value)


def _class_path(path: str) -> str:
    module, dot, name = path.rpartition(".")
    return f"{MODULES.get(module, module)}{dot}{CLASSES.get(name, name)}"
