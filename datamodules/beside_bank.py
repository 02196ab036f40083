"""What a bank keeps of its stems besides their latents: one more file per song, in a folder of its own.

The bank itself stays as it is, so that one that exists gets these files when they are first asked for.

Shapes: A audio channels, N audio samples, S stems.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from datamodules.audio import fit_length, read_audio
from datamodules.bank_index import BankIndex, places
from datamodules.latent_bank import SongLatents, read_song, song_path
from datamodules.local_bank import LatentBank
from datamodules.slakh_scan import Song
from livejam.errors import UserError
from livejam.files import atomic_path, one_after_the_other
from livejam.spec import CodecSpec

SCHEMA = 1


class StemFacts(ABC):
    """What is kept of every stem, and how it is made."""

    folder: str
    """The folder's name beside `songs`."""

    words: str
    """What they are, for messages."""

    @property
    @abstractmethod
    def made_by(self) -> dict[str, Any]:
        """All that they depend on besides the audio, in plain values."""

    @abstractmethod
    def make(self, song: SongLatents, read: Callable[[int], Tensor], spec: CodecSpec) -> dict[str, Tensor]:
        """The tensors of a song, with its stems (S) in front.

        Args:
            song: the bank's content for it.
            read: audio_AN of a stem, as long as the latents.
            spec: of the bank's codec.
        """

    def path(self, folder: Path, song: str) -> Path:
        """Where a bank keeps them for a song."""
        return folder / self.folder / f"{song}.safetensors"


@dataclass(frozen=True)
class BesideBuilder:
    """Puts facts beside a complete bank's latents; what is there already, and was made alike, stays.

    Args:
        folder: the bank's folder.
        root: the data set's root.
        songs: the songs of the bank.
        spec: of the bank's codec.
        facts: what is made.
    """

    folder: Path
    root: Path
    songs: tuple[Song, ...]
    spec: CodecSpec
    facts: StemFacts

    def build(self, workers: int | None = None) -> None:
        """Make what is missing, with a progress bar; while another process does so, wait for it.

        Args:
            workers: processes, each on one core; None = one per available core; 0 = this one.

        Raises:
            UserError: a stem cannot be read any more, or the disk is full.
        """
        words = self.facts.words
        wait = f"another process is making the {words} of {self.folder}: waiting until it is done"
        with one_after_the_other(self.folder / self.facts.folder, wait):
            pending = [song for song in self.songs if not self._is_made(song)]
            bar = tqdm(total=len(pending), desc=f"{words} of songs", unit="song", disable=None if pending else True)
            with bar:
                self._make(pending, _worker_count(workers, len(pending)), bar)

    def _make(self, pending: Sequence[Song], workers: int, bar: tqdm[Any]) -> None:
        if workers < 2:
            for song in pending:
                self.write(song)
                bar.update()
            return
        method = "fork" if sys.platform == "linux" else "spawn"
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for job in as_completed([pool.submit(self.write, song) for song in pending]):
                job.result()
                bar.update()

    def write(self, song: Song) -> None:
        """Make what is kept of one song, and keep it."""
        banked, _ = read_song(song_path(self.folder, song.name))
        tensors = self.facts.make(banked, partial(self._stem, song, banked), self.spec)
        content = save(tensors, metadata={"livejam": json.dumps(self._header(banked))})
        with atomic_path(self.facts.path(self.folder, song.name)) as temporary:
            temporary.write_bytes(content)

    def _stem(self, song: Song, banked: SongLatents, row: int) -> Tensor:
        """Audio_AN of a stem, as long as its latents."""
        files = {stem.name: stem.file for stem in song.stems}
        path = self.root / song.folder / files[banked.stems[row].name]
        audio_AN = read_audio(path, self.spec.sample_rate_hz, self.spec.audio_channels)
        return torch.from_numpy(fit_length(audio_AN, banked.frames * self.spec.hop_samples))

    def _header(self, song: SongLatents) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "analysis": self.facts.made_by,
            "digest": song.digest,
            "stems": [stem.name for stem in song.stems],
        }

    def _is_made(self, song: Song) -> bool:
        """Whether its file is there, and was made of these stems in this way."""
        try:
            header, _ = read_header(self.facts, self.facts.path(self.folder, song.name))
        except UserError:
            return False
        return header == self._header(read_song(song_path(self.folder, song.name))[0])


def opened(facts: StemFacts, bank: LatentBank, index: BankIndex) -> tuple[list[Path], list[dict[str, int]]]:
    """The files beside a bank, in the order of its songs, and where their tensors begin.

    Raises:
        UserError: a file is missing or damaged, or was made in another way.
    """
    paths = [facts.path(bank.folder, name) for name in bank.manifest.names]
    begins = []
    for number, path in enumerate(paths):
        header, begin = read_header(facts, path)
        if header["analysis"] != facts.made_by or header["stems"] != [stem.name for stem in index.stems_of(number)]:
            raise UserError(f"{path} was made in another way or of other stems; delete it and start again")
        begins.append(begin)
    return paths, begins


def read_header(facts: StemFacts, path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """What a file says of itself, and where its tensors begin.

    Raises:
        UserError: it is missing, damaged or of another version.
    """
    try:
        with safe_open(path, "pt") as file:
            header: dict[str, Any] = json.loads(file.metadata()["livejam"])
        if header["schema"] != SCHEMA or not {"analysis", "digest", "stems"} <= header.keys():
            raise ValueError(f"schema {header['schema']} instead of {SCHEMA}")
        return header, places(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} holds no {facts.words} of a bank's song ({error}); delete it and the next start makes it again"
        ) from error


def _worker_count(workers: int | None, songs: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores if workers is None else workers, songs)
