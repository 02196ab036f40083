"""How well a stem fits what it accompanies, on a scale on which nobody is flattered: 0 is another song's true stem, 1
the true one.

A column of the table says nothing about fitting if an echo of the mix or noise scores in it as the true stem does. Such
columns are marked, and left out of the summary.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot
from statistics import fmean

from metrics.anchor_rows import CHEATS
from metrics.cells import Cell, Rows, separate

TRUTH, STRANGER = "ground_truth", "random_pairing"
SUMMARY = "adherence"

PREFIXES = ("beat_f1", "cocola_", "apa_", "chord_tone_share", "chroma_agreement", "key_agreement", "phase_lock")
"""Of the columns that say how well a stem fits; in all of them more is better."""


def adheres(column: str) -> bool:
    """Whether a column says how well a stem fits."""
    return column.startswith(PREFIXES)


def cheats_that_win(rows: Rows, column: str) -> list[str]:
    """The cheats that score in a column of adherence at least as the true stem does."""
    truth = _value(rows, TRUTH, column)
    if truth is None or not adheres(column):
        return []
    scores = {row: _value(rows, row, column) for row in CHEATS}
    return [row for row, score in scores.items() if score is not None and score >= truth]


def normalised(rows: Rows, row: str, column: str) -> Cell | None:
    """A number of adherence with 0 for random pairing and 1 for the true stem.

    Args:
        rows: the table, with its anchors.
        row: whose number.
        column: any.

    Returns:
        `{"value", "interval"}`. The interval is a joint one: it holds the uncertainty of the anchors too, as if the
        three rows had nothing to do with each other, and is None for the anchors themselves, which are 0 and 1 by
        definition. None where the column is not of adherence or does not tell the true stem from another song's.
    """
    own, truth, stranger = (rows.get(name, {}).get(column) for name in (row, TRUTH, STRANGER))
    if not (adheres(column) and own and own["value"] is not None and truth and stranger):
        return None
    if truth["value"] is None or stranger["value"] is None or not _tells(truth, stranger):
        return None
    share = (own["value"] - stranger["value"]) / (truth["value"] - stranger["value"])
    interval = None if row in (TRUTH, STRANGER) else _joint_interval(share, own, truth, stranger)
    return {"value": share, "interval": interval}


def _joint_interval(share: float, own: Cell, truth: Cell, stranger: Cell) -> list[float] | None:
    """Of (own - stranger) / (truth - stranger), to the first order in all three; None unless all have intervals.

    Rows of the same songs are rather alike than unlike in their errors, so it is rather too wide than too narrow.
    """
    ends = [cell["interval"] for cell in (own, truth, stranger) if cell.get("interval")]
    if len(ends) < 3:
        return None
    errors = [(high - low) / 2 for low, high in ends]
    half_width = hypot(errors[0], share * errors[1], (1 - share) * errors[2]) / (truth["value"] - stranger["value"])
    return [share - half_width, share + half_width]


def _tells(truth: Cell, stranger: Cell) -> bool:
    """Whether the true stem scores more; beyond doubt, where there are intervals."""
    known = truth.get("interval") and stranger.get("interval")
    return bool(truth["value"] > stranger["value"] and (not known or separate(truth, stranger)))


def honest_columns(rows: Rows) -> list[str]:
    """Columns of adherence that tell the true stem from another song's, and in which no cheat wins.

    Empty if the table has no cheats: older ones cannot say which columns are flattered.
    """
    if not all(row in rows for row in CHEATS):
        return []
    columns = dict.fromkeys(column for cells in rows.values() for column in cells)
    return [c for c in columns if normalised(rows, TRUTH, c) and not cheats_that_win(rows, c)]


def with_summary(rows: Rows) -> Rows:
    """The table with one more column, `adherence`: the mean of the normalised honest columns.

    Only rows that have all these columns get it, so that it is the mean of the same numbers everywhere.
    """
    columns, summed = honest_columns(rows), {}
    for row, cells in rows.items():
        shares = [share for column in columns if (share := normalised(rows, row, column)) is not None]
        own = {SUMMARY: _summary(shares)} if columns and len(shares) == len(columns) else {}
        summed[row] = {**cells, **own}
    return summed


def _summary(shares: Sequence[Cell]) -> Cell:
    """The mean of normalised columns, and the mean of their intervals.

    Columns of the same songs err together. If they did so wholly, this would be the interval; otherwise it is too wide.
    """
    value, ends = fmean(share["value"] for share in shares), [share["interval"] for share in shares]
    interval = [fmean(end[side] for end in ends) for side in (0, 1)] if all(ends) else None
    drift = {"drift": None, "drift_count": 0, "drift_interval": None}
    return {"value": value, "count": len(shares), "interval": interval, **drift}


def notes_on_columns(rows: Rows, columns: Sequence[str]) -> list[str]:
    """What has to be said of a table of which some columns are shown; the summary is that of all."""
    won = {column: cheats for column in columns if (cheats := cheats_that_win(rows, column))}
    said = [
        f"{MARK} {column}: {' and '.join(cheats)} score{'s' if len(cheats) == 1 else ''} as the true stem does"
        for column, cheats in won.items()
    ]
    honest = honest_columns(rows)
    if honest:
        said.append(f"adherence: mean of {', '.join(honest)}, each with 0 for random pairing and 1 for ground truth")
    return said


MARK = "‡"
"""Of columns in which a cheat wins."""


def _value(rows: Rows, row: str, column: str) -> float | None:
    cell = rows.get(row, {}).get(column)
    return None if cell is None else cell["value"]
