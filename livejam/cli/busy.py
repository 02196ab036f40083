"""Other programs that compute at the same time, for measurements on a busy machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

COMPUTE = "import numpy as n\nx = n.random.rand(400, 400)\nwhile True: x = x @ x % 1"
"""Matrix products without end, on one thread: cache and memory are shared as well."""


@contextmanager
def busy(programs: int) -> Iterator[None]:
    """Let so many programs compute meanwhile, one thread each."""
    single = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    running = [subprocess.Popen([sys.executable, "-c", COMPUTE], env={**os.environ, **single}) for _ in range(programs)]
    try:
        yield
    finally:
        for program in running:
            program.kill()
        for program in running:
            program.wait()


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
