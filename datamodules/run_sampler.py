"""Which rank gets what. Batch k of a training run is a pure function of (seed, rank, k), so any run can go on.

Nothing is drawn from a generator that lives on, so workers may fetch ahead, epochs may be cut short and a run may be
killed: what was consumed is a number, which Lightning keeps in the checkpoint as its count of processed batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch.utils.data import DataLoader, DistributedSampler

from livejam.errors import UserError


class BatchKey(NamedTuple):
    """Which batch: of which rank, and how many that rank took before it since training began."""

    rank: int
    number: int


class RunSampler(DistributedSampler[BatchKey]):
    """The keys of the batches from `consumed()` on, as many as an epoch has.

    It is a `DistributedSampler` because it shares the work between ranks itself, so Lightning leaves it alone.

    Args:
        consumed: how many batches this run has processed, asked at the start of every epoch.
        batches_per_epoch: batches of every rank per epoch, at least 1.
        rank: this process among all.
    """

    def __init__(self, consumed: Callable[[], int], batches_per_epoch: int, rank: int) -> None:
        self.consumed = consumed
        self.batches_per_epoch = batches_per_epoch
        self.rank = rank

    def __iter__(self) -> Iterator[BatchKey]:
        first = self.consumed()
        # a whole epoch even when resumed in the middle of one: the trainer knows where the epoch ends
        return iter([BatchKey(self.rank, first + i) for i in range(self.batches_per_epoch)])

    def __len__(self) -> int:
        return self.batches_per_epoch

    def set_epoch(self, epoch: int) -> None:
        """Epochs have no meaning for the order."""


class BatchShare(NamedTuple):
    """A batch of an evaluation that this process takes, and whether another one, or this one, has it already."""

    number: int
    repeated: bool


class ShareSampler(DistributedSampler[BatchShare]):
    """Every batch on one rank, and equally many on all: a rank that has fewer takes one a second time.

    Whole batches are dealt, so that an item is played and measured in the same company whatever the number of ranks,
    and its numbers are the same to the last bit. Equally many batches, because steps may hold collectives (DDP
    broadcasts buffers in each of them), and because Lightning leaves out the whole evaluation of a rank without any.

    Args:
        batches: how many there are.
        ranks: how many processes share them.
        rank: this process among them.
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
    """Every item on exactly one rank, also when a rank gets none: for work in which ranks do not wait for each other.

    Args:
        items: how many there are.
        ranks: how many processes share them.
        rank: this process among them.
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
    """A loader over a `RunSampler`; its state says where the run stood, for Lightning and for a check."""

    sampler: RunSampler

    def state_dict(self) -> dict[str, int]:
        """The batches that were processed, not those that were fetched ahead."""
        return {"batches_consumed": self.sampler.consumed()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Check that the trainer goes on where the checkpoint stood.

        Raises:
            UserError: the checkpoint's loops say something else than its loader.
        """
        if state["batches_consumed"] != self.sampler.consumed():
            raise UserError(
                f"the checkpoint is damaged: its loader had given {state['batches_consumed']} batches, its trainer had "
                f"processed {self.sampler.consumed()}; resume from another checkpoint"
            )
