"""Whether the files after --config are YAML that says one thing, before the parser reads them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import yaml

from livejam.errors import UserError

_FLAGS = ("--config", "-c")


def check_configs(arguments: Sequence[str]) -> None:
    """Name the file and the line of a mistake in a YAML, which the parser does not know.

    Args:
        arguments: the command line.

    Raises:
        UserError: a file is missing, is no YAML, is empty, says a key twice, or holds itself.
    """
    texts = [following for flag, following in itertools.pairwise(arguments) if flag in _FLAGS]
    texts += [
        value for option, is_set, value in (word.partition("=") for word in arguments) if is_set and option in _FLAGS
    ]
    for text in texts:
        if not _is_inline(text):
            _check(Path(text))


def _is_inline(text: str) -> bool:
    """Whether it is not the name of a file but options themselves, as `{trainer: {max_epochs: 1}}`."""
    try:
        return isinstance(yaml.safe_load(text), dict)
    except yaml.YAMLError:
        return False


def _check(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a YAML file after --config (shipped ones lie in configs/)")
    if not path.is_file():
        raise UserError(f"there is no file {path}; check the path after --config (shipped ones lie in configs/)")
    try:
        text = path.read_text(encoding="utf-8")
        top = yaml.compose(text, yaml.SafeLoader)
        if not isinstance(top, yaml.MappingNode):
            raise UserError(f"{path} holds no options; write some, such as `trainer: {{max_epochs: 1}}`")
        _check_node(path, top, ())
        _check_sections(path, top)
        yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UserError(f"{path}, line {line}, is not valid YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a YAML file: {error}") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply; it is no configuration") from error


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
