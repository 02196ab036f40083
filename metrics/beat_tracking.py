"""The contract of a beat tracker, and beats of many recordings; each recording is tracked only once."""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from livejam.files import atomic_path

Floats = NDArray[np.floating[Any]]

CHUNK = 16
PROGRESS_FROM_SECONDS = 200.0


class BeatTracker(ABC):
    """Finds the beats of recordings."""

    identity: str
    """The method and its settings; results of trackers with equal identity are interchangeable. Tables name the tracker
    by what comes before the first space or hyphen."""

    published = False
    """Whether the papers track beats with it."""

    @abstractmethod
    def __call__(self, audios: Sequence[Floats], sample_rate_hz: int) -> list[Floats]:
        """Beats in ascending seconds for every mono recording."""


_worker_tracker: BeatTracker | None = None


def _start_worker(tracker: BeatTracker) -> None:
    """Keep the tracker, which arrives pickled; each process takes one thread, because the processes share the cores."""
    global _worker_tracker
    torch.set_num_threads(1)
    _worker_tracker = tracker


def _track_in_worker(audios: list[Floats], sample_rate_hz: int) -> list[Floats]:
    assert _worker_tracker is not None
    return _worker_tracker(audios, sample_rate_hz)


def content_hash(audio_N: Floats, sample_rate_hz: int) -> str:
    """Identifies a recording by its samples (SHA-256 of float32)."""
    samples_N = np.ascontiguousarray(audio_N, dtype=np.float32)
    return hashlib.sha256(f"{sample_rate_hz} ".encode() + samples_N.tobytes()).hexdigest()


class CachedBeatTracker:
    """A beat tracker that remembers recordings by their content, in memory and on disk.

    Args:
        tracker: the beat tracker; worker processes get it pickled.
        folder: where beats are kept, one small file per recording; None keeps them in memory only.
        workers: number of processes that track, at most the number of cores; 0 tracks in this process, at about thirty
            times real time. Worker processes start on first use and are worth it for an hour of audio or more.
    """

    def __init__(self, tracker: BeatTracker, folder: Path | None, workers: int = 0) -> None:
        self.tracker, self.folder = tracker, folder
        self.workers = min(workers, os.cpu_count() or 1)
        self.tracked = 0
        self._memory: dict[str, Floats] = {}
        self._pool: ProcessPoolExecutor | None = None

    def __call__(self, audios: Sequence[Floats], sample_rate_hz: int, keep: bool = True) -> list[Floats]:
        """Beats of every recording, in seconds.

        Args:
            audios: mono recordings in [-1, 1].
            sample_rate_hz: their sample rate.
            keep: whether to write them to disk; False for recordings that will not occur again.
        """
        keys = [self._key(audio_N, sample_rate_hz) for audio_N in audios]
        unknown = {key: audio_N for key, audio_N in zip(keys, audios, strict=True) if self._recall(key) is None}
        found = dict(zip(unknown, self._track(list(unknown.values()), sample_rate_hz), strict=True))
        if keep:
            for key, beats in found.items():
                self._remember(key, beats)
        return [found[key] if key in found else self._memory[key] for key in keys]

    def close(self) -> None:
        """End the worker processes; the next call starts them again."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _key(self, audio_N: Floats, sample_rate_hz: int) -> str:
        return hashlib.sha256((self.tracker.identity + content_hash(audio_N, sample_rate_hz)).encode()).hexdigest()

    def _recall(self, key: str) -> Floats | None:
        """Known beats; a damaged file counts as missing."""
        if key not in self._memory and self.folder is not None:
            try:
                self._memory[key] = np.asarray(json.loads((self.folder / f"{key}.json").read_text()), dtype=np.float64)
            except (OSError, ValueError):
                return None
        return self._memory.get(key)

    def _remember(self, key: str, beats: Floats) -> None:
        self._memory[key] = beats
        if self.folder is not None:
            with atomic_path(self.folder / f"{key}.json") as path:
                path.write_text(json.dumps(beats.tolist()))

    def _track(self, audios: list[Floats], sample_rate_hz: int) -> list[Floats]:
        self.tracked += len(audios)
        # Every worker gets its share, however few there are.
        size = max(1, min(CHUNK, math.ceil(len(audios) / max(1, self.workers))))
        chunks = [audios[i : i + size] for i in range(0, len(audios), size)]
        seconds = sum(len(audio_N) for audio_N in audios) / sample_rate_hz
        with tqdm(total=len(audios), desc="beats", leave=False, disable=seconds < PROGRESS_FROM_SECONDS) as progress:
            beats: list[Floats] = []
            if self.workers:
                results = self._processes().map(_track_in_worker, chunks, [sample_rate_hz] * len(chunks))
            else:
                results = (self.tracker(chunk, sample_rate_hz) for chunk in chunks)
            for result in results:
                beats += result
                progress.update(len(result))
        return beats

    def _processes(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Forked children would inherit locks that other threads (data loaders, CUDA) may hold.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                self.workers, mp_context=context, initializer=_start_worker, initargs=(self.tracker,)
            )
        return self._pool
