"""The clock that an engine lives by: the machine's, or a virtual one that passes an hour in seconds.

Times are in seconds. A clock also runs a performance, since time decides who is at work: on the machine's clock a
worker thread computes while the caller plays the sound card; on the virtual clock both take turns in one thread, at
moments that follow from the program alone, so that every run is the same.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from typing import Protocol

from livejam.streaming.priority import prioritised


class Signal:
    """Wakes one waiting thread. `set` never blocks, so a sound card's thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake the thread that waits, or the next one that will."""
        try:
            self._lock.release()
        except RuntimeError:  # set already
            return

    def take(self, timeout_seconds: float) -> bool:
        """Wait until it is set, and clear it. False = the time ran out."""
        return self._lock.acquire(timeout=timeout_seconds) if timeout_seconds > 0 else self._lock.acquire(False)


class Worker(Protocol):
    """What a clock keeps running beside the ticks."""

    def start(self) -> None:
        """Begin to work in a thread."""

    def stop(self) -> None:
        """End the thread."""

    def work(self) -> bool:
        """Do the next piece of work, in the caller's thread. False = there is none."""


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float: ...

    def wait(self, signal: Signal, timeout_seconds: float) -> None:
        """Return when the signal is set, or after the timeout."""

    def pace(self, worker: Worker, tick: Callable[[int], None], period_seconds: float, ticks: int) -> None:
        """Call `tick(0)`, `tick(1)`, … one period after another, the first after one period, while `worker` works."""


class TrueClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.perf_counter()

    def wait(self, signal: Signal, timeout_seconds: float) -> None:
        signal.take(timeout_seconds)

    def pace(self, worker: Worker, tick: Callable[[int], None], period_seconds: float, ticks: int) -> None:
        """Ticks that are late follow at once: the schedule itself never slips."""
        worker.start()
        try:
            with prioritised():
                began = self.now()
                for i in range(ticks):
                    time.sleep(max(0.0, began + (i + 1) * period_seconds - self.now()))
                    tick(i)
        finally:
            worker.stop()


class VirtualClock:
    """A clock that stands still until somebody sleeps or waits; meanwhile it calls what is due.

    A model that takes time calls `sleep` while it computes: the sound card's calls that fall into this time happen
    before it ends, as they would on two threads.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._calls = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    def now(self) -> float:
        return self._now

    def at(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something when its time has come. Calls at the same time keep their order."""
        heapq.heappush(self._due, (seconds, self._calls, call))
        self._calls += 1

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        end = self._now + seconds
        while self._due and self._due[0][0] <= end:
            self._call_next()
        self._now = end

    def wait(self, signal: Signal, timeout_seconds: float) -> None:
        end = self._now + timeout_seconds
        while not signal.take(0):
            if not self._due or self._due[0][0] > end:
                self._now = end
                return
            self._call_next()

    def pace(self, worker: Worker, tick: Callable[[int], None], period_seconds: float, ticks: int) -> None:
        """Ticks and work take turns until all ticks have been called and no work is left."""
        began = self._now

        def next_tick(i: int) -> None:
            if i + 1 < ticks:
                self.at(began + (i + 2) * period_seconds, lambda: next_tick(i + 1))
            tick(i)

        if ticks:
            self.at(began + period_seconds, lambda: next_tick(0))
        self.run(worker)

    def run(self, worker: Worker) -> None:
        """Work, and let time pass when there is nothing to do, until there are neither work nor calls."""
        while True:
            while worker.work():
                pass
            if not self._due:
                return
            self._call_next()

    def _call_next(self) -> None:
        seconds, _, call = heapq.heappop(self._due)
        self._now = max(self._now, seconds)
        call()
