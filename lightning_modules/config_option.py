"""`--config`: a file on top of what it is based on, in today's names."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile, Namespace  # type: ignore[attr-defined]  # not in its __all__

from livejam.checkpoints.aliases import renamed
from livejam.config_files import BASE, layers, nested


class ConfigFile(ActionConfigFile):
    """Reads what a file is based on, then the file; its lists take the place of earlier ones.

    The parser by itself would merge lists of classes that are equally long, element by element.

    Raises:
        UserError: a file is missing, is no YAML, is empty, says a key twice, or is based on itself.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        assert isinstance(namespace, Namespace)
        for layer in [values] if _is_inline(values) else map(str, layers(values)):
            text = layer if _is_inline(layer) else Path(layer).read_text(encoding="utf-8")
            for key in _lists(nested(yaml.safe_load(text))):
                namespace.pop(key, None)
            super().__call__(parser, namespace, layer, option_string)


def plain(text: str) -> str:
    """The text of a config without its base, which was read before it, and in today's names."""
    options = yaml.safe_load(text)
    if not isinstance(options, dict):
        return text
    today = renamed(nested({key: value for key, value in options.items() if key != BASE}))
    return text if today == options else yaml.safe_dump(today, allow_unicode=True, sort_keys=False)


def _lists(options: dict[str, Any]) -> Iterator[str]:
    """The dotted keys of all lists of classes."""
    for key, value in options.items():
        if isinstance(value, dict):
            yield from (f"{key}.{below}" for below in _lists(value))
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            yield key


def _is_inline(text: str) -> bool:
    """Whether it is not the name of a file but options themselves, as `{trainer: {max_epochs: 1}}`."""
    try:
        return isinstance(yaml.safe_load(text), dict)
    except yaml.YAMLError:
        return False
