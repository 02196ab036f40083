"""What Lightning's trainer knows, but declares nowhere."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningDataModule, Trainer


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """Those of this run, in their order; the trainer's own list."""
    return trainer.callbacks  # type: ignore[attr-defined]


def data_module(trainer: Trainer) -> LightningDataModule | None:
    """Where the batches come from; None where plain loaders were given."""
    return trainer.datamodule  # type: ignore[attr-defined]


def is_dry_run(trainer: Trainer) -> bool:
    """Whether this is a `fast_dev_run`, which writes nothing."""
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]
