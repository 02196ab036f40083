"""Commands found in documents, and the miniature data they are tried on."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
_COMMAND = re.compile(r"^(?:#? {2,})?((?:lightning|livejam|make|sbatch) .*?)(?: {2,}\(.*\)| {2,}#.*)?$")


def commands_in(text: str) -> list[list[str]]:
    """Commands of ours in the lines of a text: indented, in a comment or in a fenced block, `\\` continues a line."""
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(found[1], comments=True) for line in lines if (found := _COMMAND.match(line))]


def experiments() -> list[Path]:
    """Every shipped YAML that is an experiment of its own, found on disk."""
    shared = {"overlays", "slurm"}
    return sorted(path for path in REPOSITORY.glob("configs/**/*.yaml") if path.parent.name not in shared)


def overlays() -> list[Path]:
    """Every shipped YAML that goes on top of an experiment."""
    return sorted(REPOSITORY.glob("configs/overlays/*.yaml"))


def relative(path: Path) -> str:
    """For the names of tests."""
    return str(path.relative_to(REPOSITORY))
