"""From songs to a latent bank: read, encode, write. `lightning fit` and `lightning predict` share this code.

Shapes: S stems, M sub-mixes, R rows (stems that may be targets, then sub-mixes), A audio channels, N samples,
T latent frames, C latent channels.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from datamodules.annotations import read_annotations
from datamodules.audio import Audio, AudioFileError, fit_length, frame_levels_dbfs, read_audio
from datamodules.bank_index import keep_index
from datamodules.latent_bank import (
    MANIFEST,
    BankedStem,
    BankSettings,
    Manifest,
    SongLatents,
    is_banked,
    is_made_from,
    read_manifest,
    song_path,
    write_manifest,
    write_song,
)
from datamodules.local_bank import LatentBank
from datamodules.slakh_scan import Refusal, Song
from datamodules.submixes import draw_submixes
from livejam.batch import Annotations
from livejam.codecs.codec import Codec
from livejam.errors import UserError
from livejam.files import one_after_the_other
from livejam.spec import CodecSpec

log = logging.getLogger(__name__)

SAMPLES_PER_PASS = 1 << 20
"""Audio samples encoded at once: longer passes fall out of the processor's cache."""

SONGS_PER_WORKER = 4
"""With fewer songs, a worker process is not worth its start."""

READ_AHEAD = 4
"""How many songs are decoded while another one is encoded."""


@dataclass(frozen=True)
class SongAudio:
    """Everything of one song that is needed to encode it.

    Args:
        name: the song's name.
        digest: digest of its audio files.
        stems: the stems that could be read.
        refusals: the stems that could not be read.
        annotations: beats and chords, None where not known.
        stems_SAN: audio of the stems at the codec's rate and channels; N is a multiple of the hop.
        target_S: which stems may be targets (bool); the others occur in sub-mixes only.
        membership_MS: which stems sound in which sub-mix (bool).
    """

    name: str
    digest: str
    stems: tuple[BankedStem, ...]
    refusals: tuple[Refusal, ...]
    annotations: Annotations | None
    stems_SAN: Tensor
    target_S: Tensor
    membership_MS: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> SongAudio:
        """The same song with its audio on `device`."""
        return replace(self, stems_SAN=self.stems_SAN.to(device, non_blocking=non_blocking))


def read_song_audio(root: Path, song: Song, settings: BankSettings) -> SongAudio:
    """Decode every stem once, and draw the sub-mixes. Stems that cannot be read are listed, not fatal."""
    spec = settings.codec
    frames = int(np.ceil(song.seconds * spec.frame_rate_hz - 1e-6))
    stems, audio, refusals = [], [], []
    for stem in song.stems:
        try:
            audio_AN = read_audio(root / song.folder / stem.file, spec.sample_rate_hz, spec.audio_channels)
        except AudioFileError as error:
            log.warning("left out: %s", error)
            refusals.append(Refusal(song.name, stem.name, error.reason))
            continue
        stems.append(BankedStem(stem.name, stem.category, stem.description))
        audio.append(fit_length(audio_AN, frames * spec.hop_samples))
    stems_SAN = np.stack(audio) if audio else np.zeros((0, spec.audio_channels, 0), np.float32)
    target_S = np.array([stem.category in settings.targets for stem in stems], dtype=bool)
    return SongAudio(
        name=song.name,
        digest=song.digest,
        stems=tuple(stems),
        refusals=tuple(refusals),
        annotations=read_annotations(root / song.folder),
        stems_SAN=torch.from_numpy(stems_SAN),
        target_S=torch.from_numpy(target_S),
        membership_MS=_draw_membership(song.name, stems_SAN, target_S, settings),
    )


def _draw_membership(name: str, stems_SAN: Audio, target_S: NDArray[np.bool_], settings: BankSettings) -> Tensor:
    active_S = [
        int((frame_levels_dbfs(stem_AN, settings.codec.hop_samples) > settings.threshold_dbfs).sum())
        for stem_AN in stems_SAN
    ]
    song_number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    membership_MS = draw_submixes(
        np.array(active_S, dtype=np.int64),
        target_S,
        settings.submixes_per_song,
        np.random.default_rng([settings.seed, song_number]),
    )
    return torch.from_numpy(membership_MS)


@torch.inference_mode()
def encode_song(codec: Codec, song: SongAudio) -> SongLatents:
    """Encode every stem that may be a target and every sub-mix of a song.

    Raises:
        UserError: the codec gave numbers that are not finite, or too large for float16.
    """
    submixes_MAN = torch.einsum("ms,san->man", song.membership_MS.to(song.stems_SAN), song.stems_SAN)
    target_S = song.target_S.cpu()
    stems = tuple(stem for stem, is_target in zip(song.stems, target_S.tolist(), strict=True) if is_target)
    rows_RAN = torch.cat([song.stems_SAN[target_S.to(song.stems_SAN.device)], submixes_MAN])
    latents_RTC = _encode_rows(codec, rows_RAN)
    half_RTC = latents_RTC.half()
    if not half_RTC.isfinite().all():
        raise UserError(f"codec {codec.spec.name} gives latents of {song.name} that are not finite; use another codec")
    wide_RTC = latents_RTC.double()
    levels_RT = _levels(rows_RAN, codec.spec)
    return SongLatents(
        name=song.name,
        digest=song.digest,
        stems=stems,
        refusals=song.refusals,
        annotations=song.annotations,
        stems_STC=half_RTC[: len(stems)],
        submixes_MTC=half_RTC[len(stems) :],
        membership_MS=song.membership_MS.cpu()[:, target_S],
        stem_levels_ST=levels_RT[: len(stems)],
        submix_levels_MT=levels_RT[len(stems) :],
        sum_C=wide_RTC.sum((0, 1)),
        square_sum_C=wide_RTC.square().sum((0, 1)),
    )


def _encode_rows(codec: Codec, rows_RAN: Tensor) -> Tensor:
    """Latents_RTC (float32, on the CPU), a few rows at a time."""
    rows, channels, samples = rows_RAN.shape
    if not rows or not samples:
        return torch.zeros(rows, 0, codec.spec.latent_channels)
    per_pass = max(1, SAMPLES_PER_PASS // (channels * samples))
    return torch.cat([codec.encode(part_RAN).float().cpu() for part_RAN in rows_RAN.split(per_pass)])


def _levels(rows_RAN: Tensor, spec: CodecSpec) -> Tensor:
    levels = [frame_levels_dbfs(row_AN, spec.hop_samples) for row_AN in rows_RAN.cpu().numpy()]
    return torch.from_numpy(np.stack(levels) if levels else np.zeros((0, 0), np.float32)).half()


@dataclass(frozen=True)
class BankBuilder:
    """Makes a folder a bank of these songs; existing files are kept.

    Args:
        folder: the bank's folder.
        root: the data set's root.
        songs: the songs of the split.
        settings: everything that the bank depends on.
    """

    folder: Path
    root: Path
    songs: tuple[Song, ...]
    settings: BankSettings

    def pending(self) -> tuple[Song, ...]:
        """The songs that are missing in the bank, or have changed. As long as there are any, the bank is not complete.

        Raises:
            UserError: the folder holds a bank of other settings.
        """
        listed: dict[str, str] = {}
        if (self.folder / MANIFEST).is_file():
            manifest = read_manifest(self.folder)
            self.settings.require_same(manifest.settings, self.folder)
            listed = _listed(self.folder, manifest)
        return tuple(song for song in self.songs if not self._is_banked(song, listed.get(song.name)))

    def _is_banked(self, song: Song, digest: str | None) -> bool:
        """Whether the song is banked; the files of songs in the manifest are not opened."""
        if digest is None:
            return is_banked(self.folder, self.root, song, self.settings)
        return is_made_from(self.folder, self.root, song, digest)

    def invalidate(self) -> None:
        """Remove the manifest, because songs will be added: a killed build leaves no bank behind."""
        (self.folder / MANIFEST).unlink(missing_ok=True)

    def read(self, song: Song) -> SongAudio:
        """A song's audio, ready to be encoded."""
        return read_song_audio(self.root, song, self.settings)

    def write(self, latents: SongLatents) -> None:
        """Put an encoded song into the bank."""
        write_song(self.folder, latents, self.settings)

    def finish(self) -> None:
        """Write the manifest and the index, unless there are those of exactly these songs."""
        names = sorted(song.name for song in self.songs)
        if not (self.folder / MANIFEST).is_file() or list(read_manifest(self.folder).names) != names:
            write_manifest(self.folder, names, self.settings)
        keep_index(self.folder, read_manifest(self.folder))

    def build(self, codec: Codec, workers: int | None = None) -> LatentBank:
        """Encode what is pending, with a progress bar; while another process does so, wait for it.

        Args:
            codec: the codec that encodes the songs.
            workers: number of processes that read and encode, each on one core; None = one per available core; 0 = this
                process, on the GPU if there is one.

        Raises:
            UserError: the folder holds a bank of other settings, or the disk is full.
        """
        self._make_folder()
        if self.pending():
            with self.alone():
                self._encode(self.pending(), codec, workers)
        self.finish()
        return LatentBank(self.folder)

    def alone(self) -> AbstractContextManager[None]:
        """Keep other processes from encoding the same songs; what is pending is known only inside."""
        wait = f"another process is encoding songs into {self.folder}: waiting until it is done"
        return one_after_the_other(self.folder, wait)

    def _encode(self, pending: Sequence[Song], codec: Codec, workers: int | None) -> None:
        if not pending:
            return
        self.invalidate()
        count = _worker_count(workers, len(pending))
        encoded = self._in_workers(pending, codec, count) if count else self._here(pending, codec)
        for _ in tqdm(encoded, "encoding songs", len(pending), unit="song"):
            pass

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"the latent bank cannot be kept in {self.folder} ({error.strerror}); "
                "name another folder with data.bank_root or data.cache_root"
            ) from error

    def _here(self, songs: Sequence[Song], codec: Codec) -> Iterator[None]:
        """Threads read ahead while this thread encodes."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        codec = copy.deepcopy(codec).eval().to(device)
        with ThreadPoolExecutor(READ_AHEAD) as pool:
            waiting: deque[Future[SongAudio]] = deque()
            for song in songs:
                waiting.append(pool.submit(self.read, song))
                if len(waiting) > READ_AHEAD:
                    self.write(encode_song(codec, waiting.popleft().result().to(device)))
                    yield
            while waiting:
                self.write(encode_song(codec, waiting.popleft().result().to(device)))
                yield

    def _in_workers(self, songs: Sequence[Song], codec: Codec, workers: int) -> Iterator[None]:
        method = "fork" if sys.platform == "linux" else "spawn"
        pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context(method), initializer=_start_worker, initargs=(self, codec)
        )
        try:
            for job in as_completed([pool.submit(_encode_in_worker, song) for song in songs]):
                yield job.result()
        except BrokenProcessPool as error:
            raise UserError(
                "a process that encoded songs was killed, perhaps for lack of memory; "
                "start again, with fewer of them (data.bank_workers=1): the songs already encoded are kept"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _listed(folder: Path, manifest: Manifest) -> dict[str, str]:
    """Digests of the songs in a manifest whose files have the size that it says, by name."""
    rows = zip(manifest.names, manifest.sizes, manifest.digests, strict=True)
    sizes = {path.name: path.stat().st_size for path in song_path(folder, "x").parent.glob("*.safetensors")}
    return {name: digest for name, size, digest in rows if digest and sizes.get(song_path(folder, name).name) == size}


def _worker_count(workers: int | None, songs: int) -> int:
    if workers is None:
        if torch.cuda.is_available():
            return 0
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = min(workers, songs // SONGS_PER_WORKER)
    return min(workers, songs) if workers > 1 else 0


_worker: tuple[BankBuilder, Codec] | None = None


def _start_worker(builder: BankBuilder, codec: Codec) -> None:
    # one worker per core: more threads would only compete for the cores
    torch.set_num_threads(1)
    global _worker
    _worker = (builder, codec.eval())


def _encode_in_worker(song: Song) -> None:
    assert _worker is not None
    builder, codec = _worker
    builder.write(encode_song(codec, builder.read(song)))
