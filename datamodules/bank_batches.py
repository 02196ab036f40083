"""Training batches from a latent bank: a target stem, and a sub-mix that does not contain it, at a random crop.

Shapes: B batch, T latent frames, C latent channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from datamodules.bank_pairs import usable_pairs
from datamodules.crops import ActivityRule
from datamodules.local_bank import Bank
from datamodules.run_sampler import BatchKey
from livejam.batch import AccompanimentBatch
from livejam.errors import UserError


@dataclass(frozen=True)
class _Item:
    """A crop: of which song, stem and sub-mix, where it begins, and in which of its frames the target sounds."""

    song: int
    stem: int
    submix: int
    start_frame: int
    active_T: NDArray[np.bool_]


class BankBatches(Dataset[AccompanimentBatch]):
    """Whole batches by key; nothing is decoded, and no state is kept between two keys.

    Only the latents are read from files. What sounds where is in memory: 20 MB for all of Slakh2100.

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
        bank: Bank,
        categories: tuple[int, ...],
        crop_frames: int,
        batch_size: int,
        rule: ActivityRule,
        seed: int,
    ) -> None:
        self.bank, self.crop_frames, self.batch_size, self.rule, self.seed = bank, crop_frames, batch_size, rule, seed
        self.index = bank.index(rule.threshold_dbfs)
        self.pairs = usable_pairs(self.index, categories, crop_frames, rule)
        if not len(self.pairs):
            raise UserError(
                f"no song of the bank in {bank.place} has {crop_frames} frames in which a target and a mix without it "
                "sound; make data.crop_frames smaller, or choose other data.targets"
            )

    @property
    def categories(self) -> tuple[int, ...]:
        """Class indices that occur among the targets."""
        targets = zip(self.pairs.song_P.tolist(), self.pairs.stem_P.tolist(), strict=True)
        return tuple(sorted({self.index.stems_of(song)[stem].category for song, stem in targets}))

    @property
    def songs_heard(self) -> frozenset[str]:
        """Names of the songs that have a target."""
        return frozenset(self.bank.manifest.names[song] for song in np.unique(self.pairs.song_P))

    @property
    def songs_without_beats(self) -> frozenset[str]:
        """Names of the songs of which no beats are known."""
        return frozenset(self.bank.manifest.names[song] for song in np.flatnonzero(~self.index.annotated_K))

    def __getitem__(self, key: BatchKey) -> AccompanimentBatch:
        rng = np.random.default_rng([self.seed, key.rank, key.number])
        items = [self._pick(*numbers) for numbers in rng.random((self.batch_size, 3)).tolist()]
        spec = self.bank.manifest.settings.codec
        crops_2BTC = np.empty((2, len(items), self.crop_frames, spec.latent_channels), np.float16)
        self.bank.read_crops([item.song for item in items], [self._places(item) for item in items], crops_2BTC)
        mix_BTC, target_BTC = torch.from_numpy(crops_2BTC)
        stems = [self.index.stems_of(item.song)[item.stem] for item in items]
        return AccompanimentBatch(
            mix=_for_training(mix_BTC),
            target=_for_training(target_BTC),
            is_audio=False,
            instrument_B=torch.tensor([stem.category for stem in stems]),
            active_BT=torch.from_numpy(np.stack([item.active_T for item in items])),
            prompt=tuple(stem.description for stem in stems),
            song=tuple(self.bank.manifest.names[item.song] for item in items),
            start_seconds=tuple(item.start_frame * spec.frame_seconds for item in items),
            # excerpts of them would cost more than the latents; they can be read from the bank
            annotations=(None,) * len(items),
        )

    def _pick(self, target_share: float, submix_share: float, start_share: float) -> _Item:
        """Target uniform over all of them, then a sub-mix, then a crop, each uniform over what may be used.

        Args:
            target_share: position among all targets, 0 to 1.
            submix_share: position among the sub-mixes without it, 0 to 1.
            start_share: position among the crops that may be used, 0 to 1.
        """
        pairs, pair = self.pairs, int(target_share * len(self.pairs))
        song, stem = int(pairs.song_P[pair]), int(pairs.stem_P[pair])
        submix = int(pairs.submixes[pairs.first_P[pair] + int(submix_share * int(pairs.count_P[pair]))])
        sounds = self.index.sounds_of(song)[[stem, int(self.index.stems_K[song]) + submix]]
        target_T, mix_T = np.unpackbits(sounds, axis=1, count=int(self.index.frames_K[song])).view(bool)
        starts = self.rule.starts(target_T, mix_T, self.crop_frames)
        start = int(starts[int(start_share * len(starts))])
        return _Item(song, stem, submix, start, target_T[start : start + self.crop_frames])

    def _places(self, item: _Item) -> tuple[int, int]:
        """The bytes of the song's file at which the crops of mix and target begin."""
        index, frame_bytes = self.index, 2 * self.bank.manifest.settings.codec.latent_channels
        frames = int(index.frames_K[item.song])
        mix, target = (row * frames + item.start_frame for row in (item.submix, item.stem))
        return (
            int(index.submix_bytes_K[item.song]) + mix * frame_bytes,
            int(index.stem_bytes_K[item.song]) + target * frame_bytes,
        )


def _for_training(latents_BTC: Tensor) -> Tensor:
    """As float32; a worker writes it where the training process reads it, instead of copying it there later."""
    if get_worker_info() is None:
        return latents_BTC.float()
    # as PyTorch's own collating does
    shared = torch.UntypedStorage._new_shared(4 * latents_BTC.numel(), device="cpu")
    whole = torch.empty(0, dtype=torch.float32).set_(shared)
    return whole.view(latents_BTC.shape).copy_(latents_BTC)
