"""What the processes of a run exchange besides gradients and sums."""

from __future__ import annotations

from typing import TypeVar, cast

from torch import distributed

T = TypeVar("T")


def gathered(value: T) -> list[T]:
    """The value of every process of the run, by rank; only the own value if there is one process.

    Every process must call this, even one that has nothing to contribute.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return [value]
    values: list[T | None] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return cast(list[T], values)


def own_rank() -> int:
    """The rank of this process."""
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0
