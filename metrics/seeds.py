"""Runs that differ in the seed alone, as one: mean and interval over seeds instead of over songs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from livejam.errors import UserError
from metrics.anchor_rows import ANCHORS
from metrics.cells import Cell
from metrics.intervals import Interval, seeds_interval
from metrics.provenance import differences
from metrics.results import Table


def over_seeds(name: str, runs: Sequence[tuple[str, Table]]) -> Table:
    """The mean of several runs' models; the anchors are those of the first run.

    Args:
        name: of the group, for errors.
        runs: name and table of every run, at least two.

    Returns:
        Rows that all runs have. A cell's intervals are those of the mean over runs, its count is that of the items of
        the run with the fewest.

    Raises:
        UserError: there are fewer than two runs, two are the same checkpoint, or they were trained or measured in
            different ways.
    """
    if len(runs) < 2:
        raise UserError(f"the group {name} needs at least two runs, such as --group {name}=runs/{name}_1,runs/{name}_2")
    first = runs[0][1]
    for other, table in runs[1:]:
        _require_alike(name, runs[0][0], first, other, table)
    models = [row for row in first.rows if row not in ANCHORS and all(row in table.rows for _, table in runs)]
    means = {row: _mean_row([table.rows[row] for _, table in runs]) for row in models}
    return Table({**means, **{row: first.rows[row] for row in ANCHORS if row in first.rows}}, first.measured_on)


def _require_alike(name: str, first: str, one: Table, second: str, other: Table) -> None:
    if one.measured_on is None or other.measured_on is None:
        return
    found = differences(one.measured_on, other.measured_on)
    here, there = (table.measured_on["models"].get("trained", {}) for table in (one, other) if table.measured_on)
    if here.get("sha256") is not None and here.get("sha256") == there.get("sha256"):
        raise UserError(f"{first} and {second} in the group {name} are the same checkpoint; name each run once")
    found += [
        f"{key} {there.get(key)} instead of {here.get(key)}" for key in ("recipe",) if here.get(key) != there.get(key)
    ]
    if found:
        raise UserError(f"{second} does not belong in the group {name} with {first}: {'; '.join(found)}")


def _mean_row(rows: Sequence[dict[str, Cell]]) -> dict[str, Cell]:
    columns = [column for column in rows[0] if all(column in row for row in rows)]
    return {column: _mean_cell([row[column] for row in rows]) for column in columns}


def _mean_cell(cells: Sequence[Cell]) -> Cell:
    """Undefined where a run's number is."""
    mean: Cell = {}
    for number, count, interval in (("value", "count", "interval"), ("drift", "drift_count", "drift_interval")):
        values = [math.nan if cell.get(number) is None else float(cell[number]) for cell in cells]
        average = sum(values) / len(values)
        mean[number] = None if math.isnan(average) else average
        mean[interval] = _ends(seeds_interval(values))
        if all(cell.get(count) is not None for cell in cells):
            mean[count] = min(cell[count] for cell in cells)
    return mean


def _ends(interval: Interval) -> list[Any] | None:
    return None if math.isnan(interval.low) else list(interval)
