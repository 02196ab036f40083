"""The numbers of an evaluation as rows of the table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from metrics.anchor_rows import BESIDE
from metrics.cells import Cell, Rows
from metrics.evaluation.evaluate import MODEL, Outcome
from metrics.evaluation.measure import Result
from metrics.intervals import Interval

RENAMED = {
    "beat_f1_drums": "beat_f1_truth/Percussive",
    "beat_f1_mix": "beat_f1/Percussive",
    "fad": "fad/log_mel",
}
"""Column of the table → name of the number, where they differ otherwise than by a stroke."""


def rows_of(outcomes: Sequence[Outcome], row: str, columns: Mapping[str, str] | None = None) -> Rows:
    """The rows of a table, one for the model and one for each anchor; those that depend on the model bear its name.

    Args:
        outcomes: of the evaluations of one model.
        row: name of the model's row.
        columns: column → name of the number; None = all charts, and the beats of drums.
    """
    if columns is None:
        charts = [name for outcome in outcomes for name in outcome.charts if name not in RENAMED.values()]
        columns = RENAMED | {name.replace("/", "_"): name for name in charts}
    names = {MODEL: row, **{anchor: f"{row}: {called}" for anchor, called in BESIDE.items()}}
    results: dict[str, dict[str, Result]] = {}
    for outcome in outcomes:
        for name, found in outcome.rows.items():
            results.setdefault(names.get(name, name), {}).update(found)
    return {
        row: {column: _cell(found[name]) for column, name in columns.items() if name in found}
        for row, found in results.items()
    }


def _cell(result: Result) -> Cell:
    return {
        "value": _number(result.value),
        "drift": _number(result.drift),
        "count": result.count,
        "drift_count": result.drift_count,
        "interval": _ends(result.interval),
        "drift_interval": _ends(result.drift_interval),
    }


def _number(value: float) -> float | None:
    """JSON knows no nan."""
    return value if math.isfinite(value) else None


def _ends(interval: Interval) -> list[float] | None:
    return list(interval) if all(map(math.isfinite, interval)) else None
