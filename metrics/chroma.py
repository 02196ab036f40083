"""Whether two recordings are made of the same pitch classes.

Shapes: N audio samples, P the twelve pitch classes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics.harmony import tonal_peaks

Floats = NDArray[np.floating[Any]]


def chroma(audio_N: Floats, sample_rate_hz: int) -> Floats:
    """Amplitude per pitch class between 30 Hz and 1.1 kHz, chroma_P with C first; zeros for silence.

    Args:
        audio_N: mono audio.
        sample_rate_hz: its rate, above 2.3 kHz.
    """
    pitch_classes, energies = tonal_peaks(np.asarray(audio_N, dtype=np.float64), sample_rate_hz)
    # Roots, so that a loud bass note does not hide the chord above it.
    return np.sqrt(np.bincount(pitch_classes, energies, minlength=12))


def chroma_agreement(stem_N: Floats, mix_N: Floats, sample_rate_hz: int, window_seconds: float | None = 1.0) -> float:
    """Similarity (cosine) of the pitch classes of a stem and of a mix, window by window.

    Args:
        stem_N: mono audio.
        mix_N: mono audio of equal length.
        sample_rate_hz: rate of both.
        window_seconds: length of a window, about a chord's; None = all of it at once, which compares keys.

    Returns:
        Mean over the windows in which both sound: 1 for equal pitch classes, whatever octaves and levels, 0 for none
        in common; nan if there is no such window.
    """
    window = len(stem_N) if window_seconds is None else round(window_seconds * sample_rate_hz)
    starts = range(0, max(1, len(stem_N) - window // 2), max(1, window))
    pairs = [[chroma(audio_N[i : i + window], sample_rate_hz) for audio_N in (stem_N, mix_N)] for i in starts]
    similar = [_cosine(*pair) for pair in pairs if all(chroma_P.any() for chroma_P in pair)]
    return float(np.mean(similar)) if similar else math.nan


def _cosine(one_P: Floats, other_P: Floats) -> float:
    return float(one_P @ other_P / (np.linalg.norm(one_P) * np.linalg.norm(other_P)))
