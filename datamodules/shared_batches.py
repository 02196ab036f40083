"""Batches that workers write where training reads them, in memory that is used again and again.

PyTorch passes a tensor of a worker in memory of its own, made and deleted for every batch: for batches of megabytes
that costs more than reading them. Here training and its workers share one block of memory, with slots of one batch
each. The worker that fills a slot takes it; when training has dropped the batch, it is free again.

Shapes: B batch, T latent frames, C latent channels.
"""

from __future__ import annotations

import mmap
import os
import weakref
from dataclasses import dataclass, fields, replace
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from livejam.batch import AccompanimentBatch

SLOTS = 4
"""Batches per worker: two that the loader asks for ahead, one that training holds, and one that it drops late."""

_number = count()
_memories: weakref.WeakValueDictionary[int, SharedMemory] = weakref.WeakValueDictionary()
"""What this process shares, by number: a worker sends the number and a slot, and unpickling has to find them."""


class SharedMemory:
    """Slots for the latents of batches, which this process shares with the workers that it forks.

    Args:
        shape: of mix and target of a batch, (B, T, C).
        workers: number of workers.
    """

    def __init__(self, shape: tuple[int, int, int], workers: int) -> None:
        self._shape = (2, *shape)
        self._slot_bytes = 4 * int(np.prod(self._shape))
        # without a name: a process that is killed leaves nothing behind, and the limit of /dev/shm does not count
        self._memory = mmap.mmap(-1, max(1, workers * SLOTS * self._slot_bytes))
        self._taken = np.frombuffer(mmap.mmap(-1, max(1, workers * SLOTS)), np.uint8)
        self._owner, self.number = os.getpid(), next(_number)
        _memories[self.number] = self

    def put(self, batch: AccompanimentBatch, worker: int) -> AccompanimentBatch:
        """The batch with its latents as float32 in a slot of this worker; in memory of their own if none is free."""
        slot = self._take(worker)
        if slot is None:
            return in_float32(batch)
        mix_BTC, target_BTC = torch.from_numpy(self._slot(slot))
        values = {field.name: getattr(batch, field.name) for field in fields(AccompanimentBatch)}
        latents = {"mix": mix_BTC.copy_(batch.mix), "target": target_BTC.copy_(batch.target)}
        return SharedBatch(**{**values, **latents}, memory=self.number, slot=slot)

    def _take(self, worker: int) -> int | None:
        """A free slot of this worker, taken from now on; None if training still holds all of them."""
        free = np.flatnonzero(self._taken[worker * SLOTS : (worker + 1) * SLOTS] == 0)
        if not len(free):
            return None
        slot = worker * SLOTS + int(free[0])
        self._taken[slot] = 1
        return slot

    def received(self, slot: int) -> Tensor:
        """Mix and target in a taken slot, (2, B, T, C), float32. Deleting all views of them frees it."""
        array = self._slot(slot)
        weakref.finalize(array, self._free, slot).atexit = False
        return torch.from_numpy(array)

    def _slot(self, slot: int) -> NDArray[np.float32]:
        return np.ndarray(self._shape, np.float32, self._memory, slot * self._slot_bytes)

    def _free(self, slot: int) -> None:
        # a process that was forked while training held the batch has a copy of it, and deletes that
        if os.getpid() == self._owner:
            self._taken[slot] = 0


@dataclass(frozen=True)
class SharedBatch(AccompanimentBatch):
    """A worker's batch whose latents lie in a slot. Training receives it as an `AccompanimentBatch`.

    Args:
        memory: number of the memory, in training's process.
        slot: where in it.
    """

    memory: int = -1
    slot: int = -1

    def __reduce__(self) -> tuple[Any, ...]:
        # a small tensor would be passed as memory of its own, too
        small = {field.name: getattr(self, field.name) for field in fields(AccompanimentBatch)}
        small = {name: value.numpy() if isinstance(value, Tensor) else value for name, value in small.items()}
        return _received, (self.memory, self.slot, {**small, "mix": None, "target": None})


def _received(memory: int, slot: int, small: dict[str, Any]) -> AccompanimentBatch:
    values = {name: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for name, v in small.items()}
    mix_BTC, target_BTC = _memories[memory].received(slot)
    return AccompanimentBatch(**{**values, "mix": mix_BTC, "target": target_BTC})


def in_float32(batch: AccompanimentBatch) -> AccompanimentBatch:
    """The batch with a copy of its latents as float32, unless they are."""
    return replace(batch, mix=batch.mix.float(), target=batch.target.float())
