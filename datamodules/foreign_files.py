"""Small text files of strangers: metadata that is read only if it is small, shallow and of the expected form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 1 << 20
"""Slakh2100's metadata.yaml have about ten kilobytes."""

DEEPEST = 32
"""Real metadata nest four deep. Parsers recurse, and libyaml's binding crashes the process where Python would stop."""


class ForeignFileError(Exception):
    """Why a file cannot be used, as the end of a sentence."""


def read_text(path: Path) -> str:
    """The text of a small file; bytes that are not UTF-8 are replaced.

    Raises:
        ForeignFileError: it is missing, cannot be read, or is larger than a megabyte.
    """
    try:
        if not path.is_file():
            raise ForeignFileError(f"{path.name} is missing")
        if path.stat().st_size > MOST_BYTES:
            raise ForeignFileError(f"{path.name} is larger than {MOST_BYTES >> 20} MB, so it is no metadata")
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ForeignFileError(f"{path.name} cannot be read ({error.strerror})") from error


def parse_yaml(text: str) -> Any:
    """Plain values of a YAML text.

    Raises:
        yaml.YAMLError: it is not YAML, or nests too deeply.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    # events come from a loop, values from a recursion
    for event in yaml.parse(text, loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.YAMLError("it is nested too deeply")
    try:
        return yaml.load(text, Loader=loader)
    # a date such as 2020-13-45 is no YAMLError
    except ValueError as error:
        raise yaml.YAMLError(str(error)) from error


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping that a YAML or JSON file holds.

    Raises:
        ForeignFileError: the file cannot be read, or holds something else.
    """
    text = read_text(path)
    try:
        values = json.loads(text) if path.suffix == ".json" else parse_yaml(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ForeignFileError(f"{path.name} is damaged") from error
    if not isinstance(values, dict):
        raise ForeignFileError(f"{path.name} is damaged")
    return values


def is_file_name(name: object) -> bool:
    """Whether a name from a stranger's file is the name of a file beside it, and leads nowhere else."""
    return isinstance(name, str) and name not in ("", ".", "..") and Path(name).name == name and "\0" not in name
