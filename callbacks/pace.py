"""How long a training still takes, from its latest minutes and its latest validation."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

MARKS = 120
MARK_SECONDS = 1.0
"""A pace is that of the latest two minutes, or 120 iterations where that is longer."""


@dataclass(frozen=True)
class Mark:
    """Where a training was at the end of a batch.

    Args:
        seconds: spent on training since this process began to; validations do not count.
        batches: trained on until then.
        steps: of all optimisers until then.
    """

    seconds: float
    batches: int
    steps: int


@dataclass
class Pace:
    """What a training has got done lately. The first batch, which compiles and warms up, is only where it begins."""

    marks: deque[Mark] = field(default_factory=lambda: deque(maxlen=MARKS))

    def add(self, mark: Mark) -> None:
        """Keep a mark, at most one per second."""
        if not self.marks or mark.seconds - self.marks[-1].seconds >= MARK_SECONDS:
            self.marks.append(mark)

    @property
    def seconds_per_batch(self) -> float:
        """nan until there is something to compare with."""
        begin, end = self._ends()
        return (end.seconds - begin.seconds) / (end.batches - begin.batches) if end is not begin else math.nan

    @property
    def steps_per_batch(self) -> float:
        """2 where generator and discriminator are both trained in a batch; nan until there is something to compare."""
        begin, end = self._ends()
        return (end.steps - begin.steps) / (end.batches - begin.batches) if end is not begin else math.nan

    def _ends(self) -> tuple[Mark, Mark]:
        first = self.marks[0] if self.marks else Mark(0.0, 0, 0)
        return first, self.marks[-1] if self.marks else first


@dataclass(frozen=True)
class Ahead:
    """What a training still has to do.

    Args:
        batches: to train on; None where nothing ends the training.
        validations: to come.
    """

    batches: int | None
    validations: int


def time_left(ahead: Ahead, pace: Pace, validation_seconds: float | None, limit_seconds: float | None) -> str:
    """For people: `4:32 left`, `4:32 + 2 validations left` before one was measured, empty where it is not known.

    Args:
        ahead: what is left to do.
        pace: of the training.
        validation_seconds: what the latest validation took; None before the first.
        limit_seconds: after which the training ends whatever is left; None = it has no limit.
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
