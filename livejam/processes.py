"""What the processes of a run tell each other beside gradients and sums."""

from __future__ import annotations

from typing import TypeVar, cast

from torch import distributed

T = TypeVar("T")


def gathered(value: T) -> list[T]:
    """The value of every process of the run, by rank; only its own without others.

    Every process has to ask, also with nothing to give.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return [value]
    values: list[T | None] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return cast(list[T], values)


def own_rank() -> int:
    """This process among those of the run."""
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0
