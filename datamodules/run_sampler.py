"""Which rank gets which batch. Batch k of a run is a pure function of (seed, rank, k), so any run can be resumed.

No random state is carried along, so workers may fetch ahead, epochs may be cut short and a run may be killed: the
position is a number, which Lightning keeps in the checkpoint as its count of processed batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch.utils.data import DataLoader, DistributedSampler

from livejam.errors import UserError


class BatchKey(NamedTuple):
    """A batch: its rank, and the number of batches that this rank took before it."""

    rank: int
    number: int


class RunSampler(DistributedSampler[BatchKey]):
    """The keys of the batches from `consumed()` on, as many as an epoch has.

    It is a `DistributedSampler`, so that Lightning leaves the sharing between ranks to it.

    Args:
        consumed: a function that returns how many batches this run has processed, called at the start of every epoch.
        batches_per_epoch: batches of every rank per epoch, at least 1.
        rank: rank of this process.
    """

    def __init__(self, consumed: Callable[[], int], batches_per_epoch: int, rank: int) -> None:
        self.consumed = consumed
        self.batches_per_epoch = batches_per_epoch
        self.rank = rank

    def __iter__(self) -> Iterator[BatchKey]:
        first = self.consumed()
        # a whole epoch even when resumed within one: the trainer knows where the epoch ends
        return iter([BatchKey(self.rank, first + i) for i in range(self.batches_per_epoch)])

    def __len__(self) -> int:
        return self.batches_per_epoch

    def set_epoch(self, epoch: int) -> None:
        """The order does not depend on epochs."""


class BatchShare(NamedTuple):
    """A batch of an evaluation for this process, and whether some process has already taken it."""

    number: int
    repeated: bool


class ShareSampler(DistributedSampler[BatchShare]):
    """Every batch on one rank, and equally many on all: a rank with fewer takes one a second time.

    Whole batches are shared, so that an item is always played and measured in the same batch, for any number of ranks,
    and its numbers are the same to the last bit. All ranks take equally many, because steps may hold collectives (DDP
    broadcasts buffers in each of them), and because Lightning skips the evaluation on a rank without batches.

    Args:
        batches: number of batches.
        ranks: number of processes.
        rank: rank of this process.
    """

    def __init__(self, batches: int, ranks: int, rank: int) -> None:
        numbers = [turn * ranks + rank for turn in range(-(-batches // ranks))]
        self.shares = [BatchShare(number % batches, number >= batches) for number in numbers]

    def __iter__(self) -> Iterator[BatchShare]:
        return iter(self.shares)

    def __len__(self) -> int:
        return len(self.shares)

    def set_epoch(self, epoch: int) -> None:
        """The order is always the same."""


class ShardSampler(DistributedSampler[int]):
    """Every item on exactly one rank, even if a rank gets none: for work in which ranks do not wait for each other.

    Args:
        items: number of items.
        ranks: number of processes.
        rank: rank of this process.
    """

    def __init__(self, items: int, ranks: int, rank: int) -> None:
        self.positions = range(rank, items, ranks)

    def __iter__(self) -> Iterator[int]:
        return iter(self.positions)

    def __len__(self) -> int:
        return len(self.positions)

    def set_epoch(self, epoch: int) -> None:
        """The order is always the same."""


class ResumableLoader(DataLoader[Any]):
    """A loader over a `RunSampler`; its state is the position of the run, for Lightning and for a check."""

    sampler: RunSampler

    def state_dict(self) -> dict[str, int]:
        """The number of batches that were processed, without those that were fetched ahead."""
        return {"batches_consumed": self.sampler.consumed()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Check that the trainer continues where the checkpoint stopped.

        Raises:
            UserError: the checkpoint's loops and its loader disagree.
        """
        if state["batches_consumed"] != self.sampler.consumed():
            raise UserError(
                f"the checkpoint is damaged: its loader had given {state['batches_consumed']} batches, its trainer had "
                f"processed {self.sampler.consumed()}; resume from another checkpoint"
            )
