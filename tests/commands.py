"""Commands found in documents, and the miniature data they are tried on."""

from __future__ import annotations

import copy
import functools
import itertools
import re
import shlex
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lightning_modules.resolvers import register
from livejam.config_files import merged
from livejam.shipped_configs import DEFAULTS

REPOSITORY = Path(__file__).parent.parent
_COMMAND = re.compile(r"^(?:#? {2,})?((?:lightning|livejam|make|sbatch) .*?)(?: {2,}\(.*\)| {2,}#.*)?$")


def commands_in(text: str) -> list[list[str]]:
    """Commands of ours in the lines of a text: indented, in a comment or in a fenced block, `\\` continues a line."""
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(found[1], comments=True) for line in lines if (found := _COMMAND.match(line))]


@functools.cache  # reading all of them takes seconds, and many files of tests ask for it when they are imported
def experiments() -> list[Path]:
    """Every shipped YAML that is an experiment of its own, found on disk: it names a recipe."""
    return [path for path in _configs() if "class_path" in (merged(path).get("model") or {})]


@functools.cache
def overlays() -> list[Path]:
    """Every shipped YAML that goes on top of an experiment."""
    known = experiments()
    return [path for path in _configs() if path not in known]


def tiny_overlay(config: Path) -> Path:
    """The miniature of an experiment: its own, where its sizes are too large for short songs, else its recipe's."""
    own = REPOSITORY / f"tests/tiny/{config.parent.name}_{config.stem}.yaml"
    recipe = merged(config)["model"]["class_path"].rpartition(".")[2]
    return own if own.is_file() else REPOSITORY / f"tests/tiny/{recipe}.yaml"


def commands_of(config: Path) -> list[list[str]]:
    """The `lightning` commands in the comment at the top of a YAML."""
    lines = config.read_text(encoding="utf-8").splitlines()
    comment = "\n".join(itertools.takewhile(lambda line: line.startswith("#"), lines))
    return [words for words in commands_in(comment) if words[0] == "lightning"]


def without_checkpoint(words: list[str]) -> list[str]:
    """A command without the checkpoint that the command before it writes."""
    if "--ckpt_path" not in words:
        return words
    at = words.index("--ckpt_path")
    return words[:at] + words[at + 2 :]


def _configs() -> list[Path]:
    return sorted(set(REPOSITORY.glob("configs/**/*.yaml")) - {DEFAULTS})


def effective(config: Path) -> dict[str, Any]:
    """An experiment with what it begins with and is based on, without interpolation; classes' defaults are left out."""
    return copy.deepcopy(_effective(config))


@functools.cache
def _effective(config: Path) -> dict[str, Any]:
    register()
    told = OmegaConf.create({"variant": [], **merged(DEFAULTS, config)})
    content = OmegaConf.to_container(told, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def relative(path: Path) -> str:
    """For the names of tests."""
    return str(path.relative_to(REPOSITORY))
