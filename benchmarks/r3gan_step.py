"""What lazy penalties save, and whether data keeps up: `python -m benchmarks.r3gan_step [--bank FOLDER]`.

Trains LiveBand under a real Trainer. Steps without penalty, with R1, with R2 and with both take turns, so that all
meet the same machine; each kind's time is its median. The networks have the proportions of
configs/liveband/slakh.yaml (equal size; five levels of two blocks in the discriminator) at the generator's size of
pocket.yaml. Without a bank it makes one of random latents. The last line is one JSON object: `lazy_speedup` (time of
a step with both penalties over the mean step of the lazy schedule's cycle), `data_wait_share` (share of the loop's
time that it waits for the loader), `lazy_step_ms` and `every_step_ms`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.data_bank import make_bank
from datamodules.bank_batches import BankBatches
from datamodules.crops import ActivityRule
from datamodules.local_bank import LatentBank
from datamodules.run_sampler import RunSampler
from lightning_modules.adversaries import TrainingCrop
from lightning_modules.r3gan import R3GAN
from livejam.codecs import pretrained_codec
from livejam.networks import CausalTransformer, SequenceDiscriminator
from livejam.objectives import PenaltyScale

PENALTY_EVERY = 8
PLAIN, R1, R2, BOTH = PenaltyScale(0, 0), PenaltyScale(8, 0), PenaltyScale(0, 8), PenaltyScale(1, 1)
KINDS = (PLAIN, R1, BOTH, R2)
WARM_UP = 2
"""Steps of each kind that are not counted."""


class SwitchedR3GAN(R3GAN):
    """The recipe, with the kinds of steps in turn."""

    def _penalty(self, crop: TrainingCrop, fake_BTC: Tensor, scale: PenaltyScale) -> Tensor:
        return super()._penalty(crop, fake_BTC, KINDS[int(self.iteration) % len(KINDS)])


class TimedLoader:
    """A loader that adds up the seconds in which it was waited for."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.loader, self.seconds = loader, 0.0

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.loader)
        for _ in range(len(self.loader)):
            begin = time.perf_counter()
            batch = next(batches)
            self.seconds += time.perf_counter() - begin
            yield batch


class BankOnly(LightningDataModule):
    """The data module's training loader on a bank, without the songs it was made from."""

    def __init__(self, bank: Path, crop_frames: int, batch_size: int, batches: int) -> None:
        super().__init__()
        opened = LatentBank(bank)
        self.latent_statistics = opened.manifest.statistics
        targets = opened.manifest.settings.targets
        items = BankBatches(opened, targets, crop_frames, batch_size, ActivityRule(), seed=0)
        self.loader = TimedLoader(DataLoader(items, batch_size=None, sampler=RunSampler(lambda: 0, batches, 0)))

    def train_dataloader(self) -> TimedLoader:
        return self.loader


class Stopwatch(Callback):
    """Keeps the seconds of every step by its kind, and those of the whole loop."""

    def __init__(self) -> None:
        self.seconds: dict[PenaltyScale, list[float]] = {kind: [] for kind in KINDS}
        self.loop_seconds = 0.0
        self._begin = 0.0

    def on_train_epoch_start(self, *_: Any) -> None:
        self.loop_seconds -= time.perf_counter()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.loop_seconds += time.perf_counter()

    def on_train_batch_start(self, *_: Any) -> None:
        self._begin = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, out: Any, batch: Any, index: int) -> None:
        self.seconds[KINDS[index % len(KINDS)]].append(time.perf_counter() - self._begin)

    def milliseconds(self, kind: PenaltyScale) -> float:
        """Median time of a step of this kind."""
        return 1e3 * median(self.seconds[kind][WARM_UP:])


def make_model(channels: int, window_frames: int) -> SwitchedR3GAN:
    """Both networks have about 1.2 M parameters."""
    generator = CausalTransformer(channels, 64, 128, 4, 4, window_frames=window_frames, class_channels=64)
    discriminator = SequenceDiscriminator(channels, width=160, groups=20, residual_gain=0.3)
    codec = pretrained_codec()
    return SwitchedR3GAN(generator, discriminator, codec, ema_decay=0.995)


def measure(bank: Path, batch_size: int, window_frames: int, steps: int, folder: Path) -> dict[str, float]:
    """Train for `steps` counted steps of each kind."""
    channels = LatentBank(bank).manifest.settings.codec.latent_channels
    model = make_model(channels, window_frames)
    data = BankOnly(bank, model.crop_frames, batch_size, batches=len(KINDS) * (steps + WARM_UP))
    watch = Stopwatch()
    trainer = Trainer(
        default_root_dir=folder,
        max_epochs=1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[watch],
    )
    trainer.fit(model, data)
    plain, r1, both, r2 = (watch.milliseconds(kind) for kind in KINDS)
    lazy = (r1 + r2 + (2 * PENALTY_EVERY - 2) * plain) / (2 * PENALTY_EVERY)
    return {
        "lazy_speedup": round(both / lazy, 3),
        "data_wait_share": round(data.loader.seconds / watch.loop_seconds, 5),
        "lazy_step_ms": round(lazy, 1),
        "every_step_ms": round(both, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bank", type=Path, help="a bank's folder; left out: a bank of random latents is made")
    parser.add_argument("--batch_size", type=int, default=16, help="items per batch")
    parser.add_argument("--window_frames", type=int, default=64, help="frames of a training item")
    parser.add_argument("--steps", type=int, default=20, help="steps of each kind")
    parser.add_argument("--threads", type=int, help="CPU threads; left out: torch's own choice")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as made:
        if arguments.bank is None:
            make_bank(Path(made), songs=40, frames=480, channels=pretrained_codec().spec.latent_channels)
        bank = arguments.bank or Path(made)
        result = measure(bank, arguments.batch_size, arguments.window_frames, arguments.steps, Path(made))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
