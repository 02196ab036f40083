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
    """Similarity of the pitch classes of a stem and of a mix, second by second.

    It is the cosine of what each pitch class has more or less than all of them on average (a correlation), so that
    noise, which sounds all of them, agrees with nothing.

    Args:
        stem_WP: chroma of the stem.
        mix_WP: chroma of a mix of equal length.
        true_WP: chroma of the true stem.

    Returns:
        Mean over the seconds in which the mix sounds, and the stem or the true one: 1 for equal pitch classes, in any
        octaves and at any levels, 0 for noise or a silent stem, below 0 for none in common; nan if there is no such
        second.
    """
    counts_W = mix_WP.any(1) & _expected(stem_WP, true_WP)
    return float(np.mean(_similarity(stem_WP, mix_WP)[counts_W])) if counts_W.any() else math.nan


def key_agreement(stem_WP: Floats, mix_WP: Floats, true_WP: Floats) -> float:
    """Similarity of the pitch classes over the whole length, in any order, as in `chroma_agreement`.

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
    """Correlation of every window, 0 where one of them is silent or sounds all pitch classes alike."""
    stem_WP, mix_WP = _contrast(stem_WP), _contrast(mix_WP)
    norms_W = np.linalg.norm(stem_WP, axis=1) * np.linalg.norm(mix_WP, axis=1)
    return np.asarray((stem_WP * mix_WP).sum(1) / np.where(norms_W > 0, norms_W, 1))


def _contrast(chroma_WP: Floats) -> Floats:
    """How much each pitch class differs from the mean; of roots, so that a loud bass note hides no chord above it."""
    roots_WP = np.sqrt(chroma_WP)
    return np.asarray(roots_WP - roots_WP.mean(axis=1, keepdims=True))
