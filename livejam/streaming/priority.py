"""Precedence over other programs, where the system permits it."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

NICENESS = -10


@contextmanager
def prioritised() -> Iterator[bool]:
    """The calling thread goes before other programs; without the right to do so (or outside Linux) nothing changes.

    Yields whether it does.
    """
    if not sys.platform.startswith("linux"):
        yield False
        return
    thread = threading.get_native_id()  # on Linux, a thread has a niceness of its own
    before = os.getpriority(os.PRIO_PROCESS, thread)
    try:
        os.setpriority(os.PRIO_PROCESS, thread, min(before, NICENESS))
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        os.setpriority(os.PRIO_PROCESS, thread, before)


_collecting = threading.Lock()
_without = 0


@contextmanager
def without_long_collections() -> Iterator[None]:
    """Python's collector leaves alone what exists already, and so takes microseconds.

    Several may ask for it at once: the first collects, which takes long, and what the last leaves behind is as before.
    """
    global _without
    with _collecting:
        if not _without:
            gc.collect()
            gc.freeze()
        _without += 1
    try:
        yield
    finally:
        with _collecting:
            _without -= 1
            if not _without:
                gc.unfreeze()
