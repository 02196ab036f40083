"""Whether a stem's onsets sit on the song's beat grid, for stems on which beat trackers fail.

Beat trackers err by octaves on stems without drums; the phase of onsets on the known grid does not.

Shapes: N audio samples, T frames, S stretches of four beats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.mel import mel_spectrogram

Floats = NDArray[np.floating[Any]]

FRAME_SECONDS = 0.01

WEAKEST = 8.0
"""Nepers of rise, summed over 40 mel bands, below which nothing begins."""

STRETCH_BEATS = 4
"""Whoever plays with the musician begins something at least every four beats."""


def onset_strength(audio_N: Tensor, sample_rate_hz: int) -> Tensor:
    """How much gets louder, onsets_T: the rise of a log-mel spectrogram summed over 40 bands, 100 frames per second.

    Args:
        audio_N: mono audio at 16 kHz or more.
        sample_rate_hz: its sample rate.
    """
    levels_TF = (mel_spectrogram(audio_N, sample_rate_hz, bands=40, hop_seconds=FRAME_SECONDS) + 1e-3).log()
    # Two frames apart, because a window of 46 ms smears an attack over several frames.
    rise_TF = (levels_TF[2:] - levels_TF[:-2]).clamp_min(0)
    return torch.nn.functional.pad(rise_TF.sum(1), (1, 1))


def phase_lock(
    onsets_T: Floats, true_onsets_T: Floats, beats_seconds: Sequence[float], subdivisions: Sequence[int] = (1, 2, 3, 4)
) -> float:
    """Phase lock of onsets on the true beats: |Σ o(t) exp(2πi n φ(t))| / Σ o(t), for the best subdivision n.

    o is the onset strength and φ the phase within the beat, which runs from 0 to 1 between neighbouring beats.

    A single onset would lock perfectly. The lock is therefore multiplied by the share of stretches of four beats, of
    those in which the stem or the true one begins anything, in which the stem does.

    Args:
        onsets_T: `onset_strength` of the stem.
        true_onsets_T: that of the true stem, of equal length.
        beats_seconds: ascending true beats; audio before the first and after the last is ignored.
        subdivisions: grids per beat that count (1 quarters, 2 eighths, 3 triplets, 4 sixteenths); the best one wins.

    Returns:
        1 if all onsets share one phase and there are some wherever there ought to be, about 0 if they ignore the grid
        or are missing; nan with fewer than two beats or if neither stem has onsets.
    """
    if len(beats_seconds) < 2:
        return math.nan
    seconds_T = np.arange(len(onsets_T)) * FRAME_SECONDS
    inside_T = (seconds_T >= beats_seconds[0]) & (seconds_T < beats_seconds[-1])
    beats_T = np.interp(seconds_T[inside_T], beats_seconds, np.arange(len(beats_seconds)))
    onsets_T = onsets_T[inside_T]
    plays_S, ought_S = (_stretches_with_onsets(o_T, beats_T) for o_T in (onsets_T, true_onsets_T[inside_T]))
    if not (plays_S | ought_S).any():
        return math.nan
    if not plays_S.any():
        return 0.0
    lock = max(float(abs(onsets_T @ np.exp(2j * np.pi * n * beats_T)) / onsets_T.sum()) for n in subdivisions)
    return lock * float(plays_S.sum() / (plays_S | ought_S).sum())


def _stretches_with_onsets(onsets_T: Floats, beats_T: Floats) -> NDArray[np.bool_]:
    """In which stretches of four beats something begins."""
    stretches_T = beats_T.astype(np.int64) // STRETCH_BEATS
    return np.asarray(np.bincount(stretches_T, onsets_T >= WEAKEST) > 0)
