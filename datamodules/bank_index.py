"""What training asks of a bank's songs before it reads latents: what sounds where, and where the latents lie.

A bank keeps it in one file, `index.safetensors`, so that a start does not open every song. Everything in it follows
from the songs; without the file it is computed from them.

Shapes: K songs, S stems and M sub-mixes of one song, R rows (its stems, then its sub-mixes), T its latent frames.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from datamodules.latent_bank import BankedStem, Manifest, SongLatents, read_song, song_path
from livejam.errors import UserError
from livejam.files import atomic_path

log = logging.getLogger(__name__)

SCHEMA = 1
INDEX = "index.safetensors"
READERS = 8
"""Threads that read songs; most of their time goes into waiting for the disk."""


@dataclass(frozen=True)
class BankIndex:
    """Columns over all songs of a bank, in the manifest's order.

    Args:
        stems: the stems of all songs, one song after the other.
        frames_K: T of every song.
        stems_K: S of every song.
        submixes_K: M of every song.
        stem_bytes_K: where the latents of a song's stems begin in its file.
        submix_bytes_K: where those of its sub-mixes begin.
        annotated_K: whether the beats of a song are known.
        members: bits of every song's membership_MS, row by row; each song begins on a byte of its own.
        sounds: bits of the frames of every row that sound; each row begins on a byte of its own.
    """

    stems: tuple[BankedStem, ...]
    frames_K: NDArray[np.int64]
    stems_K: NDArray[np.int64]
    submixes_K: NDArray[np.int64]
    stem_bytes_K: NDArray[np.int64]
    submix_bytes_K: NDArray[np.int64]
    annotated_K: NDArray[np.bool_]
    members: NDArray[np.uint8]
    sounds: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.frames_K)

    def stems_of(self, song: int) -> tuple[BankedStem, ...]:
        """The stems of a song, in the order of S."""
        first = self._first_stem[song]
        return self.stems[first : first + self.stems_K[song]]

    def stem(self, song: int, stem: int) -> BankedStem:
        """One stem of a song."""
        return self.stems[self._first_stem[song] + stem]

    def membership(self, song: int) -> NDArray[np.bool_]:
        """Which stems sound in which sub-mix of a song, (M, S)."""
        first = self._first_member[song]
        rows, columns = int(self.submixes_K[song]), int(self.stems_K[song])
        bits = np.unpackbits(self.members[first : first + -(-rows * columns // 8)], count=rows * columns)
        return bits.astype(bool).reshape(rows, columns)

    def sounds_of(self, song: int) -> NDArray[np.uint8]:
        """The bits of a song's frames that sound, of R rows; the first frame is a byte's highest bit."""
        first = self._first_sound[song]
        rows, length = int(self.stems_K[song] + self.submixes_K[song]), -(-int(self.frames_K[song]) // 8)
        return self.sounds[first : first + rows * length].reshape(rows, length)

    def sounding(self, song_B: NDArray[np.int64], row_B: NDArray[np.int64]) -> NDArray[np.bool_]:
        """In which frames rows of several songs sound, (B, T of the longest); False after a song's end."""
        frames_B = self.frames_K[song_B]
        length_B, byte_Y = -(-frames_B // 8), np.arange(-(-frames_B.max() // 8))
        places_BY = (self._first_sound[song_B] + row_B * length_B)[:, None] + byte_Y
        bytes_BY = self.sounds[np.minimum(places_BY, len(self.sounds) - 1)]
        bytes_BY[byte_Y >= length_B[:, None]] = 0
        return np.unpackbits(bytes_BY, axis=1, count=int(frames_B.max())).view(bool)

    @cached_property
    def _first_stem(self) -> NDArray[np.int64]:
        return _before(self.stems_K)

    @cached_property
    def _first_member(self) -> NDArray[np.int64]:
        return _before(-(-self.stems_K * self.submixes_K // 8))

    @cached_property
    def _first_sound(self) -> NDArray[np.int64]:
        return _before(-(-self.frames_K // 8) * (self.stems_K + self.submixes_K))


ARRAYS = tuple(f.name for f in fields(BankIndex) if f.name != "stems")


def _before(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)])[:-1]


@dataclass(frozen=True)
class _SongFacts:
    """One song's part of the index."""

    stems: tuple[BankedStem, ...]
    frames: int
    submixes: int
    stem_bytes: int
    submix_bytes: int
    annotated: bool
    membership: NDArray[np.uint8]
    sounds: NDArray[np.uint8]


def index_songs(paths: Iterable[Path], threshold_dbfs: float) -> BankIndex:
    """The index of these songs, from their files.

    Args:
        paths: the files, in the manifest's order.
        threshold_dbfs: frames above this level in dB below full scale sound.

    Raises:
        UserError: a file is damaged.
    """
    with ThreadPoolExecutor(READERS) as pool:
        songs = list(pool.map(lambda path: _facts(path, threshold_dbfs), paths))
    return BankIndex(
        stems=tuple(stem for song in songs for stem in song.stems),
        frames_K=np.array([song.frames for song in songs], np.int64),
        stems_K=np.array([len(song.stems) for song in songs], np.int64),
        submixes_K=np.array([song.submixes for song in songs], np.int64),
        stem_bytes_K=np.array([song.stem_bytes for song in songs], np.int64),
        submix_bytes_K=np.array([song.submix_bytes for song in songs], np.int64),
        annotated_K=np.array([song.annotated for song in songs], bool),
        members=np.concatenate([np.zeros(0, np.uint8), *(song.membership for song in songs)]),
        sounds=np.concatenate([np.zeros(0, np.uint8), *(song.sounds for song in songs)]),
    )


def _facts(path: Path, threshold_dbfs: float) -> _SongFacts:
    song, _ = read_song(path)
    where = places(path)
    return _SongFacts(
        stems=song.stems,
        frames=song.frames,
        submixes=len(song.membership_MS),
        stem_bytes=where["stems_STC"],
        submix_bytes=where["submixes_MTC"],
        annotated=song.annotations is not None,
        membership=np.packbits(song.membership_MS.numpy()),
        sounds=_sounding(song, threshold_dbfs),
    )


def _sounding(song: SongLatents, threshold_dbfs: float) -> NDArray[np.uint8]:
    levels = [song.stem_levels_ST.numpy(), song.submix_levels_MT.numpy()]
    packed = [np.packbits(level > threshold_dbfs, axis=-1).ravel() for level in levels]
    return np.concatenate(packed)


def places(path: Path) -> dict[str, int]:
    """Where each tensor begins in a safetensors file: after 8 bytes with the header's length, and the header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    return {name: 8 + length + row["data_offsets"][0] for name, row in header.items() if name != "__metadata__"}


def content_hash(manifest: Manifest, threshold_dbfs: float) -> str:
    """What the index of a bank must have been made from: every byte of its songs, and the threshold."""
    text = "\n".join([repr(float(threshold_dbfs)), *manifest.names, *manifest.hashes])
    return hashlib.sha256(text.encode()).hexdigest()


def write_index(path: Path, index: BankIndex, content: str) -> None:
    """Write the index of the songs of that `content_hash`, whole or not at all."""
    stems = [[stem.name, stem.category, stem.description] for stem in index.stems]
    header = json.dumps({"schema": SCHEMA, "content": content, "stems": stems})
    with atomic_path(path) as temporary:
        temporary.write_bytes(save({name: getattr(index, name) for name in ARRAYS}, {"livejam": header}))


def read_index(path: Path, content: str) -> BankIndex | None:
    """The index in a file; None where there is none, or one of other songs or of another version."""
    try:
        with safe_open(path, "numpy") as file:
            header = json.loads(file.metadata()["livejam"])
            if header["schema"] != SCHEMA or header["content"] != content:
                return None
            arrays = {name: file.get_tensor(name) for name in ARRAYS}
        return BankIndex(stems=tuple(BankedStem(*row) for row in header["stems"]), **arrays)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return None


def bank_index(folder: Path, manifest: Manifest, threshold_dbfs: float) -> BankIndex:
    """The index of a bank: its file's, or else made from its songs.

    Args:
        folder: the bank's folder.
        manifest: its manifest.
        threshold_dbfs: frames above this level in dB below full scale sound.
    """
    stored = read_index(folder / INDEX, content_hash(manifest, threshold_dbfs))
    if stored is not None:
        return stored
    log.info("reading %d songs of %s, because it has no index of them", len(manifest.names), folder)
    return index_songs((song_path(folder, name) for name in manifest.names), threshold_dbfs)


def keep_index(folder: Path, manifest: Manifest) -> None:
    """Write the index of a bank beside its manifest, unless it is there, or the folder cannot be written."""
    threshold_dbfs = manifest.settings.threshold_dbfs
    content = content_hash(manifest, threshold_dbfs)
    if read_index(folder / INDEX, content) is not None:
        return
    index = bank_index(folder, manifest, threshold_dbfs)
    try:
        write_index(folder / INDEX, index, content)
    except (OSError, UserError) as error:
        log.warning("the index of the bank in %s cannot be kept (%s): every start makes it again", folder, error)
