"""How unsteadily packets arrive, measured."""

from __future__ import annotations

import math
from collections import deque

BUCKET_SECONDS, BUCKETS = 0.5, 20


class Spread:
    """The smallest and the largest of the values of the last ten seconds.

    What is derived from them rises at once when it has to, and falls only when there was no reason for it for as long.
    Constant memory: values are kept as extremes of half seconds.
    """

    def __init__(self) -> None:
        self._buckets: deque[tuple[float, float, float]] = deque(maxlen=BUCKETS)  # since when, smallest, largest

    def add(self, value: float, now: float) -> None:
        """Count a value at a time in seconds, which never goes back."""
        if not self._buckets or now >= self._buckets[-1][0] + BUCKET_SECONDS:
            self._buckets.append((now, value, value))
        else:
            since, smallest, largest = self._buckets[-1]
            self._buckets[-1] = (since, min(smallest, value), max(largest, value))
        while self._buckets[0][0] < now - BUCKETS * BUCKET_SECONDS:
            self._buckets.popleft()

    def clear(self) -> None:
        """Forget everything."""
        self._buckets.clear()

    @property
    def smallest(self) -> float:
        """NaN before the first value."""
        return min((smallest for _, smallest, _ in self._buckets), default=math.nan)

    @property
    def largest(self) -> float:
        """NaN before the first value."""
        return max((largest for _, _, largest in self._buckets), default=math.nan)

    @property
    def width(self) -> float:
        """Largest minus smallest; 0 before the first value."""
        return self.largest - self.smallest if self._buckets else 0.0
