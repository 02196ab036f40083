"""Training batches from a latent bank: a target stem, and a sub-mix that does not contain it, at a random crop.

Shapes: B batch, T latent frames, C latent channels, S stems, M sub-mixes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.crops import ActivityRule
from datamodules.latent_bank import LatentBank, SongLatents
from datamodules.run_sampler import BatchKey
from livejam.batch import AccompanimentBatch
from livejam.errors import UserError

LARGEST_MEMORY = 4096
"""How many pairs of a target and a sub-mix have their crops remembered: a few kB each."""


@dataclass(frozen=True)
class _Pair:
    """A target stem, and the sub-mixes that may accompany it."""

    song: int
    stem: int
    submixes: tuple[int, ...]


@dataclass(frozen=True)
class _Item:
    mix_TC: Tensor
    target_TC: Tensor
    levels_T: Tensor
    pair: _Pair
    start_frame: int


class BankBatches(Dataset[AccompanimentBatch]):
    """Whole batches by key; nothing is decoded, and no state is kept between two keys.

    Args:
        bank: the bank to read.
        categories: class indices of the stems that may be targets.
        crop_frames: T.
        batch_size: B.
        rule: the rule that decides which crops may be used.
        seed: seed of the run.

    Raises:
        UserError: no song offers a crop.
    """

    def __init__(
        self,
        bank: LatentBank,
        categories: tuple[int, ...],
        crop_frames: int,
        batch_size: int,
        rule: ActivityRule,
        seed: int,
    ) -> None:
        self.bank, self.crop_frames, self.batch_size, self.rule, self.seed = bank, crop_frames, batch_size, rule, seed
        self.pairs = [
            pair for song in range(len(bank)) for pair in _usable_pairs(song, bank[song], categories, crop_frames, rule)
        ]
        self._known_starts: dict[tuple[int, int, int], NDArray[np.int32]] = {}
        if not self.pairs:
            raise UserError(
                f"no song of the bank in {bank.folder} has {crop_frames} frames in which a target and a mix without it "
                "sound; make data.crop_frames smaller, or choose other data.targets"
            )

    @property
    def categories(self) -> tuple[int, ...]:
        """Class indices that occur among the targets."""
        return tuple(sorted({self.bank[pair.song].stems[pair.stem].category for pair in self.pairs}))

    @property
    def songs_heard(self) -> frozenset[str]:
        """Names of the songs that have a target."""
        return frozenset(self.bank[pair.song].name for pair in self.pairs)

    def __getitem__(self, key: BatchKey) -> AccompanimentBatch:
        rng = np.random.default_rng([self.seed, key.rank, key.number])
        items = [self._pick(*numbers) for numbers in rng.random((self.batch_size, 3)).tolist()]
        songs = [self.bank[item.pair.song] for item in items]
        stems = [song.stems[item.pair.stem] for song, item in zip(songs, items, strict=True)]
        seconds = self.bank.manifest.settings.codec.frame_seconds
        return AccompanimentBatch(
            mix=torch.stack([item.mix_TC for item in items]).float(),
            target=torch.stack([item.target_TC for item in items]).float(),
            is_audio=False,
            instrument_B=torch.tensor([stem.category for stem in stems]),
            active_BT=torch.stack([item.levels_T for item in items]) > self.rule.threshold_dbfs,
            prompt=tuple(stem.description for stem in stems),
            song=tuple(song.name for song in songs),
            start_seconds=tuple(item.start_frame * seconds for item in items),
            # excerpts of them would cost more than the latents; they can be read from the bank
            annotations=(None,) * self.batch_size,
        )

    def _pick(self, target_share: float, submix_share: float, start_share: float) -> _Item:
        """Target uniform over all of them, then a sub-mix, then a crop, each uniform over what may be used.

        Args:
            target_share: position among all targets, 0 to 1.
            submix_share: position among the sub-mixes without it, 0 to 1.
            start_share: position among the crops that may be used, 0 to 1.
        """
        pair = self.pairs[int(target_share * len(self.pairs))]
        submix = pair.submixes[int(submix_share * len(pair.submixes))]
        starts = self._starts(pair, submix)
        start = int(starts[int(start_share * len(starts))])
        song, crop = self.bank[pair.song], slice(start, start + self.crop_frames)
        return _Item(
            mix_TC=song.submixes_MTC[submix, crop],
            target_TC=song.stems_STC[pair.stem, crop],
            levels_T=song.stem_levels_ST[pair.stem, crop],
            pair=pair,
            start_frame=start,
        )

    def _starts(self, pair: _Pair, submix: int) -> NDArray[np.int32]:
        """The crops that may be used; those of a small bank are computed only once."""
        key = (pair.song, pair.stem, submix)
        starts = self._known_starts.get(key)
        if starts is None:
            song = self.bank[pair.song]
            target_T, mix_T = song.stem_levels_ST[pair.stem].numpy(), song.submix_levels_MT[submix].numpy()
            starts = self.rule.starts(self.rule.sounds(target_T), self.rule.sounds(mix_T), self.crop_frames)
            if len(self._known_starts) < LARGEST_MEMORY:
                self._known_starts[key] = starts
        return starts


def _usable_pairs(
    position: int, song: SongLatents, categories: tuple[int, ...], crop_frames: int, rule: ActivityRule
) -> list[_Pair]:
    stems_ST, submixes_MT = rule.sounds(song.stem_levels_ST.numpy()), rule.sounds(song.submix_levels_MT.numpy())
    pairs = []
    for stem, banked in enumerate(song.stems):
        if banked.category not in categories:
            continue
        without = np.flatnonzero(~song.membership_MS[:, stem].numpy())
        submixes = tuple(int(m) for m in without if len(rule.starts(stems_ST[stem], submixes_MT[m], crop_frames)))
        if submixes:
            pairs.append(_Pair(position, stem, submixes))
    return pairs
