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
    active_T: NDArray[np.bool_]
    pair: _Pair
    start_frame: int


class BankBatches(Dataset[AccompanimentBatch]):
    """Whole batches by key; nothing is decoded, and nothing is remembered between two keys.

    Args:
        bank: the bank to read.
        categories: class indices of the stems that may be targets.
        crop_frames: T.
        batch_size: B.
        rule: which crops may be used.
        seed: of the run.

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
        if not self.pairs:
            raise UserError(
                f"no song of the bank in {bank.folder} has {crop_frames} frames in which a target and a mix without it "
                "sound; make data.crop_frames smaller, or choose other data.targets"
            )

    def __getitem__(self, key: BatchKey) -> AccompanimentBatch:
        rng = np.random.default_rng([self.seed, key.rank, key.number])
        items = [self._draw(rng) for _ in range(self.batch_size)]
        songs = [self.bank[item.pair.song] for item in items]
        stems = [song.stems[item.pair.stem] for song, item in zip(songs, items, strict=True)]
        seconds = self.bank.manifest.settings.codec.frame_seconds
        return AccompanimentBatch(
            mix=torch.stack([item.mix_TC for item in items]).float(),
            target=torch.stack([item.target_TC for item in items]).float(),
            is_audio=False,
            instrument_B=torch.tensor([stem.category for stem in stems]),
            active_BT=torch.from_numpy(np.stack([item.active_T for item in items])),
            prompt=tuple(stem.description for stem in stems),
            song=tuple(song.name for song in songs),
            start_seconds=tuple(item.start_frame * seconds for item in items),
            # excerpts of them would cost more than the latents; the bank has them for whoever needs them
            annotations=(None,) * self.batch_size,
        )

    def _draw(self, rng: np.random.Generator) -> _Item:
        """Target uniform over all of them, then a sub-mix, then a crop, each uniform over what may be used."""
        pair = self.pairs[rng.integers(len(self.pairs))]
        submix = pair.submixes[rng.integers(len(pair.submixes))]
        song = self.bank[pair.song]
        target_active_T = self.rule.sounds(song.stem_levels_ST[pair.stem].numpy())
        mix_active_T = self.rule.sounds(song.submix_levels_MT[submix].numpy())
        starts = self.rule.starts(target_active_T, mix_active_T, self.crop_frames)
        start = int(starts[rng.integers(len(starts))])
        crop = slice(start, start + self.crop_frames)
        return _Item(
            mix_TC=song.submixes_MTC[submix, crop],
            target_TC=song.stems_STC[pair.stem, crop],
            active_T=target_active_T[crop],
            pair=pair,
            start_frame=start,
        )


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
