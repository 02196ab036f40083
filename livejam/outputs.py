"""A check of what a command is about to write, before it reads anything: nothing that a user made is overwritten."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path

from livejam.errors import UserError


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add the switch `--overwrite`; without it, existing files are kept."""
    parser.add_argument("--overwrite", action="store_true", help="replace existing files (default: keep them)")


def require_free(outputs: Mapping[str, Path | None], inputs: Iterable[Path], overwrite: bool) -> None:
    """Refuse outputs that would destroy something.

    Args:
        outputs: the file that each option or argument names; None = nothing is written.
        inputs: files that are read; symbolic and hard links to them count as well.
        overwrite: whether files that exist, other than the inputs, may be replaced.

    Raises:
        UserError: an output is also an input, a folder, another output, or a file that exists.
    """
    files = {name: path for name, path in outputs.items() if path is not None}
    read = list(inputs)
    for name, path in files.items():
        if any(_same(path, other) for other in read):
            raise UserError(f"{name} {path} is also an input; write to another file")
        if path.is_dir():
            raise UserError(f"{name} {path} is a folder; name a file in it")
    for (name, path), (other_name, other) in itertools.combinations(files.items(), 2):
        if _same(path, other):
            raise UserError(f"{name} and {other_name} are both {path}; give each its own file")
    for name, path in files.items():
        if path.exists() and not overwrite:
            raise UserError(f"{name} {path} exists; choose another name, or replace it with --overwrite")


def require_folder(folder: Path) -> None:
    """Refuse the name of a file for a folder that several files are written to.

    Raises:
        UserError: it is a file, or has the name of one.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder} is a file; name a folder")
    if folder.suffix.lower() in (".wav", ".flac"):
        raise UserError(f"--out {folder} has the name of a file, but several are written; name a folder")


def _same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file, now or once it is written."""
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))
