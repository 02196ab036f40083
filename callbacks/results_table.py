"""The table that `lightning test` ends with, on screen and as JSON."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.anchors import ANCHORS
from callbacks.monitor import MODEL, Monitor, Result
from livejam.errors import UserError
from livejam.files import atomic_path

COLUMNS = {
    "beat_f1_drums": "beat_f1_truth/Percussive",
    "beat_f1_mix": "beat_f1/Percussive",
    "chord_tone_share": "chord_tone_share",
    "phase_lock": "phase_lock",
    "fad": "fad/log_mel",
    "loudness_db": "loudness_db",
    "loudness_error_db": "loudness_error_db",
}
"""Column of the table → name under which a monitor reports it."""

ORDER = ("trained", "untrained", *ANCHORS)

Rows = dict[str, dict[str, dict[str, Any]]]


class ResultsTable(Callback):
    """Collects what the monitors measured in test into rows, writes them, and prints the table.

    The file is an object of rows; per row and column `{"value": …, "drift": …, "count": …}`: the first segment, the
    second minus the first, and the number of items (of embeddings for Fréchet distances); null where undefined. Rows
    of other runs that are in the file already stay there, so that several tests fill one table.

    Args:
        row: name of this model's row.
        path: the JSON file; None = `results.json` in the trainer's root.
        columns: column → name under which a monitor reports it; None = `COLUMNS`.
    """

    def __init__(self, row: str = "trained", path: str | None = None, columns: dict[str, str] | None = None) -> None:
        if row in ANCHORS:
            raise UserError(f"the row {row!r} belongs to an anchor; name the model's row otherwise")
        self.row, self.columns = row, columns or COLUMNS
        self.path = Path(path) if path is not None else None
        self._table: str | None = None

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Merge this run's rows into the file."""
        if not trainer.is_global_zero:
            return
        measured: dict[str, dict[str, Result]] = {}
        for monitor in (callback for callback in trainer.callbacks if isinstance(callback, Monitor)):
            for row, results in monitor.results.items():
                measured.setdefault(self.row if row == MODEL else row, {}).update(results)
        path = self.path or Path(trainer.default_root_dir) / "results.json"
        rows = {**read_rows(path), **{row: self._cells(results) for row, results in measured.items()}}
        rows = {row: rows[row] for row in sorted(rows, key=_place)}
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(rows, indent=2, allow_nan=False) + "\n")
        self._table = f"\n{format_table(rows)}\n\nwritten to {path}\n"

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Print last, below everything that the trainer itself has to say."""
        if self._table is not None:
            sys.stdout.write(self._table)
            sys.stdout.flush()
            self._table = None

    def _cells(self, results: dict[str, Result]) -> dict[str, dict[str, Any]]:
        cells = {column: results[name] for column, name in self.columns.items() if name in results}
        return {
            column: {"value": _number(r.value), "drift": _number(r.drift), "count": r.count}
            for column, r in cells.items()
        }


def read_rows(path: Path) -> Rows:
    """Rows that earlier tests wrote; none if there is no file.

    Raises:
        UserError: the file is not such a table.
    """
    try:
        rows = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        rows = None
    if not isinstance(rows, dict) or not all(isinstance(cells, dict) for cells in rows.values()):
        raise UserError(f"{path} is not a table of results; move it away and test again")
    return rows


def _number(value: float) -> float | None:
    """JSON knows no nan."""
    return value if math.isfinite(value) else None


def _place(row: str) -> tuple[int, str]:
    """Models first, then the anchors; rows of other names stand between."""
    return (ORDER.index(row), row) if row in ORDER else (1, row)


def format_table(rows: Rows) -> str:
    """Aligned text: per cell the first segment and, in brackets, the drift; counts of the first row below."""
    columns = list(dict.fromkeys(column for cells in rows.values() for column in cells))
    head = ["first segment (drift)", *(column.replace("_", " ") for column in columns)]
    body = [[row.replace("_", " "), *(_cell(cells.get(column)) for column in columns)] for row, cells in rows.items()]
    counts = ["items", *(_count(rows, column) for column in columns)]
    lines = [head, *body, counts]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = [
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    ]
    rule = "─" * len(text[0])
    return "\n".join([text[0], rule, *text[1:-1], rule, text[-1]])


def _cell(cell: dict[str, Any] | None) -> str:
    if cell is None or cell["value"] is None:
        return "–"
    digits = 2 if abs(cell["value"]) < 10 else 1
    drift = "" if cell["drift"] is None else f" ({cell['drift']:+.{digits}f})"
    return f"{cell['value']:.{digits}f}{drift}"


def _count(rows: Rows, column: str) -> str:
    """How many items a column stands for: one number, or the range over the rows."""
    counts = sorted({cells[column]["count"] for cells in rows.values() if column in cells})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
