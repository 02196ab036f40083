"""Training batches from a latent bank: a target stem, and a sub-mix that does not contain it, at a random crop.

Shapes: B batch, T latent frames, C latent channels, P numbers of a frame of a sketch, E channels
of a reference.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, get_worker_info

from datamodules.bank_beats import BankBeats
from datamodules.bank_pairs import usable_pairs
from datamodules.crops import ActivityRule
from datamodules.local_bank import Bank, LatentBank
from datamodules.reference_bank import ReferenceBank
from datamodules.run_sampler import BatchKey
from datamodules.shared_batches import SharedMemory, in_float32
from datamodules.sketch_bank import SketchBank
from livejam.batch import AccompanimentBatch
from livejam.errors import UserError
from livejam.reference import ReferenceAnalysis
from livejam.sketch import SketchAnalysis

AT_ONCE = 16
"""Items that are drawn together: what sounds in them fits into a processor's cache."""


class _Crops(NamedTuple):
    """Crops of a batch: of which songs, stems and sub-mixes, their first frames, and where the targets sound."""

    song_B: NDArray[np.int64]
    stem_B: NDArray[np.int64]
    submix_B: NDArray[np.int64]
    start_B: NDArray[np.int64]
    active_BT: NDArray[np.bool_]


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
        workers: processes that will load the batches; those that are forked share memory with this one.
        sketch: how the curves of targets were made that batches hold besides; None = they hold none.
        reference: how the embeddings of other excerpts were made that batches hold besides; None = they hold none.
        beats: whether batches hold where their frames lie between beats.

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
        workers: int = 0,
        sketch: SketchAnalysis | None = None,
        reference: ReferenceAnalysis | None = None,
        beats: bool = False,
    ) -> None:
        self.bank, self.crop_frames, self.batch_size, self.rule, self.seed = bank, crop_frames, batch_size, rule, seed
        self.index = bank.index(rule.threshold_dbfs)
        self.pairs = usable_pairs(self.index, categories, crop_frames, rule)
        if not len(self.pairs):
            raise UserError(
                f"no song of the bank in {bank.place} has {crop_frames} frames in which a target and a mix without it "
                "sound; make data.crop_frames smaller, or choose other data.targets"
            )
        shape = (batch_size, crop_frames, bank.manifest.settings.codec.latent_channels)
        self._sketches = None if sketch is None else SketchBank(_on_this_machine(bank), self.index, sketch)
        self.references = None if reference is None else ReferenceBank(_on_this_machine(bank), self.index, reference)
        self._beats = BankBeats(_on_this_machine(bank), self.index) if beats else None
        self._memory = SharedMemory(shape, workers) if workers else None
        self._read = np.empty((2, *shape), np.float16)

    def __getstate__(self) -> dict[str, Any]:
        """A process that is not forked shares no memory."""
        return {**self.__dict__, "_memory": None}

    @property
    def categories(self) -> tuple[int, ...]:
        """Class indices that occur among the targets."""
        targets = zip(self.pairs.song_P.tolist(), self.pairs.stem_P.tolist(), strict=True)
        return tuple(sorted({self.index.stem(song, stem).category for song, stem in targets}))

    @property
    def songs_heard(self) -> frozenset[str]:
        """Names of the songs that have a target."""
        return frozenset(self.bank.manifest.names[song] for song in np.unique(self.pairs.song_P))

    @property
    def songs_without_beats(self) -> frozenset[str]:
        """Names of the songs of which no beats are known."""
        return frozenset(self.bank.manifest.names[song] for song in np.flatnonzero(~self.index.annotated_K))

    def __getitem__(self, key: BatchKey) -> AccompanimentBatch:
        shares_B3 = np.random.default_rng([self.seed, key.rank, key.number]).random((self.batch_size, 3))
        parts = [self._pick(shares_B3[first : first + AT_ONCE]) for first in range(0, self.batch_size, AT_ONCE)]
        crops = _Crops(*map(np.concatenate, zip(*parts, strict=True)))
        self.bank.read_crops(crops.song_B.tolist(), self._places(crops), self._read)
        batch, worker = self._as_banked(crops), get_worker_info()
        if self.references is not None:
            # draws of its own, so that the same seed gives the same items with references and without
            rng = np.random.default_rng([self.seed, key.rank, key.number, 1])
            place = crops.song_B, crops.stem_B, crops.start_B
            batch = replace(batch, reference_BE=self.references.draw(*place, self.crop_frames, rng))
        return in_float32(batch) if worker is None or self._memory is None else self._memory.put(batch, worker.id)

    def _pick(self, shares_B3: NDArray[np.float64]) -> _Crops:
        """Targets uniform over all of them, then sub-mixes, then crops, each uniform over what may be used.

        Args:
            shares_B3: positions from 0 to 1 among all targets, the sub-mixes without them, and the crops that fit.
        """
        pairs, index, (target_B, submix_B, start_B) = self.pairs, self.index, shares_B3.T
        pair_B = (target_B * len(pairs)).astype(np.int64)
        song_B, stem_B = pairs.song_P[pair_B], pairs.stem_P[pair_B]
        submix_B = pairs.submixes[pairs.first_P[pair_B] + (submix_B * pairs.count_P[pair_B]).astype(np.int64)]
        target_BT = index.sounding(song_B, stem_B)
        mix_BT = index.sounding(song_B, index.stems_K[song_B] + submix_B)
        usable_BT = self.rule.usable(target_BT, mix_BT, self.crop_frames)
        usable_BT &= np.arange(usable_BT.shape[1]) <= index.frames_K[song_B, None] - self.crop_frames
        nth_BT = np.cumsum(usable_BT, axis=1, dtype=np.int32)
        first_B = (nth_BT > (start_B * nth_BT[:, -1]).astype(np.int64)[:, None]).argmax(axis=1)
        active_BT = np.take_along_axis(target_BT, first_B[:, None] + np.arange(self.crop_frames), axis=1)
        return _Crops(song_B, stem_B, submix_B, first_B, active_BT)

    def _places(self, crops: _Crops) -> list[list[int]]:
        """For every item the bytes of the song's file at which the crops of mix and target begin."""
        index, frame_bytes = self.index, 2 * self.bank.manifest.settings.codec.latent_channels
        frames_B, begins = index.frames_K[crops.song_B], (index.submix_bytes_K, index.stem_bytes_K)
        places = [
            begin_K[crops.song_B] + (row_B * frames_B + crops.start_B) * frame_bytes
            for begin_K, row_B in zip(begins, (crops.submix_B, crops.stem_B), strict=True)
        ]
        return np.stack(places, axis=1).tolist()

    def _as_banked(self, crops: _Crops) -> AccompanimentBatch:
        """The batch with its latents in float16, in memory that the next batch takes."""
        mix_BTC, target_BTC = torch.from_numpy(self._read)
        songs, spec = crops.song_B.tolist(), self.bank.manifest.settings.codec
        stems = [self.index.stem(song, stem) for song, stem in zip(songs, crops.stem_B.tolist(), strict=True)]
        place, curves = (crops.song_B, crops.stem_B, crops.start_B), self._sketches
        return AccompanimentBatch(
            mix=mix_BTC,
            target=target_BTC,
            is_audio=False,
            instrument_B=torch.tensor([stem.category for stem in stems]),
            active_BT=torch.from_numpy(crops.active_BT),
            prompt=tuple(stem.description for stem in stems),
            song=tuple(self.bank.manifest.names[song] for song in songs),
            start_seconds=tuple(start * spec.frame_seconds for start in crops.start_B.tolist()),
            # excerpts of them would cost more than the latents; they can be read from the bank
            annotations=(None,) * len(stems),
            sketch_BTP=None if curves is None else curves.read(*place, self.crop_frames),
            beat_BT=None if self._beats is None else self._beats.read(crops.song_B, crops.start_B, self.crop_frames),
        )


def _on_this_machine(bank: Bank) -> LatentBank:
    if not isinstance(bank, LatentBank):
        raise UserError(
            "curves, references and beats are read from a bank on this machine's disk: name data.bank_root instead of "
            "data.bank_store, or leave data.sketch, data.reference and data.beats out"
        )
    return bank
