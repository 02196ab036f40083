"""The smallest recipe, codec and data module that the command line can be tried on."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from livejam.errors import UserError


class ToyCodec(torch.nn.Module):
    """A codec by name only.

    Args:
        channels: numbers per frame.
    """

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.channels = channels


class ToyRecipe(LightningModule):
    """One linear layer.

    Args:
        codec: any.
        width: inputs of the layer.
        frames: 0 or more.
        optimizer: of the layer.
    """

    latest: ToyRecipe | None = None

    def __init__(
        self,
        codec: ToyCodec,
        width: int = 8,
        frames: int = 3,
        optimizer: OptimizerCallable = torch.optim.Adam,
    ) -> None:
        super().__init__()
        if frames < 0:
            raise UserError("frames must not be negative")
        self.codec, self.width, self.frames, self.optimizer = codec, width, frames, optimizer
        self.layer = torch.nn.Linear(width, 1)
        self.seen: list[Tensor] = []
        ToyRecipe.latest = self

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        self.seen.append(batch[0])
        return self.layer(batch[0]).square().mean()

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("weight", self.layer.weight.square().sum())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer(self.parameters())


class InterruptedRecipe(ToyRecipe):
    """Is stopped by its user in the fifth batch, unless it is past it."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        if self.global_step == 4 and batch_idx == 4 and not Path("resumed").exists():
            Path("resumed").touch()
            raise KeyboardInterrupt
        return super().training_step(batch, batch_idx)


class RefusingRecipe(ToyRecipe):
    """Cannot be trained."""

    def setup(self, stage: str) -> None:
        raise UserError("the songs\nare missing; render some")


class ToyData(LightningDataModule):
    """The same batch eight times.

    Args:
        codec: any.
        crop: any.
        width: numbers per item.
    """

    latest: ToyData | None = None

    def __init__(self, codec: ToyCodec, crop: int = 5, width: int = 8) -> None:
        super().__init__()
        self.codec, self.crop, self.width = codec, crop, width
        ToyData.latest = self

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        item = torch.randn(1, self.width, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(item.expand(8, -1)))

    test_dataloader = train_dataloader


class WholeRecipe(ToyRecipe):
    """Can be validated and asked for predictions, too; exports what it learnt, if asked to."""

    def __init__(self, codec: ToyCodec, export_path: str | None = None) -> None:
        super().__init__(codec)
        self.export_path = export_path

    validation_step = ToyRecipe.test_step

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.layer(batch[0])


class WholeData(ToyData):
    """Has batches for every subcommand."""

    val_dataloader = predict_dataloader = ToyData.train_dataloader
