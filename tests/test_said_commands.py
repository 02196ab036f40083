"""Every command that a help text, an error, a docstring or a document names can be typed."""

from __future__ import annotations

import argparse
import ast
import contextlib
import itertools
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import (
    REPOSITORY,
    commands_in,
    commands_of,
    effective,
    experiments,
    overlays,
    relative,
    without_checkpoint,
)

from lightning_modules import cli as lightning_cli
from livejam.cli import main as livejam_cli
from livejam.cli.codec import fold_codec_options
from livejam.errors import UserError
from livejam.shipped_configs import shipped_names

Command = Callable[..., tuple[int, str]]

PROGRAMS = ("lightning", "livejam", "make", "sbatch")
QUOTED = re.compile(rf"`((?:{'|'.join(PROGRAMS)}) [^`]+)`")
STAND_IN = "7"
"""For what an error fills in: good as a number, a name and a path."""

COMMANDS = {*lightning_cli.LivejamCLI.subcommands(), *livejam_cli._names(livejam_cli.build_parser())}

PACKAGES = ("livejam", "lightning_modules", "datamodules", "callbacks", "metrics", "benchmarks")


def texts() -> Iterator[tuple[Path, str]]:
    """All that is said to people: documents, comments of configs, and every string in the sources."""
    for pattern in ("*.md", "docs/*.md", "configs/**/*.yaml", "configs/**/*.sbatch"):
        yield from ((path, path.read_text(encoding="utf-8")) for path in sorted(REPOSITORY.glob(pattern)))
    for package in PACKAGES:
        for path in sorted(REPOSITORY.glob(f"{package}/**/*.py")):
            yield path, "\n".join(strings(ast.parse(path.read_text(encoding="utf-8"))))


def strings(tree: ast.AST) -> Iterator[str]:
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else STAND_IN for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def said() -> dict[str, Path]:
    """Command → a file that says it. What is quoted within a line may be the beginning of a command only."""
    found: dict[str, Path] = {}
    for path, text in texts():
        quoted = [words for line in QUOTED.findall(" ".join(text.split("\n"))) for words in alternatives(line)]
        for words in quoted + [words for words in commands_in(text) if is_no_prose(words)]:
            if words[0] in PROGRAMS and words[1] != STAND_IN:
                found.setdefault(shlex.join(words), path)
    return found


def is_no_prose(words: list[str]) -> bool:
    """Whether a line that begins with a program's name goes on like a command."""
    return words[1] in COMMANDS or any(word.startswith("-") for word in words)


def alternatives(line: str) -> Iterator[list[str]]:
    """`weights list|fetch` is two commands, `ANSWERS …` is any number of them."""
    words = shlex.split(line.replace("…", "").replace("\\", " ").partition(" | ")[0])
    several = next((i for i, word in enumerate(words) if re.fullmatch(r"[a-z-]+(\|[a-z-]+)+", word)), None)
    if several is None:
        yield words
    else:
        yield from ([*words[:several], word, *words[several + 1 :]] for word in words[several].split("|"))


SAID = said()
TRIED_ELSEWHERE = {shlex.join(command) for path in experiments() + overlays() for command in commands_of(path)}
TRIED_ELSEWHERE |= {line for line, path in SAID.items() if path.name == "README.md"}


def of(program: str) -> list[list[str]]:
    return [words for words in map(shlex.split, SAID) if words[0] == program]


def test_many_are_found() -> None:
    assert len(SAID) > 100
    assert {"make demo", "livejam weights fetch 7", "livejam data download"} <= SAID.keys()
    assert any("lightning_modules/cli.py" in relative(path) for path in SAID.values())


@pytest.mark.parametrize("words", of("make"), ids=shlex.join)
def test_make(words: list[str]) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    assert {word for word in words[1:] if "=" not in word and word != "|"} <= targets


@pytest.mark.parametrize("words", of("livejam"), ids=shlex.join)
def test_livejam(words: list[str]) -> None:
    """The whole command parses, or it is the name of one, whose arguments the text leaves to the reader."""
    with contextlib.suppress(UnfinishedError):
        assert callable(parsed(words[1:]).run)


class UnfinishedError(Exception):
    """Arguments are missing, none is wrong."""


def parsed(arguments: list[str]) -> argparse.Namespace:
    try:
        return livejam_cli.build_parser().parse_args(fold_codec_options(arguments))
    except UserError as error:
        if "required" in str(error) or "expected one argument" in str(error):
            raise UnfinishedError from error
        raise


@pytest.mark.parametrize("words", of("lightning"), ids=shlex.join)
def test_lightning(words: list[str], lightning_command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert words[1] in lightning_cli.LivejamCLI.subcommands() or words[1] == "--help"
    if "--config" in words and shlex.join(words) not in TRIED_ELSEWHERE:
        monkeypatch.chdir(REPOSITORY)
        extra = [] if "--print_config" in words else ["--print_config"]
        assert lightning_command(*without_checkpoint(words[1:]), *extra) == (0, "")


def test_files_exist_or_are_written_by_another_command() -> None:
    everything = [word for line in SAID for word in shlex.split(line)]
    shipped = [word for word in everything if word.endswith((".yaml", ".sbatch"))]
    assert not [word for word in shipped if not (REPOSITORY / word).exists() and word not in shipped_names()]
    outputs = ("--out", "--trainer.default_root_dir")
    written = {after for word, after in itertools.pairwise(everything) if word in outputs}
    roots = {effective(path)["trainer"]["default_root_dir"] for path in experiments()}
    read = {word for word in everything if word.startswith("runs/")}
    assert not [word for word in read if not word.startswith((*roots, *written))]
