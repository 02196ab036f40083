"""How many threads play best, by measurement.

Threads that share an operation wait for each other at its end. That pays for large models on a quiet machine. Where
another program needs a core, the wait costs far more than the threads save, and one that plays alone never waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch

MOST_STEPS, ENOUGH_SECONDS = 7, 0.5
SHARE = 1 / 3
"""Of its budget, what a step may take at most to be out of danger from other programs."""


def fewest_threads(
    step: Callable[[], object], budget_seconds: float, clock: Callable[[], float] = time.perf_counter
) -> int:
    """The fewest threads with which a step takes a third of its budget or less; if there are none, the fastest number.

    Tries 1, 2, 4, … up to PyTorch's own number, which is the same afterwards. What it returns is for
    `torch.set_num_threads`, in the thread that plays.

    Args:
        step: plays one step, and may be called any number of times.
        budget_seconds: the time that a step may take.
        clock: the time in seconds.
    """
    most, taken = torch.get_num_threads(), dict[int, float]()
    try:
        for threads in _candidates(most):
            torch.set_num_threads(threads)
            taken[threads] = _typical_seconds(step, clock)
            if taken[threads] <= SHARE * budget_seconds:
                return threads
        return min(taken, key=taken.__getitem__)
    finally:
        torch.set_num_threads(most)


def _candidates(most: int) -> list[int]:
    return [threads for threads in (1 << power for power in range(most.bit_length())) if threads < most] + [most]


def _typical_seconds(step: Callable[[], object], clock: Callable[[], float]) -> float:
    """The median of a few steps after the first, of fewer if they are long."""
    step()
    began, seconds = clock(), list[float]()
    while len(seconds) < MOST_STEPS and sum(seconds) < ENOUGH_SECONDS:
        step()
        seconds.append(clock() - began - sum(seconds))
    return median(seconds)
