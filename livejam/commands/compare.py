"""`livejam compare`: tables of several runs as one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livejam.errors import UserError
from livejam.outputs import add_overwrite, require_free

if TYPE_CHECKING:
    from metrics.results import Rows


def add_compare(commands: Any) -> None:
    """Add the command to the parser's commands."""
    compare = commands.add_parser(
        "compare",
        help="join the results of several tests into one table",
        description="One table of what `lightning test` left in several runs. An asterisk marks a value whose 95 %\n"
        "interval does not overlap with that of the first row.",
        epilog="example:\n  livejam compare runs/quickstart runs/liveband_pocket --markdown table.md",
    )
    compare.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's folder, or its results.json")
    compare.add_argument("--markdown", type=Path, metavar="MD", help="write the table as Markdown")
    compare.add_argument("--csv", type=Path, metavar="CSV", help="write the table as CSV, one line per number")
    compare.add_argument("--width", type=int, default=120, metavar="N", help="characters per line (default: 120)")
    add_overwrite(compare)
    compare.set_defaults(run=_compare)


def joined(tables: Sequence[tuple[str, Rows]]) -> tuple[Rows, list[str]]:
    """One table of several: the models' rows, named after their runs, then the anchors, once where they agree.

    Args:
        tables: name and rows of every run.

    Returns:
        The table, and one sentence per run whose anchors differ from the first one's: it was tested on other items,
        with another codec or by other settings, so its numbers do not compare.
    """
    from metrics.results import ANCHORS

    models = {_named(name, row): cells for name, rows in tables for row, cells in rows.items() if row not in ANCHORS}
    shared: Rows = {}
    warnings = []
    for name, rows in tables:
        anchors = {row: cells for row, cells in rows.items() if row in ANCHORS}
        if all(_agree(shared.get(row, {}), cells) for row, cells in anchors.items()):
            for row, cells in anchors.items():
                shared[row] = {**cells, **shared.get(row, {})}
        else:
            shared |= {f"{row} ({name})": cells for row, cells in anchors.items()}
            warnings.append(f"{name} was tested on other items, or otherwise: its anchors differ, do not compare it")
    return {**models, **shared}, warnings


def _named(run: str, row: str) -> str:
    return run if row == "trained" else f"{run} {row}"


def _agree(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two rows have the same numbers where both have any."""
    pairs = [(one[column], other[column]) for column in one if column in other]
    return all(a["count"] == b["count"] and _near(a["value"], b["value"]) for a, b in pairs)


def _near(one: float | None, other: float | None) -> bool:
    """Equal but for rounding, which differs between machines."""
    if one is None or other is None:
        return one is other
    return abs(one - other) <= 1e-3 * max(abs(one), abs(other), 1e-2)


def run_names(runs: Sequence[Path]) -> list[str]:
    """The shortest ends of the folders' paths that tell them apart."""
    folders = [(run.parent if run.suffix == ".json" else run).absolute().parts[1:] for run in runs]
    for length in range(1, max(map(len, folders)) + 1):
        names = ["/".join(parts[-length:]) for parts in folders]
        if len(set(names)) == len(names):
            return names
    raise UserError("a run is named twice; name every run once")


def _compare(options: argparse.Namespace) -> int:
    from livejam.files import atomic_path
    from metrics.results import as_csv, as_markdown, as_text

    outputs = {"--markdown": options.markdown, "--csv": options.csv}
    require_free(outputs, map(_table, options.runs), options.overwrite)
    rows, warnings = joined(
        [(name, _rows(run)) for name, run in zip(run_names(options.runs), options.runs, strict=True)]
    )
    first = next(iter(rows))
    print(as_text(rows, width=options.width, against=first))
    print(f"\n* the 95 % interval does not overlap with that of {first}")
    for warning in warnings:
        print(f"warning: {warning}")
    for path, text in ((options.markdown, as_markdown), (options.csv, as_csv)):
        if path is not None:
            with atomic_path(path) as temporary:
                temporary.write_text(text(rows, against=first), encoding="utf-8")
    return 0


def _table(run: Path) -> Path:
    """The file of a run's results."""
    return run if run.suffix == ".json" else run / "results.json"


def _rows(run: Path) -> Rows:
    from metrics.results import read_rows

    path = _table(run)
    rows = read_rows(path)
    if not rows:
        raise UserError(f"{path} does not exist or is empty; run `lightning test` first, which writes it")
    return rows
