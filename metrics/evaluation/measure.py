"""What is measured: a measure takes the stems of a row and says its numbers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import distributed
from torchmetrics import Metric

from livejam.batch import CATEGORIES
from metrics.evaluation.clips import Clip, Segment, Take
from metrics.intervals import UNKNOWN, Interval, jackknife_interval
from metrics.scores import MeanScore, Summary

GROUPS = len(CATEGORIES) + 1
"""One group per instrument category, and one for "no instrument asked for"."""

DRIFT = "/drift"

Metrics = dict[str, Metric]
"""What one row is measured with."""

Scores = dict[str, float]
"""Name of a chart → score of a segment; nan where it is undefined."""


@dataclass(frozen=True)
class Result:
    """One number of the table.

    Args:
        value: of the first segment.
        drift: second segment minus first, over items that have both.
        count: how many items the value stands for.
        drift_count: how many the drift stands for.
        interval: where the value would lie, had other songs been drawn; only if songs were kept.
        drift_interval: the same of the drift.
    """

    value: float
    drift: float
    count: int
    drift_count: int
    interval: Interval = UNKNOWN
    drift_interval: Interval = UNKNOWN


def meet(metrics: Iterable[Metric], device: torch.device) -> None:
    """Move metrics to where the processes of a run add them up; a process that is alone leaves them on the CPU."""
    if distributed.is_available() and distributed.is_initialized():
        for metric in metrics:
            metric.to(device)


class Measure(ABC):
    """Measures the stems of one row at a time; it may remember what comes again in every row and every evaluation."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Names the measurement and its settings; equal identities give equal numbers for equal audio."""

    @property
    def published(self) -> bool:
        """Whether this judges by what the papers judge by: their embedding, beat tracker or weights."""
        return False

    @property
    @abstractmethod
    def charts(self) -> list[str]:
        """Names of the numbers that get a chart with their anchors."""

    @abstractmethod
    def new_metrics(self) -> Metrics:
        """Fresh metrics for one row."""

    @abstractmethod
    def update(self, takes: list[Take], metrics: Metrics, keep: bool) -> None:
        """Update the metrics of a row with its stems; `keep` says that these stems will come again."""

    @abstractmethod
    def read(self, metrics: Metrics) -> dict[str, Result]:
        """The numbers of a row by the name under which they are logged; of all processes."""

    def accepts(self, clip: Clip) -> bool:
        """Whether this item is measured at all."""
        return True


class ScoreMeasure(Measure):
    """A mean of one score per item, overall and per category, and of what each item's second segment scores more.

    An item whose score is undefined in one of the segments has no drift, so that a drift compares like with like.
    """

    @abstractmethod
    def scores(self, segments: list[Segment], keep: bool) -> list[Scores]:
        """The scores of every segment; `keep` says that these stems will come again."""

    def new_metrics(self) -> Metrics:
        """A mean of the scores and a mean of their differences."""
        return {name + of: MeanScore(GROUPS) for name in self.charts for of in ("", DRIFT)}

    def update(self, takes: list[Take], metrics: Metrics, keep: bool) -> None:
        """Score both segments of every stem."""
        firsts = self.scores([take.first for take in takes], keep)
        seconds = iter(self.scores([take.second for take in takes if take.second is not None], keep))
        for take, first in zip(takes, firsts, strict=True):
            second = dict.fromkeys(first, math.nan) if take.second is None else next(seconds)
            clip = take.first.clip
            for name, score in first.items():
                metrics[name].update(score, clip.category, clip.song)
                metrics[name + DRIFT].update(second[name] - score, clip.category, clip.song)

    def read(self, metrics: Metrics) -> dict[str, Result]:
        """Mean and drift, overall and per category."""
        results = {}
        for name in self.charts:
            values, drifts = _read(metrics[name]), _read(metrics[name + DRIFT])
            for tag, (value, interval), (drift, drift_interval) in zip(tags_of(name), values, drifts, strict=True):
                results[tag] = Result(value.mean, drift.mean, value.items, drift.items, interval, drift_interval)
        return results


def _read(score: Metric) -> list[tuple[Summary, Interval]]:
    """Summary and interval over all items, and then of every group."""
    assert isinstance(score, MeanScore)
    summary: Summary = score.compute()
    summaries = [summary, *(summary.group(i) for i in range(GROUPS))]
    with score.sync_context():
        left_out = score.left_out()
    return [(s, jackknife_interval(s.mean, means_U)) for s, means_U in zip(summaries, left_out, strict=True)]


def tags_of(name: str) -> list[str]:
    """The name under which a mean is logged, and the names per category."""
    return [name, *(f"{name}/{category.replace(' ', '_')}" for category in (*CATEGORIES, "Any"))]
