"""A recipe whose time the test turns by hand, for tests of what is told about time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from playing_recipe import Player, loader
from torch import Tensor

from livejam.batch import AccompanimentBatch

DATA, STEP, VALIDATION = 0.25, 1.0, 5.0
ITEMS, ITEM_SECONDS = 2, 4.0
"""Of a batch of `loader`."""


class Clock:
    """Seconds that pass only when somebody works."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class SlowLoader:
    """Batches that take their time; so does the beginning of an epoch."""

    def __init__(self, clock: Clock, batches: int) -> None:
        self.clock, self.batch, self.batches = clock, next(iter(loader(2))), batches

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[AccompanimentBatch]:
        for _ in range(self.batches):
            self.clock.seconds += DATA
            yield self.batch


class SlowPlayer(Player):
    """Takes a second per step, and five to validate; trains two networks by turns, if it is asked to."""

    def __init__(self, clock: Clock, manual: bool = False) -> None:
        super().__init__()
        self.clock, self.automatic_optimization = clock, not manual
        self.generator, self.discriminator = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)

    def training_step(self, batch: AccompanimentBatch, batch_idx: int) -> Tensor | None:
        self.clock.seconds += STEP
        if self.automatic_optimization:
            return self.generator.weight.square().sum()
        for optimizer, scheduler in zip(self.optimizers(), self.lr_schedulers(), strict=True):
            optimizer.step()
            scheduler.step()
        return None

    def validation_step(self, batch: AccompanimentBatch, batch_idx: int) -> None:
        self.clock.seconds += VALIDATION

    def configure_optimizers(self) -> Any:
        if self.automatic_optimization:
            return torch.optim.SGD(self.generator.parameters(), lr=0.5)
        both = [
            torch.optim.Adam(self.generator.parameters(), lr=0.25),
            torch.optim.Adam([{"params": [p], "lr": 0.125} for p in self.discriminator.parameters()]),
        ]
        return both, [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0) for optimizer in both]
