"""A lock for threads that play in turns: first come, first served, and whoever holds it can let the others go first."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType


class Baton:
    """What only one thread can hold; that thread may take it again.

    Python runs one thread at a time. Threads that all want to run hand the interpreter to each other at every operation
    of PyTorch, and eight of them spend more time on that than on music. Those that wait for a baton do not.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._queue: deque[threading.Lock] = deque()
        self._held = False
        self._holder: int | None = None
        self._depth = 0

    def __enter__(self) -> Baton:
        if self._holder == threading.get_ident():
            self._depth += 1
            return self
        with self._guard:
            place = self._queued() if self._held else None
            self._held = True
        self._hold(place, 1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._depth -= 1
        if not self._depth:
            self._pass_on()

    def let_others_first(self) -> None:
        """Return when everybody who waits now has held it. Only for its holder."""
        with self._guard:
            if not self._queue:
                return
            place = self._queued()
        depth = self._depth
        self._pass_on()
        self._hold(place, depth)

    def _queued(self) -> threading.Lock:
        """A place at the end of the queue: a lock that opens when its turn comes."""
        place = threading.Lock()
        place.acquire()
        self._queue.append(place)
        return place

    def _hold(self, place: threading.Lock | None, depth: int) -> None:
        if place is not None:
            place.acquire()
        self._holder, self._depth = threading.get_ident(), depth

    def _pass_on(self) -> None:
        self._holder = None
        with self._guard:
            if self._queue:
                self._queue.popleft().release()
            else:
                self._held = False
