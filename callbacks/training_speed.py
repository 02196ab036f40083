"""Learning rates, throughput and memory, beside the curves of training."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.data import extract_batch_size
from torch import Tensor

from livejam.batch import AccompanimentBatch
from livejam.spec import CodecSpec

STATM = Path("/proc/self/statm")
"""The file in which Linux reports the memory of a process."""

GIB = 2**30


@dataclass
class Stretch:
    """The totals since numbers were last logged, in one process.

    Args:
        batches: number of batches.
        items: number of items in them.
        audio_seconds: seconds of target audio in them; 0 where the batches do not say.
        data_seconds: time between steps: the loader, and the transfer to the device.
        step_seconds: time within steps.
    """

    batches: int = 0
    items: int = 0
    audio_seconds: float = 0.0
    data_seconds: float = 0.0
    step_seconds: float = 0.0

    def numbers(self, processes: int) -> dict[str, float]:
        """Rates of all processes together, whose batches are equally large, and seconds per batch."""
        seconds = max(self.data_seconds + self.step_seconds, 1e-9)
        rates = {
            "speed/items_per_second": processes * self.items / seconds,
            "speed/data_seconds": self.data_seconds / self.batches,
            "speed/step_seconds": self.step_seconds / self.batches,
        }
        if self.audio_seconds:
            rates["speed/audio_seconds_per_second"] = processes * self.audio_seconds / seconds
        return rates


class TrainingSpeed(Callback):
    """Logs how a training run spends its time, every `log_every_n_steps` iterations.

    `speed/items_per_second` and `speed/audio_seconds_per_second` are those of all processes together, without
    validations. `speed/data_seconds` and `speed/step_seconds` are means per batch in the first process: waiting for the
    data, and everything else. `speed/validation_seconds` is a whole validation with its measures.
    `learning_rate/<network>` is the current rate of a network's optimiser. `memory/resident_gib` is the first process's
    memory without its loaders' (on Linux; it counts the pages of a bank that the system could drop), and
    `memory/cuda_peak_gib` the peak memory of tensors on its GPU.

    Nothing waits for a GPU, which computes on while the host's clock is read. So a single step may look short, but
    rates over many iterations are right. Without a logger, nothing is done.
    """

    def __init__(self) -> None:
        self._stretch = Stretch()
        self._mark = 0.0
        self._validation_began = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._mark = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        now = time.perf_counter()
        self._stretch.data_seconds += now - self._mark
        self._mark = now

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now, stretch = time.perf_counter(), self._stretch
        stretch.step_seconds += now - self._mark
        items, audio_seconds = extent(batch, getattr(getattr(pl_module, "codec", None), "spec", None))
        stretch.batches += 1
        stretch.items += items
        stretch.audio_seconds += audio_seconds
        if _is_logged(trainer):
            rates = learning_rates(trainer, pl_module)
            log(trainer, stretch.numbers(trainer.world_size) | rates | memory(trainer.strategy.root_device))
            self._stretch = Stretch()
        self._mark = time.perf_counter()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validation_began = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A validation does not count as time for data."""
        self._mark = time.perf_counter()
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            log(trainer, {"speed/validation_seconds": self._mark - self._validation_began})


def extent(batch: Any, spec: CodecSpec | None) -> tuple[int, float]:
    """Items of a batch, and seconds of the target's audio in all of them (0 = not known).

    Args:
        batch: of latents or of audio, or of a recipe that has neither.
        spec: of the codec that made the latents; None = there is none.
    """
    if isinstance(batch, AccompanimentBatch):
        items, unit = len(batch), batch.target.shape[2 if batch.is_audio else 1]
    elif isinstance(batch, Tensor) and batch.dim() == 3:  # audio_BAN
        items, unit = len(batch), batch.shape[2]
    else:
        return extract_batch_size(batch), 0.0
    if spec is None:
        return items, 0.0
    latents = isinstance(batch, AccompanimentBatch) and not batch.is_audio
    return items, items * unit * (spec.frame_seconds if latents else 1 / spec.sample_rate_hz)


def learning_rates(trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
    """The current rate of every optimiser, named after the part of the recipe that it trains."""
    owners = {id(parameter): name.partition(".")[0] for name, parameter in pl_module.named_parameters()}
    rates: dict[str, float] = {}
    for group in (group for optimizer in trainer.optimizers for group in optimizer.param_groups):
        name = f"learning_rate/{owners.get(id(group['params'][0]), 'parameters')}"
        taken = sum(known.partition("_group")[0] == name for known in rates)
        rates[f"{name}_group{taken + 1}" if taken else name] = float(group["lr"])
    return rates


def memory(device: torch.device) -> dict[str, float]:
    """GiB of this process, and the peak of its tensors on its GPU."""
    taken = {}
    if STATM.exists():
        taken["memory/resident_gib"] = int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / GIB
    if device.type == "cuda":
        taken["memory/cuda_peak_gib"] = torch.cuda.max_memory_allocated(device) / GIB
    return taken


def log(trainer: Trainer, numbers: Mapping[str, float]) -> None:
    """Logged at the iteration of the training curves; only the first process's loggers write."""
    for logger in trainer.loggers:
        logger.log_metrics(dict(numbers), step=trainer.fit_loop.epoch_loop._batches_that_stepped)


def _is_logged(trainer: Trainer) -> bool:
    """Whether the iteration's numbers are logged: at the end of its last batch, where gradients are accumulated."""
    due = trainer._logger_connector.should_update_logs
    return bool(trainer.loggers) and due and not trainer.fit_loop._should_accumulate()
