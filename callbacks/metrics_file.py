"""The curves of a run as one small file that any tool can read."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Mapping
from pathlib import Path

from livejam.files import atomic_path

COLUMNS = ("step", "epoch", "tag", "value")


class MetricsFile:
    """A CSV with one line per number: step, epoch, tag, value.

    Args:
        path: the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, step: int, epoch: int, numbers: Mapping[str, float]) -> None:
        """Add lines at the end; the header comes first in a new file.

        Args:
            step: training iterations so far.
            epoch: index of the epoch.
            numbers: value per tag.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if not file.tell():
                writer.writerow(COLUMNS)
            writer.writerows((step, epoch, tag, f"{value:.6g}") for tag, value in numbers.items())

    def begin(self, step: int) -> None:
        """Prepare for a run that starts or continues here.

        A run that starts again moves existing lines to another file, `metrics.1.csv` and so on. A resumed run drops the
        lines of later steps, which will be repeated, and damaged lines.

        Args:
            step: iterations before the run starts.
        """
        if not self.path.is_file():
            return
        if step == 0:
            names = (self.path.with_suffix(f".{number}{self.path.suffix}") for number in itertools.count(1))
            self.path.rename(next(name for name in names if not name.exists()))
            return
        with self.path.open(newline="") as file:
            lines = [line for line in csv.reader(file) if _is_before(line, step)]
        with atomic_path(self.path) as temporary, temporary.open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *lines])


def _is_before(line: list[str], step: int) -> bool:
    return len(line) == len(COLUMNS) and line[0].isdecimal() and int(line[0]) <= step
