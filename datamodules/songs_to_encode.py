"""The songs that a latent bank does not hold yet: `lightning predict --config configs/bank/pocket.yaml`."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property
from typing import Any

from torch.utils.data import DataLoader, Dataset

from datamodules.bank_building import BankBuilder, SongAudio
from datamodules.run_sampler import ShardSampler
from datamodules.slakh2100 import Slakh2100DataModule
from livejam.errors import UserError


class SongsToEncode(Slakh2100DataModule):
    """The same songs, one by one and whole, for `LatentEncoding` and `LatentBankWriter`.

    Its arguments are those of `Slakh2100DataModule`; the bank is the one that training with the same arguments opens.
    """

    def prepare_data(self) -> None:
        """Render and index the songs; an incomplete bank is not used until it is complete.

        Other processes that want to encode into it wait until this one has ended.
        """
        if self.bank_store is not None:
            raise UserError(
                "a bank is built on a disk and copied to its store: name data.bank_root, not data.bank_store"
            )
        super().prepare_data()
        if self.bank_builder.pending():
            self._alone.enter_context(self.bank_builder.alone())
        if self.bank_builder.pending():
            self.bank_builder.invalidate()

    def teardown(self, stage: str) -> None:
        """Let others encode."""
        self._alone.close()

    @cached_property
    def _alone(self) -> ExitStack:
        """What keeps other processes out."""
        return ExitStack()

    def setup(self, stage: str) -> None:
        """There is nothing to open."""

    def predict_dataloader(self) -> DataLoader[Any]:
        """The missing songs, spread over the ranks."""
        songs = PendingSongs(self.bank_builder)
        return DataLoader(
            songs,
            batch_size=1,
            sampler=ShardSampler(len(songs), self._ranks, self._rank),
            num_workers=self.num_workers,
            collate_fn=_only_one,
        )


class PendingSongs(Dataset[SongAudio]):
    """The songs that a bank does not hold yet, decoded on access."""

    def __init__(self, builder: BankBuilder) -> None:
        self.builder = builder
        self.songs = builder.pending()

    def __len__(self) -> int:
        return len(self.songs)

    def __getitem__(self, position: int) -> SongAudio:
        return self.builder.read(self.songs[position])


def _only_one(songs: list[Any]) -> Any:
    return songs[0]
