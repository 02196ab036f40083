"""Configs as files: checked before a parser reads them, and put on top of what they are based on.

A file that begins with `base: FILE` says only what it changes: `--config X` is then `--config FILE --config X`. The
base is a file beside it, or a shipped config by its name, and may have a base of its own.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

from livejam.errors import UserError
from livejam.shipped_configs import find_config

BASE = "base"
"""The key that names what a file goes on top of."""


def layers(path: str | Path, above: tuple[Path, ...] = ()) -> list[Path]:
    """A file, after all those that it goes on top of.

    Args:
        path: the file, or the name of a shipped config.
        above: the files that lead to it.

    Raises:
        UserError: a file is missing, is no YAML, is empty, says a key twice, or is based on itself.
    """
    file = find_config(str(path))
    if any(file.resolve() == other.resolve() for other in above):
        raise UserError(f"{file} is based on itself: {' → '.join(str(other) for other in (*above, file))}")
    base = _checked_base(file)
    if base is None:
        return [file]
    beside = file.parent / base
    return [*layers(beside if beside.is_file() else base, (*above, file)), file]


def merged(*paths: str | Path) -> dict[str, Any]:
    """What files say together with what they are based on, as plain values, as far as nested keys go.

    Args:
        paths: files or names of shipped configs, later ones on top of earlier ones.

    Raises:
        UserError: as `layers`.
    """
    texts = [layer.read_text(encoding="utf-8") for path in paths for layer in layers(path)]
    result: dict[str, Any] = functools.reduce(_over, (nested(yaml.safe_load(text)) for text in texts))
    result.pop(BASE, None)
    return result


def nested(options: dict[str, Any]) -> dict[str, Any]:
    """Options of which the first keys may be dotted: `model.init_args: {…}` is `model: {init_args: {…}}`."""
    result: dict[str, Any] = {}
    for key, value in options.items():
        first, *rest = str(key).split(".")
        result = _over(result, {first: functools.reduce(lambda inner, part: {part: inner}, reversed(rest), value)})
    return result


def _over(under: Any, top: Any) -> Any:
    if not (isinstance(under, dict) and isinstance(top, dict)):
        return top
    return {**under, **{key: _over(under.get(key), value) for key, value in top.items()}}


def _checked_base(path: Path) -> str | None:
    """What a file is based on, if it is sound."""
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a YAML file (`livejam configs` lists shipped ones)")
    try:
        text = path.read_text(encoding="utf-8")
        top = yaml.compose(text, yaml.SafeLoader)
        if not isinstance(top, yaml.MappingNode):
            raise UserError(f"{path} holds no options; write some, such as `trainer: {{max_epochs: 1}}`")
        _check_node(path, top, ())
        _check_sections(path, top)
        yaml.safe_load(text)
        return _base(path, top)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UserError(f"{path}, line {line}, is not valid YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a YAML file: {error}") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply; it is no configuration") from error


def _base(path: Path, top: yaml.MappingNode) -> str | None:
    found = next((pair for pair in top.value if pair[0].value == BASE), None)
    if found is None:
        return None
    key, value = found
    if value.tag != "tag:yaml.org,2002:str":
        line = key.start_mark.line + 1
        raise UserError(
            f"{path}, line {line}: base is one file that this one goes on top of, such as `base: quickstart`"
        )
    return str(value.value)


def _check_node(path: Path, node: yaml.Node, above: tuple[yaml.Node, ...]) -> None:
    """Refuse a key that is said twice, of which YAML silently takes the last, and an alias of what it is in."""
    line = f"{path}, line {node.start_mark.line + 1}"
    if any(node is other for other in above):
        raise UserError(f"{line}: an alias stands for what it is a part of")
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key, value in node.value:
            if keys.count(key.value) > 1:
                raise UserError(f"{line}: {key.value} is given twice below; keep one")
            if key.value == "class_path" and value.tag != "tag:yaml.org,2002:str":
                raise UserError(f"{line}: class_path is no name of a class, such as lightning_modules.R3GAN")
    if isinstance(node, yaml.CollectionNode):
        for child in node.value:
            for part in child if isinstance(child, tuple) else (child,):
                _check_node(path, part, (*above, node))


def _check_sections(path: Path, top: yaml.MappingNode) -> None:
    for key, value in top.value:
        if key.value in ("trainer", "model") and value.tag == "tag:yaml.org,2002:null":
            raise UserError(f"{path}, line {key.start_mark.line + 1}: {key.value} is empty; fill it or leave it out")
