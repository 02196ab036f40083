"""Whether two recordings are made of the same pitch classes.

Shapes: N audio samples, W windows, P the twelve pitch classes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics.harmony import tonal_peaks

Floats = NDArray[np.floating[Any]]


WINDOW_SECONDS = 1.0
"""About the length of a chord."""


def chroma(audio_N: Floats, sample_rate_hz: int) -> Floats:
    """Energy per second of audio and pitch class between 30 Hz and 1.1 kHz, chroma_WP with C first; 0 in silence.

    Args:
        audio_N: mono audio; a last second of which less than half is there is left out, unless it is all there is.
        sample_rate_hz: its rate, above 2.3 kHz.
    """
    window = round(WINDOW_SECONDS * sample_rate_hz)
    audio = np.asarray(audio_N, dtype=np.float64)
    peaks = [tonal_peaks(audio[i : i + window], sample_rate_hz) for i in range(0, _end(len(audio), window), window)]
    return np.array([np.bincount(pitch_classes, energies, minlength=12) for pitch_classes, energies in peaks])


def _end(samples: int, window: int) -> int:
    return max(1, samples - window // 2)


def chroma_agreement(stem_WP: Floats, mix_WP: Floats) -> float:
    """Similarity (cosine) of the pitch classes of a stem and of a mix, second by second.

    Args:
        stem_WP: chroma of the stem.
        mix_WP: chroma of a mix of equal length.

    Returns:
        Mean over the seconds in which both sound: 1 for equal pitch classes, whatever octaves and levels, 0 for none
        in common; nan if there is no such second.
    """
    both_W = stem_WP.any(1) & mix_WP.any(1)
    # Roots, so that a loud bass note does not hide the chord above it.
    stem_WP, mix_WP = np.sqrt(stem_WP[both_W]), np.sqrt(mix_WP[both_W])
    norms_W = np.linalg.norm(stem_WP, axis=1) * np.linalg.norm(mix_WP, axis=1)
    return float(np.mean((stem_WP * mix_WP).sum(1) / norms_W)) if both_W.any() else math.nan


def key_agreement(stem_WP: Floats, mix_WP: Floats) -> float:
    """Similarity (cosine) of the pitch classes over the whole length, in whatever order they come.

    Args:
        stem_WP: chroma of the stem.
        mix_WP: chroma of a mix.

    Returns:
        As `chroma_agreement`, nan if one of them is silent.
    """
    return chroma_agreement(stem_WP.sum(0, keepdims=True), mix_WP.sum(0, keepdims=True))
