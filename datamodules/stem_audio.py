"""Random crops of single stems and random mixes, for training a codec.

FLAC decoding cannot feed training, so every song is decoded and resampled once and kept as one int16 file.

Shapes: B batch, S stems, A audio channels, N audio samples.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import lightning
import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info
from tqdm import tqdm

from datamodules.audio import Audio, AudioFileError, read_audio
from datamodules.losses import Demand, leak_line, losses_line
from datamodules.run_sampler import BatchShare, ShareSampler
from datamodules.slakh_index import SlakhIndex
from datamodules.slakh_scan import Song
from datamodules.splits import SplitByFolder
from livejam.errors import UserError
from livejam.files import atomic_path, one_after_the_other
from livejam.spec import CodecSpec

log = logging.getLogger(__name__)

CachedSong = NDArray[np.int16]
"""All usable stems of a song, shape SAN, at half level."""

CACHE_GAIN = 0.5
"""Stems may exceed full scale before they are mixed; the cache stores them at half level."""


class StemCrops(IterableDataset[Tensor]):
    """Endless random crops, single stems and mixes of random stems; other crops in every epoch and worker.

    Args:
        songs: cached songs, int16, shape SAN each.
        crop_samples: samples per crop.
        mix_share: share of mixes, 0 to 1.
        lowest_gain_db: lowest random gain.
        highest_gain_db: highest random gain.
        largest_pan: largest random pan of stems, 0 (none) to 1 (hard left or right); stereo only.
        seed: seed of all choices.
        rank: rank of this process; every rank hears different crops.
    """

    def __init__(
        self,
        songs: list[CachedSong],
        crop_samples: int,
        mix_share: float,
        lowest_gain_db: float,
        highest_gain_db: float,
        largest_pan: float,
        seed: int,
        rank: int = 0,
    ) -> None:
        self.songs = [song for song in songs if song.shape[-1] >= crop_samples]
        if not self.songs:
            raise UserError(f"no song is as long as a crop of {crop_samples} samples; choose shorter crops")
        self.crop_samples, self.mix_share, self.seed, self.epoch = crop_samples, mix_share, seed, 0
        self.gains_db, self.largest_pan = (lowest_gain_db, highest_gain_db), largest_pan
        self.rank, self.skip = rank, 0

    def start_at(self, epoch: int, crops: int) -> None:
        """Begin the next pass at an epoch's n-th crop: what a resumed run has not heard yet."""
        self.epoch, self.skip = epoch, crops

    def __iter__(self) -> Iterator[Tensor]:
        worker = get_worker_info()
        ranks = [self.rank] if self.rank else []
        rng = np.random.default_rng([self.seed, self.epoch, worker.id if worker else 0, *ranks])
        for _ in range(self.skip):
            self._crop(rng)
        self.epoch, self.skip = self.epoch + 1, 0
        while True:
            yield self._crop(rng)

    def _crop(self, rng: np.random.Generator) -> Tensor:
        """One crop, with a second try if the first is silent, so that a little silence occurs as well."""
        for _ in range(2):
            song_SAN = self.songs[rng.integers(len(self.songs))]
            is_mix = rng.random() < self.mix_share and len(song_SAN) > 1
            count = int(rng.integers(2, len(song_SAN) + 1)) if is_mix else 1
            stems = np.sort(rng.choice(len(song_SAN), count, replace=False))
            start = rng.integers(song_SAN.shape[-1] - self.crop_samples + 1)
            stems_SAN = song_SAN[:, :, start : start + self.crop_samples][stems].astype(np.float32)
            if self.largest_pan:
                stems_SAN *= panning(self.largest_pan * rng.uniform(-1, 1, count))
            audio_AN = stems_SAN.sum(0) / (32767 * CACHE_GAIN)
            if np.abs(audio_AN).max() > 1e-3:
                break
        gain = 10 ** (rng.uniform(*self.gains_db) / 20)
        return torch.from_numpy(audio_AN * min(gain, 1 / max(np.abs(audio_AN).max(), 1e-9)))


def panning(position_S: NDArray[np.float64]) -> Audio:
    """Gains of left and right, shape (S, 2, 1), for positions from -1 (left) to 1 (right); the power stays the same."""
    angle_S = (position_S + 1) * (np.pi / 4)
    gains = np.stack([np.cos(angle_S), np.sin(angle_S)], axis=1) * np.sqrt(2)
    return gains[:, :, None].astype(np.float32)


class HeldOutCrops(NamedTuple):
    """A validation batch, and whether it is a repetition, because all processes take equally many."""

    audio_BAN: Tensor
    repeated: bool


class FixedCrops(Dataset[HeldOutCrops]):
    """The same batches of crops at every epoch, drawn once from `StemCrops`."""

    def __init__(self, crops: StemCrops, count: int, batch_size: int) -> None:
        stream = iter(crops)
        self.batches = torch.stack([next(stream) for _ in range(count)]).split(batch_size)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, share: BatchShare) -> HeldOutCrops:
        return HeldOutCrops(self.batches[share.number], share.repeated)


class StemAudioDataModule(lightning.LightningDataModule):
    """Crops `audio_BAN` of a Slakh-format root; held-out songs come from its validation split.

    Args:
        root: a data set in Slakh2100's format, with songs for training and validation.
        cache: folder for the decoded songs; they are decoded again when their files change. Delete old ones by hand.
        sample_rate_hz: rate of the crops in Hz.
        audio_channels: 1 (mixed down) or 2.
        crop_samples: samples per crop, a multiple of the codec's hop.
        batch_size: crops per batch.
        mix_share: share of mixes of random stems among the crops, 0 to 1; the others are single stems.
        validation_crops: number of crops of the validation split, the same every time.
        lowest_gain_db: lowest random gain in dB.
        highest_gain_db: highest random gain in dB; a crop is never made to clip.
        largest_pan: largest random pan of every stem, 0 (none) to 1 (hard left or right), so that a stereo codec hears
            differences between the sides although Slakh's stems are mono; needs two audio channels.
        seed: seed of all choices.
        workers: processes that decode songs into the cache.
    """

    def __init__(
        self,
        root: str,
        cache: str,
        sample_rate_hz: int = 22050,
        audio_channels: int = 1,
        crop_samples: int = 32768,
        batch_size: int = 6,
        mix_share: float = 0.5,
        validation_crops: int = 48,
        lowest_gain_db: float = -6.0,
        highest_gain_db: float = 4.0,
        largest_pan: float = 0.0,
        seed: int = 0,
        workers: int = 2,
    ) -> None:
        super().__init__()
        if lowest_gain_db > highest_gain_db:
            raise UserError(
                f"lowest_gain_db {lowest_gain_db} is more than highest_gain_db {highest_gain_db}; swap them"
            )
        if not 0 <= largest_pan <= 1 or (largest_pan and audio_channels != 2):
            raise UserError(f"largest_pan {largest_pan} must lie in 0 … 1, and be 0 unless audio_channels is 2")
        self.root, self.cache = Path(root), Path(cache)
        self.sample_rate_hz, self.audio_channels, self.crop_samples = sample_rate_hz, audio_channels, crop_samples
        self.batch_size, self.mix_share, self.validation_crops = batch_size, mix_share, validation_crops
        self.gains_db, self.seed, self.workers = (lowest_gain_db, highest_gain_db), seed, workers
        self.largest_pan = largest_pan

    def require_fit(self, spec: CodecSpec) -> None:
        """Refuse crops of another rate, with other channels, or of incomplete frames.

        Raises:
            UserError: names what differs.
        """
        pairs = (("sample_rate_hz", spec.sample_rate_hz), ("audio_channels", spec.audio_channels))
        for name, wanted in pairs:
            if getattr(self, name) != wanted:
                raise UserError(f"data.{name} is {getattr(self, name)}, but codec {spec.name} hears {wanted}")
        if self.crop_samples % spec.hop_samples:
            raise UserError(
                f"data.crop_samples is {self.crop_samples}; it must be a multiple of the codec's {spec.hop_samples}"
            )

    def prepare_data(self) -> None:
        """Decode and resample songs that are not in the cache yet; list what cannot be used."""
        songs = [song for split in ("train", "validation") for song in self._songs(split)]
        if self._missing(songs):
            wait = f"another process is decoding songs into {self.cache}: waiting until it is done"
            with one_after_the_other(self.cache, wait):
                self._decode(self._missing(songs))
        damaged = sum(len(song.stems) - len(open_cached(self._cached(song))) for song in songs)
        demand = Demand(self.crop_samples / self.sample_rate_hz)
        left_out = losses_line(self.root, None, songs, demand, self._index.refused, damaged)
        leaking = leak_line(self.root, None, self._index.copies, SplitByFolder())
        for line in filter(None, (left_out, leaking)):
            log.warning(line)

    def _missing(self, songs: Sequence[Song]) -> list[tuple[Song, Path]]:
        return [(song, self._cached(song)) for song in songs if not self._cached(song).exists()]

    def _decode(self, missing: Sequence[tuple[Song, Path]]) -> None:
        if not missing:
            return
        decode = partial(cache_song, self.root, sample_rate_hz=self.sample_rate_hz, audio_channels=self.audio_channels)
        with ProcessPoolExecutor(self.workers) as pool:
            results = pool.map(decode, *zip(*missing, strict=True))
            list(tqdm(results, total=len(missing), desc="decoding songs", unit="song"))

    def setup(self, stage: str) -> None:
        """Open the cached songs."""
        crops = partial(StemCrops, crop_samples=self.crop_samples, mix_share=self.mix_share)
        crops = partial(crops, lowest_gain_db=self.gains_db[0], highest_gain_db=self.gains_db[1])
        crops = partial(crops, largest_pan=self.largest_pan)
        self.train_crops = crops(self._open("train"), seed=self.seed, rank=self._rank)
        held_out = crops(self._open("validation"), seed=self.seed + 1)
        self.held_out_crops = FixedCrops(held_out, self.validation_crops, self.batch_size)

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Endless: the trainer's limit_train_batches ends an epoch. A resumed run goes on where it stopped."""
        if self.trainer is not None:
            heard, limit = (
                self.trainer.fit_loop.epoch_loop.batch_progress.current.ready,
                self.trainer.limit_train_batches,
            )
            # a checkpoint of an epoch's last batch is resumed with the next epoch
            epochs, batches = divmod(heard, limit) if isinstance(limit, int) else (0, heard)
            self.train_crops.start_at(self.trainer.current_epoch + epochs, batches * self.batch_size)
        return DataLoader(self.train_crops, batch_size=self.batch_size)

    def val_dataloader(self) -> DataLoader[HeldOutCrops]:
        """The fixed crops of held-out songs, shared by the processes."""
        ranks = self.trainer.world_size if self.trainer else 1
        sampler = ShareSampler(len(self.held_out_crops), ranks, self._rank)
        return DataLoader(self.held_out_crops, batch_size=None, sampler=sampler)

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    @cached_property
    def _index(self) -> SlakhIndex:
        return SlakhIndex.open(self.root)

    def _songs(self, split: str) -> tuple[Song, ...]:
        songs = self._index.split(split, SplitByFolder())
        if not songs:
            raise UserError(
                f"{self.root} has no songs for {split}; run "
                f"`livejam data render --out {self.root} --songs 150 --seed 20` or set data.root"
            )
        return songs

    def _cached(self, song: Song) -> Path:
        """The file of a song in the cache, named after all that it depends on: the song's files, rate, channels."""
        folder = self.cache / f"{self.sample_rate_hz}x{self.audio_channels}" / (song.split_folder or "flat")
        return folder / f"{song.name}-{song.digest}.npy"

    def _open(self, split: str) -> list[CachedSong]:
        return [open_cached(self._cached(song)) for song in self._songs(split)]


def open_cached(path: Path) -> CachedSong:
    """The decoded stems of a song, memory-mapped.

    Raises:
        UserError: the file is damaged, or was not written by `cache_song`.
    """
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} is not a decoded song ({error}); delete it and start again") from error


def cache_song(root: Path, song: Song, target: Path, sample_rate_hz: int, audio_channels: int) -> None:
    """Write all usable stems of a song as one int16 array SAN at the given rate.

    Raises:
        UserError: none of them can be decoded.
    """
    stems, errors = [], []
    for stem in song.stems:
        try:
            stems.append(read_audio(root / song.folder / stem.file, sample_rate_hz, audio_channels))
        except AudioFileError as error:
            log.warning("left out: %s", error)
            errors.append(error)
    if not stems:
        raise errors[0]
    length = max(stem.shape[-1] for stem in stems)
    with atomic_path(target) as temporary:
        out = open_memmap(temporary, "w+", np.int16, (len(stems), audio_channels, length))
        for index, stem_AN in enumerate(stems):
            level = np.clip(stem_AN * (32767 * CACHE_GAIN), -32767, 32767)
            out[index, :, : stem_AN.shape[-1]] = np.round(level)
        out.flush()
