"""Where the frames of a bank's songs lie between their beats.

Shapes: B items, K songs, T latent frames.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.bank_index import BankIndex
from datamodules.local_bank import LatentBank
from livejam.batch import Annotations
from livejam.errors import UserError


class BankBeats:
    """The beats of all songs, frame by frame: 4 bytes per frame in memory, 15 MB for all of Slakh2100.

    Args:
        bank: the bank, whose songs hold their annotations.
        index: the bank's index.

    Raises:
        UserError: of no song the beats are known.
    """

    def __init__(self, bank: LatentBank, index: BankIndex) -> None:
        if not index.annotated_K.any():
            raise UserError(f"the beats of no song in {bank.place} are known; leave data.beats out")
        self._first_K = np.concatenate(([0], np.cumsum(index.frames_K)))
        self._beats = np.full(self._first_K[-1], np.nan, np.float32)
        for song, (first, stop) in enumerate(pairwise(self._first_K.tolist())):
            known = bank.annotations(song) if index.annotated_K[song] else None
            if known is not None:
                frame_seconds = bank.manifest.settings.codec.frame_seconds
                self._beats[first:stop] = beats_until((np.arange(stop - first) + 0.5) * frame_seconds, known)

    def read(self, song_B: NDArray[np.int64], start_B: NDArray[np.int64], frames: int) -> Tensor:
        """beat_BT of crops of so many frames; see `AccompanimentBatch.beat_BT`.

        Args:
            song_B: positions of the songs in the bank.
            start_B: first frames.
            frames: T.
        """
        return torch.from_numpy(self._beats[(self._first_K[song_B] + start_B)[:, None] + np.arange(frames)])


def beats_until(times_seconds: NDArray[np.float64], annotations: Annotations) -> NDArray[np.float64]:
    """Beats from the first one to each of these times, with fractions between two; NaN before the first and after the
    last, where nobody knows how long a beat is."""
    beats = np.asarray(annotations.beats_seconds, np.float64)
    if len(beats) < 2:
        return np.full(times_seconds.shape, np.nan)
    return np.interp(times_seconds, beats, np.arange(len(beats)), left=np.nan, right=np.nan)
