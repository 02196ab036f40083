"""`livejam compare`: tables of several runs as one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livejam.errors import UserError
from livejam.outputs import add_overwrite, require_free

if TYPE_CHECKING:
    from metrics.cells import Rows
    from metrics.results import Table


def add_compare(commands: Any) -> None:
    """Add the command to the parser's commands."""
    compare = commands.add_parser(
        "compare",
        help="join the results of several tests into one table",
        description="Join the tables that `lightning test` wrote in several runs. An asterisk marks a value whose\n"
        "95 % interval does not overlap with that of the first row. Runs that differ in the seed alone become one row\n"
        "with --group: the mean over runs, with its 95 % interval over seeds. Groups come first.",
        epilog="example:\n  livejam compare runs/quickstart runs/liveband_pocket --markdown table.md\n"
        "  livejam compare --group base=runs/a_seed_1,runs/a_seed_2 --group none=runs/b_seed_1,runs/b_seed_2",
    )
    compare.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="a run's folder, or its results.json")
    compare.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="NAME=RUN,RUN",
        help="one row for runs of one recipe with several seeds; can be given again for another group",
    )
    compare.add_argument("--markdown", type=Path, metavar="MD", help="write the table as Markdown")
    compare.add_argument("--csv", type=Path, metavar="CSV", help="write the table as CSV, one line per number")
    compare.add_argument("--width", type=int, default=120, metavar="N", help="characters per line (default: 120)")
    add_overwrite(compare)
    compare.set_defaults(run=_compare)


def joined(tables: Sequence[tuple[str, Table]]) -> tuple[Rows, list[str]]:
    """One table of several: the models' rows, named after their runs, then the anchors, once where they agree.

    Args:
        tables: name and table of every run.

    Returns:
        The rows, and one sentence per run that cannot be compared with the first one: it was measured on something
        else, or, if one of the tables does not say on what, its anchors differ.
    """
    from metrics.anchor_rows import ANCHORS

    models = {_named(n, row): cells for n, table in tables for row, cells in table.rows.items() if row not in ANCHORS}
    shared: Rows = {}
    warnings = []
    for name, table in tables:
        anchors = {row: cells for row, cells in table.rows.items() if row in ANCHORS}
        unlike = _unlike(tables[0][1], table)
        if not unlike and not all(_agree(shared.get(row, {}), cells) for row, cells in anchors.items()):
            unlike = "on other items, or in another way: its anchors differ"
        if unlike:
            shared |= {f"{row} ({name})": cells for row, cells in anchors.items()}
            warnings.append(f"{name} was tested {unlike}; do not compare it")
        else:
            shared |= {row: {**cells, **shared.get(row, {})} for row, cells in anchors.items()}
    return {**models, **shared}, warnings


def _unlike(first: Table, other: Table) -> str:
    """The differences between the measurements of two runs, according to their tables."""
    from metrics.provenance import differences

    if first.measured_on is None or other.measured_on is None:
        return ""
    found = differences(first.measured_on, other.measured_on)
    return f"otherwise ({'; '.join(found)})" if found else ""


def _named(run: str, row: str) -> str:
    return run if row == "trained" else f"{run} {row}"


def _agree(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two rows have the same numbers, where both have one."""
    pairs = [(one[column], other[column]) for column in one if column in other]
    return all(a["count"] == b["count"] and _near(a["value"], b["value"]) for a, b in pairs)


def _near(one: float | None, other: float | None) -> bool:
    """Equal except for rounding, which differs between machines."""
    if one is None or other is None:
        return one is other
    return abs(one - other) <= 1e-3 * max(abs(one), abs(other), 1e-2)


def run_names(runs: Sequence[Path]) -> list[str]:
    """The shortest ends of the folders' paths that are all different."""
    folders = [(run.parent if run.suffix == ".json" else run).absolute().parts[1:] for run in runs]
    for length in range(1, max(map(len, folders)) + 1):
        names = ["/".join(parts[-length:]) for parts in folders]
        if len(set(names)) == len(names):
            return names
    raise UserError("a run is named twice; name every run once")


def _compare(options: argparse.Namespace) -> int:
    from livejam.files import atomic_path
    from metrics.provenance import notes_of
    from metrics.results import as_csv, as_markdown, as_text, known

    groups = [_group(text) for text in options.group]
    runs = [*(run for _, members in groups for run in members), *options.runs]
    if not runs:
        raise UserError("name at least one run's folder, or a --group of them")
    require_free({"--markdown": options.markdown, "--csv": options.csv}, map(_table, runs), options.overwrite)
    tables = _grouped(groups, [(name, _read(run)) for name, run in zip(run_names(runs), runs, strict=True)])
    rows, warnings = joined(tables)
    first = next(iter(rows))
    measured_on = known(*(table.measured_on for _, table in tables))
    print(as_text(rows, width=options.width, against=first, measured_on=measured_on))
    print(f"\n* the 95 % interval does not overlap with that of {first}")
    said = [f"{name}: {line}" for name, table in tables for line in notes_of(table.measured_on)[:1]]
    said += [f"warning: {warning}" for warning in warnings]
    print("\n".join(said))
    notes = [*said, *(f"{name}: {line}" for name, table in tables for line in notes_of(table.measured_on)[1:])]
    texts = ((options.markdown, as_markdown(rows, first, notes, measured_on)), (options.csv, as_csv(rows, first)))
    for path, text in texts:
        if path is not None:
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
    return 0


def _group(text: str) -> tuple[str, list[Path]]:
    """Name and runs of `NAME=RUN,RUN`."""
    name, is_set, runs = text.partition("=")
    if not (name and is_set and runs):
        raise UserError(f"--group {text} is not of the form NAME=RUN,RUN, such as base=runs/a_seed_1,runs/a_seed_2")
    return name, [Path(run) for run in runs.split(",") if run]


def _grouped(groups: Sequence[tuple[str, list[Path]]], tables: list[tuple[str, Table]]) -> list[tuple[str, Table]]:
    """The tables with those of every group, which come first, as one."""
    from metrics.seeds import over_seeds

    found = []
    for name, members in groups:
        own, tables = tables[: len(members)], tables[len(members) :]
        found.append((f"{name} ({len(own)} seeds)", over_seeds(name, own)))
    found += tables
    if len({name for name, _ in found}) < len(found):
        raise UserError("two rows have one name; give every --group a name of its own")
    return found


def _table(run: Path) -> Path:
    """The file of a run's results."""
    return run if run.suffix == ".json" else run / "results.json"


def _read(run: Path) -> Table:
    from metrics.results import read_table

    path = _table(run)
    table = read_table(path)
    if not table.rows:
        raise UserError(f"{path} does not exist or is empty; run `lightning test` first, which writes it")
    return table
