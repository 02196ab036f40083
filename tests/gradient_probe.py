"""Gradients of a real training, kept; and one process that draws for a whole batch what two draw for their halves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies.launchers.multiprocessing import _MultiProcessingLauncher
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader, IterableDataset

from benchmarks.strategy_memory import held
from datamodules import Slakh2100DataModule
from datamodules.bank_batches import BankBatches
from datamodules.run_sampler import BatchKey
from datamodules.stem_audio import StemAudioDataModule
from lightning_modules import FullyShardedStrategy
from livejam.batch import AccompanimentBatch
from livejam.objectives.flow import SobolTimes

HALF = 3
"""Items per process; no other dimension that is drawn has twice as many."""


class KeepGradients(Callback):
    """Writes the gradients of every optimiser step, before they are clipped, and AdaGP's weight.

    Args:
        path: the file; the first process writes it.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.steps: list[dict[str, Tensor]] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        own = {id(p) for group in optimizer.param_groups for p in group["params"] if p.grad is not None}
        moved = {name: _whole(p.grad) for name, p in pl_module.named_parameters() if id(p) in own}
        weight = getattr(pl_module, "penalty_weight", None)
        self.steps.append(moved if weight is None else {**moved, "penalty_weight": weight.clone()})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            torch.save(self.steps, self.path)


def _whole(gradient: Any) -> Tensor:
    return gradient.full_tensor() if isinstance(gradient, DTensor) else torch.clone(gradient)


class KeepBytes(Callback):
    """Writes how many bytes the first process holds of weights, gradients, optimiser and average, at the last step.

    Args:
        path: the JSON file.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        if trainer.is_global_zero:
            found = held(pl_module.generator, pl_module.ema_generator, trainer.optimizers[0])
            self.path.write_text(json.dumps(found), encoding="utf-8")


class Forked(FullyShardedStrategy):
    """Processes without the start of a second Python."""

    def _configure_launcher(self) -> None:
        self._launcher = _Launcher(self, start_method="fork")


class _Launcher(_MultiProcessingLauncher):
    def _recover_results_in_main_process(self, *_: Any) -> None:
        """The first process has none: its shares mean nothing here."""


class AsTwoProcesses(KeepGradients):
    """In one process: every draw along the batch is that of the first process for its half and that of the second."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        draws = _Draws(pl_module)
        for name in ("rand", "randn", "randint"):
            setattr(torch, name, draws.along_batch(getattr(torch, name)))
        sobol, roll = SobolTimes.draw, Tensor.roll
        SobolTimes.draw = lambda times, batch, rng: torch.cat(  # type: ignore[method-assign]
            [sobol(times, batch // 2, own) for own in draws.pair]
        )

        def roll_in_halves(tensor: Tensor, shifts: int, dims: int) -> Tensor:
            if dims != 0 or len(tensor) != 2 * HALF:
                return roll(tensor, shifts, dims)
            return torch.cat([roll(half, shifts, dims) for half in tensor.chunk(2)])

        Tensor.roll = roll_in_halves  # type: ignore[method-assign, assignment]


class _Draws:
    """The generators that two processes would have, beside that of the one process."""

    def __init__(self, module: Any) -> None:
        self.pair = [torch.Generator(), torch.Generator()]
        self.module, begin = module, module.begin_iteration

        def begin_as_two(iteration: int) -> None:
            begin(iteration)
            for rank, rng in enumerate(self.pair):
                rng.manual_seed(2 * module._rng.initial_seed() + rank)

        module.begin_iteration = begin_as_two

    def along_batch(self, draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The same function, in halves for the module's own generator."""

        def drawn(*arguments: Any, generator: torch.Generator | None = None, **options: Any) -> Tensor:
            if generator is not self.module._rng:
                return draw(*arguments, generator=generator, **options)
            place = draw(*arguments, generator=torch.Generator(), **options).shape.index(2 * HALF)
            # randint's numbers are its bounds
            halved = _halved(arguments) if draw.__name__ != "randint" else (*arguments[:-1], _halved(arguments[-1]))
            halves = [draw(*halved, generator=rng, **options) for rng in self.pair]
            return torch.cat(halves, dim=place)

        return drawn


def _halved(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """A shape, or several numbers, with half of the batch."""
    return tuple(
        _halved(tuple(a)) if isinstance(a, (tuple, torch.Size)) else HALF if a == 2 * HALF else a for a in arguments
    )


class _BothShares(BankBatches):
    """The batches of two processes as one."""

    def __getitem__(self, key: BatchKey) -> AccompanimentBatch:
        first, second = (super(_BothShares, self).__getitem__(BatchKey(rank, key.number)) for rank in (0, 1))
        return AccompanimentBatch(
            mix=torch.cat((first.mix, second.mix)),
            target=torch.cat((first.target, second.target)),
            is_audio=False,
            instrument_B=torch.cat((first.instrument_B, second.instrument_B)),
            active_BT=torch.cat((first.active_BT, second.active_BT)),
            prompt=first.prompt + second.prompt,
            song=first.song + second.song,
            start_seconds=first.start_seconds + second.start_seconds,
            annotations=first.annotations + second.annotations,
        )


class WholeBatches(Slakh2100DataModule):
    """One process gets what two would get."""

    def _bank_batches(self) -> BankBatches:
        parts = self.open_bank(), self.categories, self.crop_frames, self.batch_size, self.rule, self.seed
        return _BothShares(*parts)


class _BothCrops(IterableDataset[Tensor]):
    """Batches of two processes' crops as one."""

    def __init__(self, loaders: list[DataLoader[Tensor]]) -> None:
        self.loaders = loaders

    def __iter__(self) -> Iterator[Tensor]:
        for batches in zip(*self.loaders, strict=False):
            yield torch.cat(batches)


class WholeCrops(StemAudioDataModule):
    """One process gets what two would get."""

    rank = 0

    @property
    def _rank(self) -> int:
        return self.rank

    def train_dataloader(self) -> DataLoader[Tensor]:
        loaders = []
        for self.rank in (0, 1):
            self.setup("fit")
            loaders.append(super().train_dataloader())
        return DataLoader(_BothCrops(loaders), batch_size=None)
