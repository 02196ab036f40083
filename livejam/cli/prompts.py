"""The prompts of a command line: a file that says what is played from when on.

- {seconds: 0, words: drums}
- {seconds: 12, words: piano, eject_blocks: 3}
- {seconds: 24, words: {jazz piano: 0.7, strings: 0.3}, fade_seconds: 4}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from livejam.errors import UserError
from livejam.networks.conditioning import Words, read_words, weighted
from livejam.streaming.prompting import MOST_CHANGES, PromptChange

MOST_BYTES = 1 << 18
EXAMPLE = "`- {seconds: 12, words: piano}`"


def read_timeline(path: Path) -> list[PromptChange]:
    """The changes that a file lists, in its order.

    Args:
        path: YAML, a list of mappings with the fields of `PromptChange`. `words` is a text, or prompts with weights.

    Raises:
        UserError: the file is missing, too long or no YAML, or says something else than such changes.
    """
    entries = _parsed(path, _read(path))
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path} is no list of changes; write one per line, such as {EXAMPLE}")
    if len(entries) > MOST_CHANGES:
        raise UserError(f"{path} has {len(entries)} changes of prompt; use at most {MOST_CHANGES}")
    changes = []
    for number, entry in enumerate(entries, 1):
        try:
            changes.append(_change(entry))
        except UserError as error:
            raise UserError(f"{path}, change {number}: {error}") from error
    return changes


def _read(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"there is no file {path}; give a timeline of prompts")
    data = path.read_bytes()
    if len(data) > MOST_BYTES:
        raise UserError(f"{path} has {len(data)} bytes; a timeline of prompts has at most {MOST_BYTES}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8; give a timeline of prompts in YAML") from error


def _parsed(path: Path, text: str) -> Any:
    """Plain values, without aliases (which can stand for far more than the file holds) and keys that are said twice."""
    try:
        top = yaml.compose(text, yaml.SafeLoader)
        if top is not None:
            _check(path, top, set())
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UserError(f"{path}, line {line}, is not valid YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path} is not a YAML file: {str(error).splitlines()[0][:200]}") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply; it is no timeline of prompts") from error


def _check(path: Path, node: yaml.Node, seen: set[int]) -> None:
    line = f"{path}, line {node.start_mark.line + 1}"
    if id(node) in seen:
        raise UserError(f"{line}: an alias repeats something; write it out")
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise UserError(f"{line}: {str(twice[0])[:40]} is given twice; keep one")
    if isinstance(node, yaml.CollectionNode):
        for child in node.value:
            for part in child if isinstance(child, tuple) else (child,):
                _check(path, part, seen)


def _change(entry: object) -> PromptChange:
    if not isinstance(entry, dict):
        raise UserError(f"{str(entry)[:40]!r} is no change of the prompt; write it as {EXAMPLE}")
    known = [field.name for field in fields(PromptChange)]
    if unknown := [key for key in entry if key not in known]:
        raise UserError(f"there is no {str(unknown[0])[:40]!r}; there are {', '.join(known)}")
    if missing := [name for name in ("seconds", "words") if name not in entry]:
        raise UserError(f"{missing[0]} is missing; write it as {EXAMPLE}")
    for name in ("seconds", "fade_seconds"):
        _require(entry, name, (int, float), "a number of seconds")
    for name in ("fade_blocks", "eject_blocks"):
        _require(entry, name, (int,), "a whole number of blocks")
    _require(entry, "row", (int,), "the number of a row, beginning with 0")
    if "reencode" in entry and not isinstance(entry["reencode"], bool):
        raise UserError(f"reencode is {str(entry['reencode'])[:40]!r}; it must be true or false")
    asked = {name: _words(entry[name], name) for name in ("words", "negative") if name in entry}
    return PromptChange(**{**entry, **asked})


def _require(entry: Mapping[Any, Any], name: str, kinds: tuple[type, ...], what: str) -> None:
    given = entry.get(name, 0)
    if isinstance(given, bool) or not isinstance(given, kinds):
        raise UserError(f"{name} is {str(given)[:40]!r}; it must be {what}")


def _words(given: object, name: str) -> Words:
    if isinstance(given, str):
        return read_words(given)
    if not isinstance(given, dict):
        raise UserError(f"{name} is {str(given)[:40]!r}; it must be a text, or prompts with weights")
    for text, weight in given.items():
        if not isinstance(text, str) or isinstance(weight, bool) or not isinstance(weight, int | float):
            raise UserError(f"'{str(text)[:40]}: {str(weight)[:40]}' is no prompt with a weight, such as 'piano: 0.7'")
    return weighted(given)
