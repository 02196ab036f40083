"""How much of what sounds belongs to the chord of the moment.

N: audio samples, K: windows, F: frequency bins.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livejam.batch import Chord

WINDOW_SECONDS = 0.37
ZERO_PADDING = 2
LOWEST_HZ = 30.0
HIGHEST_HZ = 1100.0
SILENT_DB = -70.0


def chord_tone_share(audio_N: ArrayLike, sample_rate_hz: int, chords: Sequence[Chord]) -> float:
    """Share of the tonal energy between 30 Hz and 1.1 kHz that lies on the pitch classes of the sounding chord.

    Spectral peaks are assigned to the nearest semitone by their interpolated frequency, so a bass note is not
    smeared over its neighbours, and no window reaches across a chord change. Noise scores the share of pitch
    classes in the chords, 0.25 for triads and 0.33 for seventh chords; a well tuned accompaniment above 0.7.

    Args:
        audio_N: mono audio in [-1, 1].
        sample_rate_hz: its rate, above 2.3 kHz.
        chords: the true chords, times in seconds from the start of the audio.

    Returns:
        A number from 0 to 1; nan if no chord falls into the audio or all of it is silent (below -70 dBFS).
    """
    audio = np.asarray(audio_N, dtype=np.float64)
    if audio.ndim != 1:
        raise ValueError(f"chord_tone_share wants mono audio of one dimension, got {audio.ndim} dimensions")
    on_chord = total = 0.0
    for chord in chords:
        segment = audio[_sample(chord.start_seconds, sample_rate_hz) : _sample(chord.end_seconds, sample_rate_hz)]
        pitch_classes, energies = tonal_peaks(segment, sample_rate_hz)
        on_chord += float(energies[np.isin(pitch_classes, chord.pitch_classes)].sum())
        total += float(energies.sum())
    return on_chord / total if total > 0 else float("nan")


def tonal_peaks(segment_N: NDArray[np.float64], sample_rate_hz: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pitch class and energy of every spectral peak of a stretch of audio.

    Returns:
        Two arrays of equal length, empty if the stretch is silent or shorter than 40 ms.
    """
    window = min(round(WINDOW_SECONDS * sample_rate_hz), len(segment_N))
    if window < 0.04 * sample_rate_hz or np.mean(segment_N**2) < 10 ** (SILENT_DB / 10):
        return np.empty(0, np.int64), np.empty(0)
    count = 1 + int(np.ceil((len(segment_N) - window) / (window / 2)))
    starts = np.linspace(0, len(segment_N) - window, count).round().astype(np.int64)
    frames_KN = segment_N[starts[:, None] + np.arange(window)] * np.hanning(window)
    size = 1 << (ZERO_PADDING * window - 1).bit_length()  # powers of two transform fastest
    level_KF = np.log(np.abs(np.fft.rfft(frames_KN, size)) / window + 1e-12)
    lowest, highest = int(LOWEST_HZ * size / sample_rate_hz), int(HIGHEST_HZ * size / sample_rate_hz)
    left, centre, right = (level_KF[:, lowest + shift : highest + shift] for shift in (-1, 0, 1))
    is_peak = (centre > left) & (centre >= right)
    offset = 0.5 * (left - right)[is_peak] / (left - 2 * centre + right)[is_peak]
    frequency_hz = (lowest + np.nonzero(is_peak)[1] + offset) * sample_rate_hz / size
    pitch = np.round(69 + 12 * np.log2(frequency_hz / 440)).astype(np.int64)
    return pitch % 12, np.exp(2 * centre[is_peak])


def _sample(seconds: float, sample_rate_hz: int) -> int:
    return max(0, round(seconds * sample_rate_hz))
