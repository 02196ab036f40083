"""Which of two instruments a sound is: songs without both, and a linear classifier on their true stems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.error_accumulation import LongSong, long_song
from datamodules import Slakh2100DataModule
from datamodules.excerpts import Excerpt
from livejam.batch import CATEGORIES
from livejam.streaming.rings import Audio
from metrics.embeddings import LogMel

RIDGE = 0.1
"""Of the classifier, in units of the mean variance of a feature."""

Features = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Duet:
    """A song without two instruments.

    Args:
        mix_N: the song without them.
        stems: the true stems of the old and the new instrument.
    """

    mix_N: Audio
    stems: tuple[LongSong, LongSong]


def duets(data: Slakh2100DataModule, split: str, names: tuple[str, str], count: int, seconds: float) -> list[Duet]:
    """Songs that have both instruments and something besides."""
    found: list[Duet] = []
    for song in tqdm(data.songs(split), desc="reading songs", leave=False):
        stems = [CATEGORIES[stem.category] for stem in song.stems]
        rest = tuple(place for place, name in enumerate(stems) if name not in names)
        if not rest or not set(names) <= set(stems) or len(found) == count:
            continue
        parts = [
            long_song(data, Excerpt(song, stems.index(name), rest, 0, (0.0,) * (1 + len(rest))), seconds)
            for name in names
        ]
        found.append(Duet(parts[0].mix_N, (parts[0], parts[1])))
    return found


class Classifier:
    """Fisher's linear discriminant between two instruments, on statistics of the log-mel spectrogram of a block.

    Args:
        old_KF: features of blocks of the old instrument.
        new_KF: features of blocks of the new one.
    """

    def __init__(self, old_KF: Features, new_KF: Features) -> None:
        centred_KF = np.concatenate([x_KF - x_KF.mean(0) for x_KF in (old_KF, new_KF)])
        spread_FF = np.cov(centred_KF, rowvar=False)
        spread_FF += RIDGE * np.trace(spread_FF) / len(spread_FF) * np.eye(len(spread_FF))
        self.direction_F = np.linalg.solve(spread_FF, new_KF.mean(0) - old_KF.mean(0))
        self.middle = float((old_KF.mean(0) + new_KF.mean(0)) / 2 @ self.direction_F)

    def is_new(self, features_KF: Features) -> NDArray[np.bool_]:
        """Which blocks are taken for the new instrument."""
        return features_KF @ self.direction_F > self.middle


def features(audio_N: Audio, block_samples: int, rate: int) -> Features:
    """Of every whole block of a sound, features_KF."""
    embedding = LogMel(window_seconds=block_samples / rate - 0.02, hop_seconds=1e6)
    blocks = len(audio_N) // block_samples
    parts = torch.from_numpy(np.ascontiguousarray(audio_N[: blocks * block_samples])).view(blocks, block_samples)
    return torch.stack([embedding(part, rate)[0] for part in parts]).numpy()


def sounding(audio_N: Audio, block_samples: int) -> NDArray[np.bool_]:
    """Which blocks are louder than 40 dB below the whole."""
    blocks = len(audio_N) // block_samples
    power_K = np.square(audio_N[: blocks * block_samples]).reshape(blocks, block_samples).mean(1)
    return power_K > 1e-4 * np.square(audio_N).mean()


def fitted(songs: Sequence[Duet], block_samples: int, rate: int) -> tuple[Features, Features]:
    """Features of the true stems, old and new, of the blocks in which they sound."""
    found: list[Features] = []
    for place in (0, 1):
        stems = [song.stems[place].target_N for song in songs]
        parts = [features(x_N, block_samples, rate)[sounding(x_N, block_samples)] for x_N in stems]
        found.append(np.concatenate(parts))
    return found[0], found[1]
