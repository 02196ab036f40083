"""Training batches mixed from the audio files on the fly: for small data sets and for augmentation.

Shapes: B batch, A audio channels, N audio samples, T latent frames, C latent channels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.excerpts import Excerpt, ExcerptAudio, ExcerptReader
from datamodules.run_sampler import BatchKey
from datamodules.slakh_scan import Song
from livejam.batch import AccompanimentBatch
from livejam.codecs.codec import Codec
from livejam.errors import UserError
from livejam.spec import LatentStatistics

TRIES = 16
"""Crops tried before the best of them is taken (StreamMusicGen)."""

STATISTICS_NUMBER = 1 << 40
"""Batch numbers from here on are for the statistics; no run gets so far."""


class AudioBatches(Dataset[AccompanimentBatch]):
    """Whole batches by key, each a pure function of (seed, rank, number).

    Args:
        reader: the reader of excerpts.
        songs: the training songs.
        categories: class indices of the stems that may be targets.
        batch_size: B.
        full_mix: the mix is all the other stems; otherwise a random subset of them.
        gain_db: largest random change of every stem's level, in dB, ≥ 0. The codec is not linear, so this is not the
            same as scaling latents.
        seed: seed of the run.

    Raises:
        UserError: no song has a target and another stem, and is long enough.
    """

    def __init__(
        self,
        reader: ExcerptReader,
        songs: tuple[Song, ...],
        categories: tuple[int, ...],
        batch_size: int,
        full_mix: bool,
        gain_db: float,
        seed: int,
    ) -> None:
        self.reader, self.batch_size, self.full_mix, self.gain_db, self.seed = (
            reader,
            batch_size,
            full_mix,
            gain_db,
            seed,
        )
        self.pairs = [
            (song, stem)
            for song in songs
            if reader.spec.frames_in(song.seconds) >= reader.frames and len(song.stems) > 1
            for stem in range(len(song.stems))
            if song.stems[stem].category in categories
        ]
        if not self.pairs:
            raise UserError(
                f"none of the {len(songs)} training songs has two stems, a target among them, and {reader.frames} "
                "frames; make data.crop_frames smaller, or choose other data.targets"
            )

    @property
    def categories(self) -> tuple[int, ...]:
        """Class indices that occur among the targets."""
        return tuple(sorted({song.stems[stem].category for song, stem in self.pairs}))

    @property
    def songs_heard(self) -> frozenset[str]:
        """Names of the songs that have a target."""
        return frozenset(song.name for song, _ in self.pairs)

    def __getitem__(self, key: BatchKey) -> AccompanimentBatch:
        rng = np.random.default_rng([self.seed, key.rank, key.number])
        drawn = [self._draw(rng) for _ in range(self.batch_size)]
        return self.reader.batch(
            [excerpt for excerpt, _ in drawn], [audio for _, audio in drawn], [None] * self.batch_size
        )

    def _draw(self, rng: np.random.Generator) -> tuple[Excerpt, ExcerptAudio]:
        """The first of some random excerpts in which target and mix sound together enough, else the best of them."""
        best: tuple[Excerpt, ExcerptAudio] | None = None
        for _ in range(TRIES):
            excerpt = self._random_excerpt(rng)
            audio = self.reader.read(excerpt)
            share = audio.both_active_T.mean()
            if share >= self.reader.rule.min_active_ratio:
                return excerpt, audio
            if best is None or share > best[1].both_active_T.mean():
                best = excerpt, audio
        assert best is not None
        return best

    def _random_excerpt(self, rng: np.random.Generator) -> Excerpt:
        song, target = self.pairs[rng.integers(len(self.pairs))]
        others = [stem for stem in range(len(song.stems)) if stem != target]
        if not self.full_mix:
            others = sorted(rng.choice(others, size=rng.integers(1, len(others) + 1), replace=False).tolist())
        last = self.reader.spec.frames_in(song.seconds) - self.reader.frames
        gains = rng.uniform(-self.gain_db, self.gain_db, size=1 + len(others))
        return Excerpt(song, target, tuple(others), int(rng.integers(last + 1)), tuple(gains.tolist()))


@torch.inference_mode()
def latent_statistics(batches: AudioBatches, codec: Codec, count: int) -> LatentStatistics:
    """Mean and deviation per latent channel over `count` batches that training never sees in this order."""
    latents: list[Tensor] = []
    for number in range(count):
        batch = batches[BatchKey(0, STATISTICS_NUMBER + number)]
        latents += [codec.encode(batch.mix), codec.encode(batch.target)]
    flat = torch.cat(latents).double().flatten(0, 1)
    std_C = flat.std(dim=0, correction=0)
    return LatentStatistics(flat.mean(dim=0).float(), torch.where(std_C < 1e-6, 1.0, std_C).float())
