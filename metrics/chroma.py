"""Agreement of two recordings in their pitch classes.

Shapes: N audio samples, W windows, P the twelve pitch classes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics.harmony import pitch_class_energies

Floats = NDArray[np.floating[Any]]


WINDOW_SECONDS = 1.0
"""About the length of a chord."""


def chroma(audio_N: Floats, sample_rate_hz: int) -> Floats:
    """Energy per second of audio and pitch class between 30 Hz and 1.1 kHz, chroma_WP with C first; 0 in silence.

    Args:
        audio_N: mono audio; a last second shorter than half is left out, unless it is all there is.
        sample_rate_hz: its rate, above 2.3 kHz.
    """
    window = round(WINDOW_SECONDS * sample_rate_hz)
    audio = np.asarray(audio_N, dtype=np.float64)
    seconds = [audio[i : i + window] for i in range(0, _end(len(audio), window), window)]
    return np.array([pitch_class_energies(second_N, sample_rate_hz).sum(0) for second_N in seconds])


def _end(samples: int, window: int) -> int:
    return max(1, samples - window // 2)


def chroma_agreement(stem_WP: Floats, mix_WP: Floats, true_WP: Floats) -> float:
    """Similarity (cosine) of the pitch classes of a stem and of a mix, second by second.

    Args:
        stem_WP: chroma of the stem.
        mix_WP: chroma of a mix of equal length.
        true_WP: chroma of the true stem.

    Returns:
        Mean over the seconds in which the mix sounds, and the stem or the true one: 1 for equal pitch classes,
        in any octaves and at any levels, 0 for none in common or a silent stem; nan if there is no such second.
    """
    counts_W = mix_WP.any(1) & _expected(stem_WP, true_WP)
    return float(np.mean(_similarity(stem_WP, mix_WP)[counts_W])) if counts_W.any() else math.nan


def key_agreement(stem_WP: Floats, mix_WP: Floats, true_WP: Floats) -> float:
    """Similarity (cosine) of the pitch classes over the whole length, in any order.

    Args:
        stem_WP: chroma of the stem.
        mix_WP: chroma of a mix.
        true_WP: chroma of the true stem.

    Returns:
        As `chroma_agreement`, times a share: of the seconds in which the stem or the true one sounds, those in which
        the stem does; nan if the mix or both stems are silent.
    """
    expected_W = _expected(stem_WP, true_WP)
    if not (mix_WP.any() and expected_W.any()):
        return math.nan
    similarity = _similarity(stem_WP.sum(0, keepdims=True), mix_WP.sum(0, keepdims=True))
    return float(similarity[0] * stem_WP.any(1).sum() / expected_W.sum())


def _expected(stem_WP: Floats, true_WP: Floats) -> NDArray[np.bool_]:
    """Seconds in which the stem sounds or should sound."""
    return np.asarray(stem_WP.any(1) | true_WP.any(1))


def _similarity(stem_WP: Floats, mix_WP: Floats) -> Floats:
    """Cosine of every window, 0 where one of them is silent."""
    # Roots, so that a loud bass note does not hide the chord above it.
    stem_WP, mix_WP = np.sqrt(stem_WP), np.sqrt(mix_WP)
    norms_W = np.linalg.norm(stem_WP, axis=1) * np.linalg.norm(mix_WP, axis=1)
    return np.asarray((stem_WP * mix_WP).sum(1) / np.where(norms_W > 0, norms_W, 1))
