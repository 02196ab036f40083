"""What a listener could play who knows no notes: the stem as it was one repeat of the song ago.

The mix says how long a repeat is: the lag at which its onsets resemble themselves most. Whoever plays blocks ahead of
what they hear can do this without having learnt anything, so a model in their place should do better.

Shapes: N audio samples, T frames of 10 ms, L lags.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from livejam.accompanist import Accompanist
from metrics.phase_lock import FRAME_SECONDS, onset_strength

Audio = NDArray[np.float32]
Floats = NDArray[np.floating[Any]]

MEMORY_SECONDS = 6.0
"""How much of the mix is remembered: as much as our longest context. With 3.7 s phase lock is 0.01 lower."""

SHORTEST_OVERLAP_SECONDS = 1.0
"""A lag counts where at least so much of the memory can be compared with itself."""

WINDOW_SECONDS = 0.046
"""Length of the analysis window of onsets, which is rounded up to a power of two samples."""


@dataclass(frozen=True)
class Horizon:
    """How far ahead of what it hears a model plays, in blocks (LMDM's cutoff, the look-ahead paper's w).

    Args:
        block_samples: samples that are played at once, 1 or more.
        first_samples: where the first block begins, which is played once `block_samples` of the mix are heard: one
            block at cutoff 0, two at -1, 0 at +1.
    """

    block_samples: int
    first_samples: int

    def heard(self, start: int) -> int:
        """Samples of the mix that are known to the block which begins at a sample."""
        return start - self.first_samples + self.block_samples


def horizon_of(accompanist: Accompanist[Any]) -> Horizon | None:
    """That of a model; None if it plays frame by frame, or blocks that are longer than any lag that can be told."""
    hop, longest = accompanist.spec.hop_samples, MEMORY_SECONDS - SHORTEST_OVERLAP_SECONDS
    if accompanist.block_frames == 1 or accompanist.spec.seconds_in(accompanist.block_frames) > longest:
        return None
    return Horizon(hop * accompanist.block_frames, hop * (1 + accompanist.anticipation_frames))


def lag_copy(mix_N: Audio, stem_N: Audio, sample_rate_hz: int, horizon: Horizon) -> Audio:
    """The stem, block by block, as it was at the lag that the mix suggests; silence where nothing repeats yet.

    It is causal: a block depends on what is heard of the mix by then, and on the stem before the block.

    Args:
        mix_N: mono audio at 16 kHz or more.
        stem_N: the true stem, of equal length.
        sample_rate_hz: of both.
        horizon: of the model whose place it takes.
    """
    strength_T = onset_strength(torch.from_numpy(np.ascontiguousarray(mix_N)), sample_rate_hz).numpy()
    frame = round(FRAME_SECONDS * sample_rate_hz)
    played_N = np.zeros_like(stem_N)
    for start in range(horizon.first_samples, len(stem_N), horizon.block_samples):
        stop = min(start + horizon.block_samples, len(stem_N))
        known = _known_frames(min(horizon.heard(start), len(mix_N)), frame, sample_rate_hz)
        memory_T = strength_T[max(0, known - round(MEMORY_SECONDS / FRAME_SECONDS)) : max(0, known)]
        lag = best_lag(memory_T, -(-horizon.block_samples // frame), start // frame)
        if lag is not None:
            played_N[start:stop] = stem_N[start - lag * frame : stop - lag * frame]
    return played_N


def _known_frames(heard: int, frame: int, sample_rate_hz: int) -> int:
    """Frames of `onset_strength` in which nothing has been seen of what comes after the samples heard.

    A frame compares the spectra of its neighbours, whose windows reach half their length to either side.
    """
    window = 1 << (int(WINDOW_SECONDS * sample_rate_hz) - 1).bit_length()
    return (heard - window // 2) // frame


def best_lag(strength_T: Floats, shortest: int, longest: int) -> int | None:
    """The lag in frames at which onsets resemble themselves most, by their correlation; None if none can be told.

    Args:
        strength_T: onset strength.
        shortest: smallest lag, 1 or more.
        longest: largest lag.
    """
    longest = min(longest, len(strength_T) - round(SHORTEST_OVERLAP_SECONDS / FRAME_SECONDS))
    if longest < shortest:
        return None
    level_T = strength_T - strength_T.mean()
    lags_L = np.arange(shortest, longest + 1)
    products_L = np.correlate(level_T, level_T, "full")[len(level_T) - 1 :][lags_L]
    power_T = np.concatenate(([0.0], np.cumsum(np.square(level_T, dtype=np.float64))))
    early_L, late_L = power_T[len(level_T) - lags_L], power_T[-1] - power_T[lags_L]
    norm_L = np.sqrt(early_L * late_L)
    if not (norm_L > 0).all():
        return None
    return int(lags_L[np.argmax(products_L / norm_L)])
