"""A latent bank on a disk of this machine, opened.

Shapes: B items, T latent frames, C latent channels.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from datamodules.bank_index import BankIndex, bank_index
from datamodules.latent_bank import (
    Manifest,
    SongLatents,
    read_banked_annotations,
    read_manifest,
    read_song,
    sha256_of_songs,
    song_path,
)
from livejam.batch import Annotations
from livejam.errors import UserError

OPEN_AT_ONCE = 256
"""Files that are open at the same time while a batch is read: many systems allow 1024."""


class Bank(Protocol):
    """What training batches need of a bank, wherever it lies.

    Attributes:
        place: its folder or address, for messages.
        manifest: its manifest.
    """

    place: str
    manifest: Manifest

    def index(self, threshold_dbfs: float) -> BankIndex:
        """What sounds where, and where the latents lie; see `LatentBank.index`."""

    def read_crops(self, songs: Sequence[int], offsets: Sequence[Sequence[int]], into: NDArray[np.float16]) -> None:
        """Read latents of several songs at once; see `LatentBank.read_crops`."""


class LatentBank:
    """A complete bank: songs by position, each opened on first use in each process.

    Args:
        folder: the bank's folder. Its manifest and the size of every file are checked here, headers when a song is
            opened, every byte by `verify`.

    Raises:
        UserError: there is no bank, it is damaged, or it is of another version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.place = str(folder)
        self.manifest = read_manifest(self.folder)
        self._paths = [str(song_path(self.folder, name)) for name in self.manifest.names]
        self._songs: dict[int, SongLatents] = {}
        self._check_sizes()

    def __len__(self) -> int:
        return len(self.manifest.names)

    def __getitem__(self, position: int) -> SongLatents:
        if position not in self._songs:
            path = song_path(self.folder, self.manifest.names[position])
            song, settings = read_song(path)
            self.manifest.settings.require_same(settings, path)
            self._songs[position] = song
        return self._songs[position]

    def annotations(self, position: int) -> Annotations | None:
        """Beats and chords of a song, None where not known; see `read_banked_annotations`."""
        return read_banked_annotations(song_path(self.folder, self.manifest.names[position]))

    def __getstate__(self) -> dict[str, Any]:
        """Another process maps the files again."""
        return {**self.__dict__, "_songs": {}}

    def index(self, threshold_dbfs: float) -> BankIndex:
        """What sounds where, and where the latents lie.

        Args:
            threshold_dbfs: frames above this level in dB below full scale sound.
        """
        return bank_index(self.folder, self.manifest, threshold_dbfs)

    def read_crops(self, songs: Sequence[int], offsets: Sequence[Sequence[int]], into: NDArray[np.float16]) -> None:
        """Read latents of several songs at once.

        Args:
            songs: B positions of songs.
            offsets: B times the bytes at which crops of that song's file begin.
            into: takes the crops, (crops of a song, B, T, C).

        Raises:
            UserError: a file ended before the crop did.
        """
        read_crops([self._paths[song] for song in songs], offsets, into)

    def verify(self) -> None:
        """Read every byte.

        Raises:
            UserError: a file differs from the manifest.
        """
        hashes = sha256_of_songs(self.folder, self.manifest.names)
        for name, expected, found in zip(self.manifest.names, self.manifest.hashes, hashes, strict=True):
            if found != expected:
                raise self._damaged(name, "its content changed")

    def _check_sizes(self) -> None:
        for name, expected in zip(self.manifest.names, self.manifest.sizes, strict=True):
            try:
                found = song_path(self.folder, name).stat().st_size
            except FileNotFoundError:
                raise self._damaged(name, "it is missing") from None
            if found != expected:
                raise self._damaged(name, f"it has {found} bytes instead of {expected}")

    def _damaged(self, song: str, reason: str) -> UserError:
        return UserError(
            f"the latent bank in {self.folder} is damaged, {song_path(self.folder, song)}: {reason}; "
            "delete that file and the next start builds it again"
        )


def read_crops(paths: Sequence[str], offsets: Sequence[Sequence[int]], into: NDArray[np.float16]) -> None:
    """Read latents from several files; the disk is told of all of them before the first is waited for.

    Args:
        paths: B files.
        offsets: B times the bytes at which the crops of that file begin.
        into: takes the crops, (crops of a file, B, T, C).

    Raises:
        UserError: a file ended before the crop did.
        FileNotFoundError: there is no such file.
    """
    for first in range(0, len(paths), OPEN_AT_ONCE):
        part = slice(first, first + OPEN_AT_ONCE)
        _read_part(paths[part], offsets[part], into[:, part])


def _read_part(paths: Sequence[str], offsets: Sequence[Sequence[int]], into: NDArray[np.float16]) -> None:
    files: list[int] = []
    try:
        for path, places in zip(paths, offsets, strict=True):
            files.append(os.open(path, os.O_RDONLY))
            _announce(files[-1], places, into[0, 0].nbytes)
        for item, (file, places) in enumerate(zip(files, offsets, strict=True)):
            for crop, place in enumerate(places):
                if os.preadv(file, [into[crop, item]], place) != into[crop, item].nbytes:
                    raise UserError(f"{paths[item]} ends too early; delete it and the next start builds it again")
    finally:
        for file in files:
            os.close(file)


def _announce(file: int, places: Sequence[int], length: int) -> None:
    """Let the disk fetch these bytes soon; where the system cannot be told so, one read waits for another."""
    if hasattr(os, "posix_fadvise"):
        for place in places:
            os.posix_fadvise(file, place, length, os.POSIX_FADV_WILLNEED)
