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


@contextmanager
def without_long_collections() -> Iterator[None]:
    """Python's collector leaves alone what exists already, and so takes microseconds."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
