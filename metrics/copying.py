"""How much of a stem is the mix that it should accompany.

Shapes: N audio samples, L lags.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.fft import irfft, next_fast_len, rfft

LONGEST_LAG_SECONDS = 0.5


def copied(stem_N: ArrayLike, mix_N: ArrayLike, sample_rate_hz: int) -> float:
    """The highest correlation of a stem's waveform with that of the mix, at lags of up to half a second either way.

    Args:
        stem_N: mono audio.
        mix_N: what it accompanies, of the same length.
        sample_rate_hz: of both.

    Returns:
        1 for the mix itself at any level, polarity and such a delay; its share of the amplitude where other sound is
        mixed in; near 0 for unrelated sound, more for steady tones in common; nan if one of them is silent.
    """
    stem, mix = (np.asarray(audio, dtype=np.float64) for audio in (stem_N, mix_N))
    norm = float(np.linalg.norm(stem) * np.linalg.norm(mix))
    if norm == 0:
        return math.nan
    lags = min(round(LONGEST_LAG_SECONDS * sample_rate_hz), len(stem) - 1)
    size = next_fast_len(len(stem) + lags, real=True)
    correlation_L = irfft(rfft(stem, size) * np.conj(rfft(mix, size)), size)
    near_L = np.concatenate((correlation_L[: lags + 1], correlation_L[size - lags :]))
    return min(1.0, float(np.abs(near_L).max()) / norm)
