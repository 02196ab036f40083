"""What an experiment needs, and whether it is there: the part of `livejam doctor --config` that knows recipes.

`python -m lightning_modules.examination RESULTS quick|deep fit --config …` reads the experiment as `lightning fit`
does. It writes one JSON object per finding into a file. It is a process of its own: its memory is the experiment's, and
if the system kills it, the doctor is still there to say so. Nothing is rendered, encoded or overwritten.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.fabric.utilities.data import sized_len
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from datamodules import LatentBank, Slakh2100DataModule
from datamodules.slakh_index import has_tracks
from lightning_modules.cli import LivejamCLI, quieten, run
from lightning_modules.lmdm import WarmStarted
from lightning_modules.run_errors import as_user_error
from lightning_modules.working_directory import put_last
from livejam.errors import UserError

WARM_UP, MEASURED = 1, 2
"""Steps before the measured ones, and measured ones."""

MOST_MEMORY = 0.9
"""The share of the memory that a run may take."""

TRAINER_OPTIONS = (
    "accelerator",
    "precision",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
)
"""The options on which a step's time and memory depend."""


class Finding(NamedTuple):
    """The result of one check."""

    subject: str
    good: bool
    text: str


class StepClock(Callback):
    """Seconds of each training step with the wait for its batch, and the number of batches of a whole epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.batches: int | None = None
        self._mark = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds.append(now - self._mark)
        self._mark = now

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.batches = sized_len(trainer.train_dataloader)  # None where crops are drawn without end
        self._mark = time.perf_counter()


@dataclass(frozen=True)
class Measured:
    """What a few training steps took.

    Args:
        steps: number of measured steps.
        step_seconds: mean of the measured steps, batch and all.
        peak_bytes: largest memory of this process, or of the GPU.
        memory_bytes: how much there is.
        checkpoint_bytes: size of a checkpoint.
        iterations: training iterations of the whole run; None = it has no end.
        device: in words.
    """

    steps: int
    step_seconds: float
    peak_bytes: int
    memory_bytes: int
    checkpoint_bytes: int
    iterations: int | None
    device: str


class Examination(LivejamCLI):
    """`lightning fit` up to the point where it would train."""

    results: Path
    deep: bool

    def fit(self, **_: Any) -> None:
        """Examine instead."""
        options = self.config_init["fit"]["trainer"]
        with self.results.open("a", encoding="utf-8") as file:
            for finding in examine(self.trainer, self.model, self.datamodule, options, self.deep):
                file.write(json.dumps(finding._asdict()) + "\n")
                file.flush()


def examine(
    trainer: Trainer, model: LightningModule, data: LightningDataModule | None, options: dict[str, Any], deep: bool
) -> Iterator[Finding]:
    """All checks of an experiment, one after the other.

    Args:
        trainer: the run's.
        model: the recipe.
        data: its data.
        options: the trainer's options.
        deep: compare every byte of the bank with its hash.
    """
    yield Finding("experiment", True, f"{type(model).__name__} in {trainer.default_root_dir}; all classes load")
    weights = _weights(model)
    yield weights
    found, bank_bytes, ready = _data(data, deep)
    yield from found
    if not (ready and weights.good):
        yield _not_measured(weights.good, all(finding.good for finding in found))
        yield _disk(trainer, _size_with_adam(model), bank_bytes)
        return
    measured = measure(trainer, model, data, options)
    yield _memory(measured)
    yield _time(measured)
    yield _disk(trainer, measured.checkpoint_bytes, bank_bytes)


def _weights(model: LightningModule) -> Finding:
    """What training starts from; what the recipe reads when it is built is there by now."""
    try:
        if isinstance(model, WarmStarted):
            model.start()
    except UserError as error:
        return Finding("weights", False, str(as_user_error(error)))
    return Finding("weights", True, "all that the config names are here")


def _not_measured(weights: bool, data: bool) -> Finding:
    """Missing weights and data are faults, data that `fit` makes are none."""
    if weights and data:
        return Finding("steps", True, "not measured: fit makes the data first: ask again when they are there")
    return Finding("steps", False, f"not measured: the {'data' if weights else 'weights'} are not there")


def _data(data: LightningDataModule | None, deep: bool) -> tuple[list[Finding], int, bool]:
    """Songs and bank, how many bytes are still to be written, and whether training could begin at once."""
    if not isinstance(data, Slakh2100DataModule):
        return [], 0, True
    songs = _songs(data)
    bank, size = _bank(data, deep) if songs.good else (Finding("bank", False, "no songs, no bank"), 0)
    return [songs, bank], size, songs.good and bank.good and not size and has_tracks(data.root)


def _songs(data: Slakh2100DataModule) -> Finding:
    if data.render_if_missing is not None and not has_tracks(data.root):
        return Finding("songs", True, f"none yet: fit renders {data.render_if_missing.songs} into {data.root}")
    try:
        counts = {split: len(data.songs(split)) for split in ("train", "validation")}
    except UserError as error:
        return Finding("songs", False, str(error))
    text = f"{data.root}: {counts['train']} for training, {counts['validation']} for validation"
    refused = f"; {data.index.refused} stems or songs cannot be used" if data.index.refused else ""
    return Finding("songs", True, text + refused)


def _bank(data: Slakh2100DataModule, deep: bool) -> tuple[Finding, int]:
    """The bank's health, and how many bytes are still to be written."""
    if data.mode == "audio":
        return Finding("bank", True, "not used: audio is mixed on the fly"), 0
    if not has_tracks(data.root):
        return Finding("bank", True, "not built yet: the songs come first"), 1
    try:
        pending = data.bank_builder.pending() if data.bank_store is None else ()
        if pending:
            size = max(1, bank_bytes(data))
            text = f"{len(pending)} of {len(data.songs('train'))} songs are still to be encoded ({size / 1e9:.1f} GB)"
            return Finding("bank", True, f"{text}: the first fit does it, or `lightning predict` beforehand"), size
        bank = data.open_bank()
        bank.index(data.rule.threshold_dbfs)
        if deep and isinstance(bank, LatentBank):
            bank.verify()
    except UserError as error:
        return Finding("bank", False, str(error)), 0
    checked = f"every {'byte' if deep else 'size'} is right" if isinstance(bank, LatentBank) else "the store answers"
    size = sum(bank.manifest.sizes)
    return Finding("bank", True, f"{bank.place}: {len(bank.manifest.names)} songs, {size / 1e9:.1f} GB, {checked}"), 0


def bank_bytes(data: Slakh2100DataModule) -> int:
    """About how large the bank's missing songs will be: two bytes per latent channel, frame, and stem or sub-mix."""
    spec, rows = data.codec.spec, 0.0
    for song in data.bank_builder.pending():
        targets = sum(stem.category in data.categories for stem in song.stems)
        rows += (targets + (targets if data.full_mix else data.submixes_per_song)) * song.seconds
    return int(rows * spec.frame_rate_hz * spec.latent_channels * 2)


def measure(
    trainer: Trainer, model: LightningModule, data: LightningDataModule | None, options: dict[str, Any]
) -> Measured:
    """A few training steps in one process, without validation, and the size of a checkpoint."""
    clock = StepClock()
    with tempfile.TemporaryDirectory() as folder:
        short = Trainer(
            **{name: options[name] for name in TRAINER_OPTIONS if options.get(name) is not None},
            devices=1,
            max_epochs=1,
            limit_train_batches=WARM_UP + MEASURED,
            limit_val_batches=0,
            callbacks=[clock],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        short.fit(model, datamodule=data)
        short.save_checkpoint(Path(folder) / "size.ckpt")
        checkpoint_bytes = (Path(folder) / "size.ckpt").stat().st_size
    device = short.strategy.root_device
    if device.type == "cuda":
        peak, there = torch.cuda.max_memory_reserved(device), torch.cuda.get_device_properties(device).total_memory
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    seconds = clock.seconds[WARM_UP:]
    return Measured(
        steps=len(seconds),
        step_seconds=sum(seconds) / max(1, len(seconds)),
        peak_bytes=peak,
        memory_bytes=there,
        checkpoint_bytes=checkpoint_bytes,
        iterations=_iterations(trainer, short, clock),
        device=str(device),
    )


def _size_with_adam(model: LightningModule) -> int:
    """About the bytes of a checkpoint: weights, and two moments of those that are trained."""
    return sum(p.numel() * p.element_size() * (3 if p.requires_grad else 1) for p in model.parameters())


def _iterations(trainer: Trainer, short: Trainer, clock: StepClock) -> int | None:
    """Training iterations of the whole run, by its epochs or its steps."""
    per_epoch, limit, epochs = clock.batches, trainer.limit_train_batches, trainer.max_epochs or -1
    if isinstance(limit, int):
        per_epoch = limit if per_epoch is None else min(per_epoch, limit)
    elif per_epoch is not None:
        per_epoch = int(per_epoch * limit)
    ends = [epochs * per_epoch] if epochs > 0 and per_epoch is not None else []
    # Lightning counts the steps of all optimisers
    per_iteration = max(1, short.global_step // len(clock.seconds))
    ends += [trainer.max_steps // per_iteration] if trainer.max_steps > 0 else []
    return min(ends, default=None)


def _memory(measured: Measured) -> Finding:
    good = measured.peak_bytes < MOST_MEMORY * measured.memory_bytes
    text = f"{measured.peak_bytes / 2**30:.1f} of {measured.memory_bytes / 2**30:.0f} GiB on {measured.device}"
    return Finding("memory", good, text + ("" if good else ": make data.init_args.batch_size smaller"))


def _time(measured: Measured) -> Finding:
    step = f"{measured.step_seconds:.3g} s per iteration ({measured.steps} measured, one process)"
    if measured.iterations is None:
        return Finding("time", True, f"{step}; the run has no end")
    hours = measured.iterations * measured.step_seconds / 3600
    rest = "without validations and what is not done in every step"
    return Finding("time", True, f"{step}: {measured.iterations} take {hours:.1f} hours, {rest}")


def _disk(trainer: Trainer, checkpoint_bytes: int, bank_bytes: int) -> Finding:
    """What checkpoints and the bank need, against what is free where the run writes."""
    savers = [saver for saver in trainer.checkpoint_callbacks if isinstance(saver, ModelCheckpoint)]
    kept = [max(1, saver.save_top_k) + bool(saver.save_last) for saver in savers]
    # one more when it is interrupted, and one while it is being written
    copies = sum(kept) + 2
    needed = copies * checkpoint_bytes + bank_bytes
    folder = Path(trainer.default_root_dir).absolute()
    there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    free = shutil.disk_usage(there).free
    parts = [f"{copies} checkpoints of {checkpoint_bytes / 1e6:.0f} MB"]
    parts += [f"{bank_bytes / 1e9:.1f} GB of bank"] if bank_bytes > 1 else []
    text = f"{free / 1e9:.1f} GB free in {there}, for {' and '.join(parts)}"
    return Finding("disk of the run", needed < free, text + ("" if needed < free else ": free some space"))


def main() -> int:
    """Entry point of the process."""
    results, thoroughness, *arguments = sys.argv[1:]
    sys.argv = ["lightning", *arguments]
    Examination.results, Examination.deep = Path(results), thoroughness == "deep"
    quieten()
    put_last(Path.cwd())
    try:
        run(Examination)
    except UserError as error:
        text = " ".join(str(error).split())
        subject = "weights" if "livejam weights fetch" in text else "experiment"
        with Path(results).open("a", encoding="utf-8") as file:
            file.write(json.dumps(Finding(subject, False, text)._asdict()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
