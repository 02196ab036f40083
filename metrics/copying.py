"""How much of a stem is the mix that it should accompany: of its waveform, and of its spectrogram.

A copy that went through a codec has another waveform, as far as correlation is concerned, but the same spectrogram.

Shapes: N audio samples, L lags, T frames, F mel bands.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, next_fast_len, rfft

from metrics.mel import mel_spectrogram

LONGEST_LAG_SECONDS = 0.5
BANDS, FRAME_SECONDS = 64, 0.02
RANGE_DB = 60.0
"""So far below the loudest moment of any band, levels count as equally low."""


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
    near_L = _correlations(stem[:, None], mix[:, None], round(LONGEST_LAG_SECONDS * sample_rate_hz))
    return min(1.0, float(np.abs(near_L).max()) / norm)


def deviations(audio_N: ArrayLike, sample_rate_hz: int) -> NDArray[np.float64]:
    """How much louder every band is at every moment than it usually is, and than the others are then, levels_TF in dB.

    What is left is which notes and strokes sound when: neither the colour of a sound, nor when it is loud as a whole.

    Args:
        audio_N: mono audio.
        sample_rate_hz: its sample rate, at least 16 kHz.
    """
    audio = torch.from_numpy(np.array(audio_N, dtype=np.float32))
    magnitudes_TF = mel_spectrogram(audio, sample_rate_hz, BANDS, FRAME_SECONDS).double().numpy()
    highest = magnitudes_TF.max(initial=0.0)
    if highest == 0:
        return np.zeros_like(magnitudes_TF)
    levels_TF = 20 * np.log10(np.maximum(magnitudes_TF / highest, 10 ** (-RANGE_DB / 20)))
    levels_TF -= levels_TF.mean(0)
    centred_TF: NDArray[np.float64] = levels_TF - levels_TF.mean(1, keepdims=True)
    return centred_TF


def copied_spectrum(stem_TF: NDArray[np.float64], mix_TF: NDArray[np.float64]) -> float:
    """The highest correlation of a stem's spectrogram with that of the mix, at lags of up to half a second either way.

    Args:
        stem_TF: `deviations` of the stem.
        mix_TF: those of what it accompanies, of the same length.

    Returns:
        About 0.85 for the mix through a codec, less with other sound in it; near 0 for unrelated sound; nan if one of
        them is silent or steady.
    """
    norm = float(np.linalg.norm(stem_TF) * np.linalg.norm(mix_TF))
    if norm == 0:
        return math.nan
    near_L = _correlations(stem_TF, mix_TF, round(LONGEST_LAG_SECONDS / FRAME_SECONDS))
    return min(1.0, float(near_L.max()) / norm)


def _correlations(one_TF: NDArray[np.float64], other_TF: NDArray[np.float64], lags: int) -> NDArray[np.float64]:
    """Sums of products at all lags up to so many either way."""
    lags = min(lags, len(one_TF) - 1)
    size = next_fast_len(len(one_TF) + lags, real=True)
    spectrum_K = (rfft(one_TF, size, axis=0) * np.conj(rfft(other_TF, size, axis=0))).sum(1)
    correlation_L = irfft(spectrum_K, size)
    return np.concatenate((correlation_L[: lags + 1], correlation_L[size - lags :]))
