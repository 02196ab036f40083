"""The curves of a bank's stems, beside their latents: what sketches are made of in training.

A bank's folder then has `sketches/TrackXXXXX.safetensors` besides `songs/`, with the curves of the song's stems in the
order of the bank. The bank itself stays as it is, so that one that exists gets its curves when they are first asked
for. A frame takes 2 (2 + 2k) bytes: 20 for four notes, where the bundled codec's latents take 192.

Shapes: B items, S stems, T latent frames, P numbers of a packed frame.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from datamodules.audio import fit_length, read_audio
from datamodules.bank_index import BankIndex, places
from datamodules.latent_bank import SongLatents, read_song, song_path
from datamodules.local_bank import LatentBank, read_crops
from datamodules.slakh_scan import Song
from livejam.errors import UserError
from livejam.files import atomic_path, one_after_the_other
from livejam.sketch import SketchAnalysis
from livejam.spec import CodecSpec

SCHEMA = 1
TENSOR = "curves_STP"


def sketch_path(folder: Path, song: str) -> Path:
    """Where a bank keeps the curves of a song."""
    return folder / "sketches" / f"{song}.safetensors"


@dataclass(frozen=True)
class SketchBuilder:
    """Puts curves beside a complete bank's latents; what is there already, and was made alike, stays.

    Args:
        folder: the bank's folder.
        root: the data set's root.
        songs: the songs of the bank.
        spec: of the bank's codec.
        analysis: how curves are made.
    """

    folder: Path
    root: Path
    songs: tuple[Song, ...]
    spec: CodecSpec
    analysis: SketchAnalysis

    def build(self, workers: int | None = None) -> None:
        """Make what is missing, with a progress bar; while another process does so, wait for it.

        Args:
            workers: processes, each on one core; None = one per available core; 0 = this one.

        Raises:
            UserError: a stem cannot be read any more, or the disk is full.
        """
        wait = f"another process is making the curves of {self.folder}: waiting until it is done"
        with one_after_the_other(self.folder / "sketches", wait):
            pending = [song for song in self.songs if not self._is_made(song)]
            bar = tqdm(total=len(pending), desc="curves of songs", unit="song", disable=None if pending else True)
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
        """Make the curves of one song, and keep them."""
        banked, _ = read_song(song_path(self.folder, song.name))
        sketcher, files = self.analysis.at(self.spec), {stem.name: stem.file for stem in song.stems}
        curves_STP = torch.zeros(len(banked.stems), banked.frames, self.analysis.numbers, dtype=torch.float16)
        for row, stem in enumerate(banked.stems):
            path = self.root / song.folder / files[stem.name]
            audio_AN = read_audio(path, self.spec.sample_rate_hz, self.spec.audio_channels)
            audio_AN = fit_length(audio_AN, banked.frames * self.spec.hop_samples)
            curves_STP[row] = sketcher(torch.from_numpy(audio_AN)[None])[0].half()
        content = save({TENSOR: curves_STP}, metadata={"livejam": json.dumps(self._header(banked))})
        with atomic_path(sketch_path(self.folder, song.name)) as temporary:
            temporary.write_bytes(content)

    def _header(self, song: SongLatents) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "analysis": asdict(self.analysis),
            "digest": song.digest,
            "stems": [stem.name for stem in song.stems],
        }

    def _is_made(self, song: Song) -> bool:
        """Whether the curves are there, and of these files by this analysis."""
        try:
            header, _ = _read_header(sketch_path(self.folder, song.name))
        except UserError:
            return False
        return header == self._header(read_song(song_path(self.folder, song.name))[0])


class SketchBank:
    """The curves beside a bank's latents, opened.

    Args:
        bank: the bank.
        index: the bank's index.
        analysis: how its curves must have been made.

    Raises:
        UserError: curves are missing or damaged, or were made in another way.
    """

    def __init__(self, bank: LatentBank, index: BankIndex, analysis: SketchAnalysis) -> None:
        self.numbers = analysis.numbers
        self._frames_K = index.frames_K
        self._paths = [str(sketch_path(bank.folder, name)) for name in bank.manifest.names]
        begins = []
        for number, path in enumerate(map(Path, self._paths)):
            header, begin = _read_header(path)
            stems = [stem.name for stem in index.stems_of(number)]
            if header["analysis"] != asdict(analysis) or header["stems"] != stems:
                raise UserError(f"{path} was made in another way or of other stems; delete it and start again")
            begins.append(begin)
        self._begin_K = np.array(begins, np.int64)

    def read(
        self, song_B: NDArray[np.int64], stem_B: NDArray[np.int64], start_B: NDArray[np.int64], frames: int
    ) -> Tensor:
        """Packed curves_BTP (float16) of crops of so many frames.

        Args:
            song_B: positions of the songs in the bank.
            stem_B: stems of these songs.
            start_B: first frames.
            frames: T.

        Raises:
            UserError: a file ended before the crop did.
        """
        place_B = self._begin_K[song_B] + (stem_B * self._frames_K[song_B] + start_B) * self.numbers * 2
        read = np.empty((1, len(song_B), frames, self.numbers), np.float16)
        read_crops([self._paths[song] for song in song_B.tolist()], [[place] for place in place_B.tolist()], read)
        return torch.from_numpy(read[0])


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """What a file says of itself, and where its curves begin.

    Raises:
        UserError: it is missing, damaged or of another version.
    """
    try:
        with safe_open(path, "pt") as file:
            header: dict[str, Any] = json.loads(file.metadata()["livejam"])
        if header["schema"] != SCHEMA or not {"analysis", "digest", "stems"} <= header.keys():
            raise ValueError(f"schema {header['schema']} instead of {SCHEMA}")
        return header, places(path)[TENSOR]
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} holds no curves of a bank's song ({error}); delete it and the next start makes it again"
        ) from error


def _worker_count(workers: int | None, songs: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores if workers is None else workers, songs)
