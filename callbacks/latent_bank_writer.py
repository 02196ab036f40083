"""Writes what `LatentEncoding` predicts into the data module's latent bank."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from callbacks.trainer_facts import data_module, is_dry_run
from datamodules.bank_building import BankBuilder
from datamodules.latent_bank import SongLatents
from livejam.errors import UserError

log = logging.getLogger(__name__)


class LatentBankWriter(BasePredictionWriter):
    """Writes one file per song as soon as it is encoded, on the rank that encoded it, and the manifest at the end.

    A killed run continues where it stopped, because the data module offers only the missing songs. A dry
    `fast_dev_run` encodes one batch and writes nothing.
    """

    def __init__(self) -> None:
        super().__init__("batch")

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: SongLatents,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write one song."""
        if not is_dry_run(trainer):
            _builder(trainer).write(prediction)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """When every rank has written its songs, the first one writes the manifest, even if no song was missing."""
        trainer.strategy.barrier("latent bank")
        if trainer.is_global_zero and stage == "predict" and not is_dry_run(trainer):
            builder = _builder(trainer)
            missing = len(builder.pending())
            if missing:
                log.warning("%d songs are still missing in %s: run the same command again", missing, builder.folder)
            else:
                builder.finish()


def _builder(trainer: Trainer) -> BankBuilder:
    builder = getattr(data_module(trainer), "bank_builder", None)
    if not isinstance(builder, BankBuilder):
        raise UserError("LatentBankWriter needs a data module that describes a bank, such as datamodules.SongsToEncode")
    return builder
