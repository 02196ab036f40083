"""The table that `lightning test` ends with, on screen and as JSON, Markdown and CSV."""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.monitor import MODEL, Monitor, Result
from livejam.errors import UserError
from livejam.files import one_after_the_other
from metrics.intervals import Interval
from metrics.results import ANCHORS, Rows, as_text, columns_of, read_rows, sorted_rows, write_table

RENAMED = {
    "beat_f1_drums": "beat_f1_truth/Percussive",
    "beat_f1_mix": "beat_f1/Percussive",
    "fad": "fad/log_mel",
}
"""Column of the table → name under which a monitor reports it, where they differ otherwise than by a stroke."""

UNSEEN = (
    *("beat_f1_mix", "beat_f1_together", "beat_f1_together_truth", "key_agreement", "loudness_error_db"),
    *("onset_ratio", "click_db", "broken_rate"),
)
"""Columns that are in the files but, being less telling, not on screen."""


class ResultsTable(Callback):
    """Collects what the monitors measured in test into rows, writes them, and prints the table.

    The JSON file is an object of rows; per row and column `{"value": …, "drift": …, "count": …, "drift_count": …,
    "interval": […], "drift_interval": […]}`: the first segment, the second minus the first, the number of items (of
    embeddings for Fréchet distances) behind each, and 95 % intervals over songs; null where undefined. Rows of other
    runs that are in the file already stay there, so that several tests fill one table. `.md` and `.csv` files beside
    it hold the same. A dry `fast_dev_run` writes nothing and shows its own rows only.

    Args:
        row: name of this model's row.
        path: the JSON file; None = `results.json` in the trainer's root.
        columns: column → name under which a monitor reports it; None = everything that monitors draw charts of, and
            the beats of drums.
    """

    def __init__(self, row: str = "trained", path: str | None = None, columns: dict[str, str] | None = None) -> None:
        if row in ANCHORS:
            raise UserError(f"the row {row!r} belongs to an anchor; name the model's row otherwise")
        self.row, self.columns = row, columns
        self.path = Path(path) if path is not None else None
        self._table: str | None = None

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Merge this run's rows into the file."""
        if not trainer.is_global_zero:
            return
        monitors = [callback for callback in trainer.callbacks if isinstance(callback, Monitor)]
        measured: dict[str, dict[str, Result]] = {}
        for monitor in monitors:
            for row, results in monitor.results.items():
                measured.setdefault(self.row if row == MODEL else row, {}).update(results)
        columns = self.columns or _columns(monitors)
        path = self.path or Path(trainer.default_root_dir) / "results.json"
        cells = {row: _cells(results, columns) for row, results in measured.items()}
        if trainer.fast_dev_run:
            self._table = f"\n{_on_screen(sorted_rows(cells))}\n\na dry run: nothing is written\n"
            return
        with one_after_the_other(path):
            rows = sorted_rows({**read_rows(path), **cells})
            write_table(rows, path)
        self._table = f"\n{_on_screen(rows)}\n\nall numbers: {path}, {path.stem}.md, {path.stem}.csv\n"

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Print last, below everything that the trainer itself has to say."""
        if self._table is not None:
            sys.stdout.write(self._table)
            sys.stdout.flush()
            self._table = None


def _columns(monitors: list[Monitor]) -> dict[str, str]:
    """Column → name, of all charts of all monitors."""
    names = [name for monitor in monitors for name in monitor.charts if name not in RENAMED.values()]
    return RENAMED | {name.replace("/", "_"): name for name in names}


def _cells(results: dict[str, Result], columns: dict[str, str]) -> dict[str, dict[str, Any]]:
    found = {column: results[name] for column, name in columns.items() if name in results}
    return {
        column: {
            "value": _number(r.value),
            "drift": _number(r.drift),
            "count": r.count,
            "drift_count": r.drift_count,
            "interval": _ends(r.interval),
            "drift_interval": _ends(r.drift_interval),
        }
        for column, r in found.items()
    }


def _number(value: float) -> float | None:
    """JSON knows no nan."""
    return value if math.isfinite(value) else None


def _ends(interval: Interval) -> list[float] | None:
    return list(interval) if all(map(math.isfinite, interval)) else None


def _alarms(rows: Rows, column: str) -> bool:
    """Whether a model played what is no sound, and was judged as silence."""
    return column == "broken_rate" and any(cells[column]["value"] for cells in rows.values() if column in cells)


def _on_screen(rows: Rows) -> str:
    columns = [column for column in columns_of(rows) if column not in UNSEEN or _alarms(rows, column)]
    return as_text(rows, columns, shutil.get_terminal_size((120, 24)).columns)
