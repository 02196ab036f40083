"""The remaining time of a training run, from its latest minutes and its latest validation."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

MARKS = 120
MARK_SECONDS = 1.0
"""The pace is that of the last two minutes, or of the last 120 iterations if these take longer."""


@dataclass(frozen=True)
class Mark:
    """Where a training was at the end of a batch.

    Args:
        seconds: time spent on training in this process, without validations.
        batches: number of batches so far.
        steps: number of steps of all optimisers so far.
    """

    seconds: float
    batches: int
    steps: int


@dataclass
class Pace:
    """The recent progress of a training run. The first batch, which compiles and warms up, is only its start."""

    marks: deque[Mark] = field(default_factory=lambda: deque(maxlen=MARKS))

    def add(self, mark: Mark) -> None:
        """Keep a mark, at most one per second."""
        if not self.marks or mark.seconds - self.marks[-1].seconds >= MARK_SECONDS:
            self.marks.append(mark)

    @property
    def seconds_per_batch(self) -> float:
        """nan until there are two marks."""
        begin, end = self._ends()
        return (end.seconds - begin.seconds) / (end.batches - begin.batches) if end is not begin else math.nan

    @property
    def steps_per_batch(self) -> float:
        """2 if generator and discriminator are both trained in a batch; nan until there are two marks."""
        begin, end = self._ends()
        return (end.steps - begin.steps) / (end.batches - begin.batches) if end is not begin else math.nan

    def _ends(self) -> tuple[Mark, Mark]:
        first = self.marks[0] if self.marks else Mark(0.0, 0, 0)
        return first, self.marks[-1] if self.marks else first


@dataclass(frozen=True)
class Ahead:
    """The remaining work of a training run.

    Args:
        batches: number of remaining batches; None if nothing ends the run.
        validations: number of remaining validations.
    """

    batches: int | None
    validations: int


def time_left(ahead: Ahead, pace: Pace, validation_seconds: float | None, limit_seconds: float | None) -> str:
    """The remaining time: `4:32 left`, `4:32 + 2 validations left` before one was measured, empty if it is not known.

    Args:
        ahead: the remaining work.
        pace: the pace of training.
        validation_seconds: duration of the last validation; None before the first.
        limit_seconds: time after which training ends in any case; None = no limit.
    """
    seconds = math.inf if ahead.batches is None else ahead.batches * pace.seconds_per_batch
    validations = ahead.validations if validation_seconds is None and ahead.batches is not None else 0
    seconds += ahead.validations * (validation_seconds or 0.0)
    if limit_seconds is not None and not seconds <= limit_seconds:
        seconds, validations = limit_seconds, 0
    if not math.isfinite(seconds):
        return ""
    extra = f" + {validations} validation{'s' * (validations > 1)}" if validations else ""
    return f"{clock(seconds)}{extra} left"


def clock(seconds: float) -> str:
    """`0:07`, `4:32`, `1:02:03`, or `2 d 5 h` where minutes do not matter."""
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def rate(pace: Pace) -> str:
    """`8.1 it/s`, or `12.3 s/it` where an iteration takes longer than a second; empty where it is not known."""
    seconds = pace.seconds_per_batch
    if math.isnan(seconds):
        return ""
    slow = seconds > 1
    value = seconds if slow else 1 / max(seconds, 1e-9)
    return f"{value:.{0 if value >= 100 else 1}f} {'s/it' if slow else 'it/s'}"
