"""The configurations that come with livejam, found by name wherever it is installed."""

from __future__ import annotations

import difflib
import itertools
import re
from pathlib import Path

from livejam.errors import UserError

ROOT = Path(__file__).parents[1] / "configs"
"""Beside the packages, in a clone and in an installation."""

DEFAULTS = ROOT / "defaults.yaml"
"""What every experiment begins with."""


def shipped_names() -> list[str]:
    """`liveband/pocket` for configs/liveband/pocket.yaml; files of another kind keep their ending."""
    files = sorted(path for path in ROOT.rglob("*") if path.is_file() and path.suffix in (".yaml", ".json", ".sbatch"))
    return [path.relative_to(ROOT).as_posix().removesuffix(".yaml") for path in files]


def find_config(name: str) -> Path:
    """A file of the user's, or else the shipped one of that name.

    Args:
        name: a path, or a shipped name, with or without `configs/` and `.yaml`.

    Raises:
        UserError: there is neither.
    """
    own = Path(name)
    return own if own.exists() else find_shipped(name)


def find_shipped(name: str) -> Path:
    """The shipped file of a name.

    Raises:
        UserError: there is none; it names the nearest ones.
    """
    short, names = _short(name), shipped_names()
    if short not in names:
        raise UserError(
            f"there is no file {name}, and no shipped config of that name{_nearest(short, names)}; "
            "`livejam configs` lists them"
        )
    return next(path for path in (ROOT / f"{short}.yaml", ROOT / short) if path.is_file())


def description(path: Path) -> str:
    """The first sentence of the comment that a config begins with."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if lines and lines[0].startswith("#!"):
        lines = lines[1:]
    comment = itertools.takewhile(lambda line: line.startswith("#"), lines)
    text = itertools.takewhile(lambda line: not line.startswith(("#  ", "#SBATCH")), comment)
    first = " ".join(line.lstrip("# ") for line in text)
    return first.partition(". ")[0].removesuffix(".")


def how_to_train(checkpoint: Path) -> str:
    """The end of a sentence on a missing checkpoint; where a shipped config names the run's folder, it says how."""
    runs = "|".join(re.escape(folder.as_posix()) for folder in checkpoint.parents if len(folder.parts) > 1)
    named = re.compile(rf"default_root_dir:? (?:{runs})(?:[$\s]|$)")
    for path in sorted(ROOT.rglob("*.yaml")) if runs else ():
        if named.search(path.read_text(encoding="utf-8")):
            return f"the first lines of configs/{path.relative_to(ROOT).as_posix()} say how to train it"
    return "train one with `make demo` or `lightning fit`"


def _short(name: str) -> str:
    return name.removeprefix("configs/").removesuffix(".yaml")


def _nearest(name: str, names: list[str]) -> str:
    """`; did you mean …?` with names that are spelt alike, as a whole or in their last part."""
    last = {known.rpartition("/")[2]: known for known in reversed(names)}
    near = [last[word] for word in difflib.get_close_matches(name.rpartition("/")[2], last, n=2)]
    near = list(dict.fromkeys([*difflib.get_close_matches(name, names, n=2), *near]))
    return f"; did you mean {' or '.join(near[:3])}?" if near else ""
