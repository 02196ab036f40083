"""The picture of `livejam evaluate`: every number with its interval, a panel per column."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from livejam.files import atomic_path

if TYPE_CHECKING:
    from metrics.cells import Rows
    from metrics.provenance import Facts

PER_LINE = 4
MODEL, ANCHOR = "#0072b2", "#5b6770"
"""Okabe and Ito's blue, and grey."""


def draw(rows: Rows, path: Path, measured_on: Facts) -> None:
    """Draw a table.

    Args:
        rows: the table; the first row is the model's.
        path: the PNG file.
        measured_on: what it was measured on.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from metrics.adherence import with_summary
    from metrics.results import columns_of

    rows = with_summary(rows)
    columns = [c for c in columns_of(rows) if any(_value(cells, c) is not None for cells in rows.values())]
    lines = -(-len(columns) // PER_LINE)
    figure = Figure(figsize=(3.2 * PER_LINE, (0.9 + 0.22 * len(rows)) * lines), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(lines, PER_LINE, squeeze=False).flat
    for panel, column in zip(axes, [*columns, *[None] * (lines * PER_LINE - len(columns))], strict=True):
        panel.set_visible(column is not None)
        if column is not None:
            _panel(panel, rows, column, measured_on)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _panel(panel: Any, rows: Rows, column: str, measured_on: Facts) -> None:
    """One column: a point per row, and a line for its interval."""
    from metrics.results import marked_heading

    for place, cells in enumerate(rows.values()):
        value = _value(cells, column)
        if value is None:
            continue
        ends = cells[column].get("interval") or [value, value]
        colour = MODEL if place == 0 else ANCHOR
        panel.plot(ends, [place, place], color=colour, linewidth=2, alpha=0.5)
        panel.plot([value], [place], "o", color=colour, markersize=5)
    panel.set_title(marked_heading(rows, column, [measured_on]), fontsize=9)
    panel.set_yticks(range(len(rows)), [row.replace("_", " ") for row in rows], fontsize=7)
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.tick_params(axis="x", labelsize=7)
    panel.grid(axis="x", alpha=0.3)


def _value(cells: dict[str, Any], column: str) -> Any:
    return cells[column]["value"] if column in cells else None
