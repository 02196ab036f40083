"""Analysis of listeners' ratings: Friedman's test, then Wilcoxon's signed-rank tests with Holm's correction.

Comparisons are within listeners: each listener's mean over the items is one value per condition.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livejam.errors import UserError

COLUMNS = ("test", "participant", "part", "item", "condition", "question", "rating", "position")
"""Columns of the files that the page of a listening test saves."""

RATINGS = range(1, 6)


@dataclass(frozen=True)
class Rating:
    """One click of a listener.

    Args:
        session: the listener's file and name.
        item: the excerpt.
        condition: the player.
        question: part and question.
        rating: 1 (worst) to 5 (best).
    """

    session: str
    item: str
    condition: str
    question: str
    rating: int


@dataclass(frozen=True)
class Pair:
    """Two conditions compared.

    Args:
        one: a condition.
        other: another one.
        difference: mean rating of the one minus that of the other.
        p: Wilcoxon's probability, corrected for all pairs (Holm); nan without listeners.
    """

    one: str
    other: str
    difference: float
    p: float


@dataclass(frozen=True)
class Verdict:
    """The answer to one question.

    Args:
        question: part and question.
        means: mean rating per condition, best first.
        listeners: number of listeners.
        statistic: Friedman's chi-squared; nan with fewer than three conditions or listeners.
        p: its probability.
        pairs: all pairs of conditions.
    """

    question: str
    means: dict[str, float]
    listeners: int
    statistic: float
    p: float
    pairs: list[Pair]


def read_ratings(paths: Sequence[Path]) -> list[Rating]:
    """The ratings in answer files.

    Raises:
        UserError: a file is missing, is not a file of answers, or belongs to another test than the first one.
    """
    ratings, tests = [], set()
    for path in paths:
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                lines = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{path} cannot be read as a file of answers: {error}") from error
        if not lines or not set(COLUMNS) <= set(lines[0]):
            raise UserError(f"{path} is not a file of answers; it needs the columns {', '.join(COLUMNS)}")
        tests |= {line["test"] for line in lines}
        if len(tests) > 1:
            raise UserError(f"{path} holds answers of another listening test than {paths[0]}; analyse them separately")
        ratings += [_rating(path, line) for line in lines]
    return ratings


def _rating(path: Path, line: dict[str, Any]) -> Rating:
    value = line["rating"]
    if value not in {str(rating) for rating in RATINGS}:
        raise UserError(f"{path} holds the rating {value!r}; ratings are whole numbers from 1 to 5")
    question = f"{line['part']}: {line['question']}"
    return Rating(f"{path} {line['participant']}", line["item"], line["condition"], question, int(value))


def complete_sessions(ratings: Iterable[Rating]) -> tuple[list[Rating], int]:
    """The ratings of listeners who answered everything once, and the number of sessions that are left out."""
    answered: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    ratings = list(ratings)
    for rating in ratings:
        answered[rating.session].append((rating.item, rating.condition, rating.question))
    everything = set().union(*answered.values())
    complete = {name for name, given in answered.items() if len(given) == len(everything)}
    complete = {name for name in complete if set(answered[name]) == everything}
    return [rating for rating in ratings if rating.session in complete], len(answered) - len(complete)


def judge(ratings: Sequence[Rating]) -> list[Verdict]:
    """One verdict per question, from complete sessions.

    Raises:
        UserError: SciPy is not installed.
    """
    cells: dict[str, dict[tuple[str, str], list[int]]] = defaultdict(lambda: defaultdict(list))
    for rating in ratings:
        cells[rating.question][rating.session, rating.condition].append(rating.rating)
    return [_verdict(question, by_cell) for question, by_cell in cells.items()]


def _verdict(question: str, by_cell: dict[tuple[str, str], list[int]]) -> Verdict:
    sessions = sorted({session for session, _ in by_cell})
    conditions = sorted({condition for _, condition in by_cell})
    table = {c: np.array([np.mean(by_cell[session, c]) for session in sessions]) for c in conditions}
    statistic, p = friedman(list(table.values()))
    chosen = list(itertools.combinations(sorted(conditions, key=lambda c: -float(table[c].mean())), 2))
    corrected = holm([wilcoxon(table[one], table[other]) for one, other in chosen])
    pairs = [
        Pair(one, other, float(table[one].mean() - table[other].mean()), p)
        for (one, other), p in zip(chosen, corrected, strict=True)
    ]
    means = {c: float(table[c].mean()) for c in sorted(conditions, key=lambda c: -float(table[c].mean()))}
    return Verdict(question, means, len(sessions), statistic, p, pairs)


def friedman(ratings: Sequence[ArrayLike]) -> tuple[float, float]:
    """Friedman's chi-squared and its probability; both nan with fewer than three conditions or listeners.

    Args:
        ratings: per condition the ratings of all listeners, in the same order.
    """
    columns = [np.asarray(column, dtype=np.float64) for column in ratings]
    if len(columns) < 3 or len(columns[0]) < 3:
        return math.nan, math.nan
    if all(np.array_equal(column, columns[0]) for column in columns):
        return 0.0, 1.0
    result = _stats().friedmanchisquare(*columns)
    return float(result.statistic), float(result.pvalue)


def wilcoxon(one: ArrayLike, other: ArrayLike) -> float:
    """Two-sided probability of Wilcoxon's signed-rank test; 1 if nobody hears a difference, nan with one listener."""
    differences = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    if len(differences) < 2:
        return math.nan
    # Means of equal ratings in another order differ by rounding, which would count as a difference.
    differences = np.round(differences, 9)
    return float(_stats().wilcoxon(differences).pvalue) if differences.any() else 1.0


def holm(probabilities: Sequence[float]) -> list[float]:
    """Probabilities corrected for their number (Holm 1979), in the given order; undefined ones stay undefined."""
    values: NDArray[np.float64] = np.asarray(probabilities, dtype=np.float64)
    corrected = np.full(len(values), math.nan)
    defined = np.flatnonzero(np.isfinite(values))
    order = defined[np.argsort(values[defined], kind="stable")]
    factors = len(order) - np.arange(len(order))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * factors))
    return corrected.tolist()


def _stats() -> Any:
    try:
        from scipy import stats
    except ImportError as error:
        raise UserError("the analysis needs SciPy: pip install 'livejam[metrics]'") from error
    return stats
