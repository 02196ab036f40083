"""The table that a test ends with: rows of numbers that know their drift, interval and count; read, joined, written.

On disk it is one JSON object: the entry `measured_on` (`metrics.provenance`), and row → column → `{"value", "drift",
"count", "drift_count", "interval", "drift_interval"}`; null where undefined.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livejam.errors import UserError
from livejam.files import atomic_path
from metrics.adherence import MARK, adheres, cheats_that_win, normalised, notes_on_columns, with_summary
from metrics.anchor_rows import ANCHORS
from metrics.cells import Cell, Rows, separate
from metrics.headings import DISTANCES, LABELS, heading
from metrics.provenance import MEASURED_ON, Facts, are_facts, notes_of

ORDER = ("trained", "untrained", *ANCHORS)


@dataclass(frozen=True)
class Table:
    """Rows, and what they were measured on; None for older files, which do not say it."""

    rows: Rows
    measured_on: Facts | None = None


def read_table(path: Path) -> Table:
    """What tests wrote; no rows if there is no file.

    Raises:
        UserError: the file is not such a table.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Table({})
    except ValueError:
        rows = None
    facts = rows.pop(MEASURED_ON, None) if isinstance(rows, dict) else None
    sound = isinstance(rows, dict) and (facts is None or are_facts(facts))
    if not sound or not all(_is_row(cells) for cells in rows.values()):
        raise UserError(f"{path} is not a table of results; move it away and test again")
    return Table(rows, facts)


def read_rows(path: Path) -> Rows:
    """The rows of `read_table`."""
    return read_table(path).rows


def _is_row(cells: Any) -> bool:
    return isinstance(cells, dict) and all(isinstance(cell, dict) and _is_cell(cell) for cell in cells.values())


def _is_cell(cell: Cell) -> bool:
    numbers = [cell.get("value", ""), cell.get("drift", ""), cell.get("count", "")]
    intervals = [cell.get(name) or [0.0, 0.0] for name in ("interval", "drift_interval")]
    if not all(isinstance(ends, list) and len(ends) == 2 for ends in intervals):
        return False
    return all(number is None or isinstance(number, int | float) for number in numbers + intervals[0] + intervals[1])


def sorted_rows(rows: Rows) -> Rows:
    """Models first, then the anchors; rows of other names stand between."""
    return {row: rows[row] for row in sorted(rows, key=lambda row: (ORDER.index(row) if row in ORDER else 1, row))}


def columns_of(rows: Rows) -> list[str]:
    """All columns of a table: the papers' first, in their order."""
    columns = dict.fromkeys(column for cells in rows.values() for column in cells)
    return sorted(columns, key=_place_of_column)


def _place_of_column(column: str) -> tuple[bool, int]:
    known = list(LABELS)
    return not column.startswith(DISTANCES), known.index(column) if column in known else len(known)


def write_table(rows: Rows, path: Path, measured_on: Facts | None = None) -> None:
    """Write the table as JSON, and beside it as Markdown and as CSV.

    Args:
        rows: the table.
        path: the JSON file; the others have its name and their own endings.
        measured_on: what it was measured on, for JSON and Markdown; None = not stated.
    """
    said = {} if measured_on is None else {MEASURED_ON: measured_on}
    texts = {
        ".json": json.dumps({**rows, **said}, indent=2, allow_nan=False) + "\n",
        ".md": as_markdown(rows, notes=notes_of(measured_on) if measured_on else (), measured_on=known(measured_on)),
        ".csv": as_csv(rows),
    }
    for ending, text in texts.items():
        with atomic_path(path.with_suffix(ending)) as temporary:
            temporary.write_text(text, encoding="utf-8")


def marked(rows: Rows, row: str, column: str, against: str | None) -> bool:
    """Whether a cell is to be marked as different from that of the row `against`."""
    return against is not None and row != against and separate(rows[row].get(column), rows[against].get(column))


def known(*measured_on: Facts | None) -> list[Facts]:
    """What rows were measured on, where tables say it."""
    return [facts for facts in measured_on if facts is not None]


def as_text(
    rows: Rows,
    columns: Sequence[str] | None = None,
    width: int = 120,
    against: str | None = None,
    measured_on: Sequence[Facts] = (),
) -> str:
    """Aligned text: per cell the first segment, in round brackets the drift, in square ones the interval.

    Args:
        rows: the table.
        columns: those that are shown; None = all.
        width: characters per line; columns that do not fit go into another block below.
        against: a row; cells whose interval does not overlap with this row's get an asterisk; None = no asterisks.
        measured_on: what the rows were measured on, as far as it is known; headings depend on it.

    In curly braces stands the normalised number of a column of adherence, and below the table what is to be said of it.
    """
    rows = with_summary(rows)
    columns = columns_of(rows) if columns is None else columns
    names = [_legend(rows), *(row.replace("_", " ") for row in rows), "items"]
    room = width - max(map(len, names))
    blocks: list[list[list[str]]] = [[]]
    for column in columns:
        cells = [_shown(rows, row, column, against) for row in rows]
        drawn = _aligned([marked_heading(rows, column, measured_on), *cells, _count(rows, column)])
        if blocks[-1] and sum(len(other[0]) + 2 for other in [*blocks[-1], drawn]) > room:
            blocks.append([])
        blocks[-1].append(drawn)
    tables = [_block(names, block) for block in blocks]
    said = notes_on_columns(rows, columns)
    return "\n\n".join([*tables, "\n".join(said)] if said else tables)


def _aligned(column: list[str]) -> list[str]:
    widest = max(map(len, column))
    return [text.rjust(widest) for text in column]


def _block(names: list[str], columns: list[list[str]]) -> str:
    widest = max(map(len, names))
    lines = ["  ".join([name.ljust(widest), *cells]) for name, *cells in zip(names, *columns, strict=True)]
    rule = "─" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def set_aside(path: Path) -> Path | None:
    """Rename a table's files to `results.1.json` and so on, where there are any; returns the new name."""
    if not path.exists():
        return None
    numbers = (path.with_suffix(f".{number}.json") for number in itertools.count(1))
    kept = next(name for name in numbers if not name.exists())
    for ending in (".json", ".md", ".csv"):
        if path.with_suffix(ending).exists():
            path.with_suffix(ending).rename(kept.with_suffix(ending))
    return kept


def as_markdown(
    rows: Rows, against: str | None = None, notes: Sequence[str] = (), measured_on: Sequence[Facts] = ()
) -> str:
    """A table in GitHub's Markdown, with a line that says how to read it, and notes below it; else as `as_text`."""
    rows = with_summary(rows)
    columns, notes = columns_of(rows), [*notes_on_columns(rows, columns_of(rows)), *notes]
    headings = [marked_heading(rows, column, measured_on) for column in columns]
    lines = [[_legend(rows), *headings], ["---", *("---:" for _ in columns)]]
    for row in rows:
        values = [_shown(rows, row, column, against) for column in columns]
        lines.append([row.replace("_", " "), *(value.replace("*", r"\*") for value in values)])
    lines.append(["items", *(_count(rows, column) for column in columns)])
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return table + "".join(["\n", *(f"- {note}\n" for note in notes)] if notes else [])


def as_csv(rows: Rows, against: str | None = None) -> str:
    """One line per number: row, column, value, low, high, drift, drift_low, drift_high, count, drift_count, differs,
    normalised, normalised_low, normalised_high."""
    rows = with_summary(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = ["value", "low", "high", "drift", "drift_low", "drift_high"]
    shares = ["normalised", "normalised_low", "normalised_high"]
    writer.writerow(["row", "column", *ends, "count", "drift_count", "differs", *shares])
    for row, cells in rows.items():
        for column, cell in cells.items():
            interval, drift_interval = (cell.get(name) or [None, None] for name in ("interval", "drift_interval"))
            differs = "" if against is None else int(marked(rows, row, column, against))
            numbers = (cell["value"], *interval, cell["drift"], *drift_interval)
            share = normalised(rows, row, column) or {"value": None, "interval": None}
            shares = [share["value"], *(share["interval"] or [None, None])]
            writer.writerow([row, column, *numbers, cell["count"], cell.get("drift_count"), differs, *shares])
    return text.getvalue()


def marked_heading(rows: Rows, column: str, measured_on: Sequence[Facts] = ()) -> str:
    """The heading of a column, with a mark if a cheat wins in it.

    Args:
        rows: the table.
        column: its name.
        measured_on: what the rows were measured on, as far as it is known.
    """
    name = heading(column, measured_on)
    return f"{name} {MARK}" if cheats_that_win(rows, column) else name


def _legend(rows: Rows) -> str:
    """What the parts of a cell are."""
    shares = any(normalised(rows, row, column) for row, cells in rows.items() for column in cells if adheres(column))
    return "first segment (drift) [95 %]" + (" {0 random, 1 true}" if shares else "")


def _shown(rows: Rows, row: str, column: str, against: str | None) -> str:
    """A cell with everything in it."""
    text, share = _cell(rows[row].get(column), marked(rows, row, column, against)), normalised(rows, row, column)
    return text if share is None else f"{text} {{{share['value']:.2f}}}"


def _cell(cell: Cell | None, mark: bool) -> str:
    if cell is None or cell["value"] is None:
        return "–"
    digits = 2 if abs(cell["value"]) < 10 else 1
    drift = "" if cell["drift"] is None else f" ({cell['drift']:+.{digits}f})"
    ends = cell.get("interval")
    interval = f" [{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]" if ends else ""
    return f"{cell['value']:.{digits}f}{'*' if mark else ''}{drift}{interval}"


def _count(rows: Rows, column: str) -> str:
    """The number of items behind a column, and in brackets behind its drift, if that differs."""
    found = [cells[column] for cells in rows.values() if column in cells]
    counts, drifts = (_range({c.get(name, c["count"]) for c in found}) for name in ("count", "drift_count"))
    return counts if counts == drifts else f"{counts} ({drifts})"


def _range(counts: set[Any]) -> str:
    """One number, or the smallest and the largest."""
    return str(min(counts)) if len(counts) == 1 else f"{min(counts)}–{max(counts)}"
