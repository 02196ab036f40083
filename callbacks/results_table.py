"""The table that `lightning test` ends with, on screen and as JSON, Markdown and CSV."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.measured_on import measured_on
from callbacks.monitor import Monitor
from callbacks.trainer_facts import callbacks_of, is_dry_run
from livejam.errors import UserError
from livejam.files import one_after_the_other
from metrics.adherence import with_summary
from metrics.anchor_rows import ANCHORS
from metrics.cells import Rows
from metrics.evaluation.table import rows_of
from metrics.provenance import MEASURED_ON, Facts, differences, joined, notes_of
from metrics.results import (
    Table,
    as_text,
    columns_of,
    known,
    read_table,
    set_aside,
    sorted_rows,
    write_table,
)

UNSEEN = (
    *("beat_f1_mix", "beat_f1_together", "beat_f1_together_truth", "key_agreement", "loudness_error_db"),
    *("onset_ratio", "click_db", "broken_rate"),
)
"""Columns that are in the files, but not on screen, because they say less."""


class ResultsTable(Callback):
    """Collects what the monitors measured in test into rows, writes them, and prints the table.

    The JSON file is an object of rows; per row and column `{"value": …, "drift": …, "count": …, "drift_count": …,
    "interval": […], "drift_interval": […]}`: the first segment, the second minus the first, the number of items (of
    embeddings for Fréchet distances) behind each, and 95 % intervals over songs; null where undefined. The entry
    `measured_on` says on what (`metrics.provenance`). `.md` and `.csv` files beside it hold the same.

    Rows of other runs in the file are kept, so that several tests fill one table. A table that was measured on
    something else, or does not say on what, is renamed to `results.1.json`, and a line says so. A dry `fast_dev_run`
    writes nothing and shows only its own rows.

    Args:
        row: name of this model's row.
        path: the JSON file; None = `results.json` in the trainer's root.
        columns: column → name under which a monitor reports it; None = everything that monitors draw charts of, and
            the beats of drums.
    """

    def __init__(self, row: str = "trained", path: str | None = None, columns: dict[str, str] | None = None) -> None:
        if row in (*ANCHORS, MEASURED_ON):
            raise UserError(f"the row {row!r} is no model's; name the model's row otherwise")
        self.row, self.columns = row, columns
        self.path = Path(path) if path is not None else None
        self._table: str | None = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a file that is not a table, before anything is measured."""
        read_table(self._file(trainer))

    def _file(self, trainer: Trainer) -> Path:
        return self.path or Path(trainer.default_root_dir) / "results.json"

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Merge this run's rows into the file."""
        if not trainer.is_global_zero:
            return
        monitors = [callback for callback in callbacks_of(trainer) if isinstance(callback, Monitor)]
        outcomes = [monitor.outcome for monitor in monitors if monitor.outcome is not None]
        path, rows = self._file(trainer), rows_of(outcomes, self.row, self.columns)
        if is_dry_run(trainer):
            self._table = f"\n{_on_screen(Table(sorted_rows(rows)))}\n\na dry run: nothing is written\n"
            return
        with one_after_the_other(path):
            table, said = _with_like_rows(rows, measured_on(trainer, pl_module, outcomes, self.row), path)
            assert table.measured_on is not None
            write_table(table.rows, path, table.measured_on)
        summary = f"{notes_of(table.measured_on)[0]}; all numbers: {path}, {path.stem}.md, {path.stem}.csv"
        self._table = f"\n{_on_screen(table)}\n\n{said}{summary}\n"

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Print last, below the trainer's own output."""
        if self._table is not None:
            sys.stdout.write(self._table)
            sys.stdout.flush()
            self._table = None


def _with_like_rows(measured: Rows, facts: Facts, path: Path) -> tuple[Table, str]:
    """A test's rows together with those of a file that were measured in the same way, and a line about others.

    A table that was measured in another way, or that does not say on what, is set aside.
    """
    old = read_table(path)
    unlike = ["it does not say what it was measured on"]
    if old.measured_on is not None:
        unlike = differences(facts, old.measured_on)
    if not old.rows or not unlike:
        rows = sorted_rows({**old.rows, **measured})
        return Table(rows, joined(facts, old.measured_on, rows) if old.measured_on else facts), ""
    kept = set_aside(path)
    gone = ", ".join(row for row in old.rows if row not in measured) or "all rows"
    return Table(sorted_rows(measured), facts), f"the table of before ({gone}) is now {kept}: {'; '.join(unlike)}\n"


def _alarms(rows: Rows, column: str) -> bool:
    """Whether the output of a model was not finite, and was judged as silence."""
    return column == "broken_rate" and any(cells[column]["value"] for cells in rows.values() if column in cells)


def _on_screen(table: Table) -> str:
    rows = table.rows
    columns = [column for column in columns_of(with_summary(rows)) if column not in UNSEEN or _alarms(rows, column)]
    width = shutil.get_terminal_size((120, 24)).columns
    return as_text(rows, columns, width, measured_on=known(table.measured_on))
