"""The share of time in which a stem sounds tones of the current chord.

N: audio samples, K: windows, F: frequency bins, P: the twelve pitch classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livejam.batch import Chord
from metrics.loudness import GATE_DBFS

WINDOW_SECONDS = 0.37
SHORTEST_SECONDS = 0.04
ZERO_PADDING = 2
LOWEST_HZ = 30.0
HIGHEST_HZ = 1100.0


def chord_tone_share(audio_N: ArrayLike, true_N: ArrayLike, sample_rate_hz: int, chords: Sequence[Chord]) -> float:
    """The share of chord tones in the time in which a stem sounds or should sound.

    Every second counts with the share of tonal energy between 30 Hz and 1.1 kHz that lies on the pitch classes of the
    sounding chord, for as long as the stem sounds (above -60 dBFS) in it; the rest of the time in which the true stem
    sounds counts as 0. If all energy were pooled, half a second of a chord followed by silence would score 1. Wrong
    tones count also where the true stem rests, but the stem may be silent there.

    Spectral peaks are assigned to the nearest semitone by their interpolated frequency, so that a bass note is not
    smeared over its neighbours, and no window reaches across a chord change. Noise scores the share of pitch
    classes in the chords, 0.25 for triads and 0.33 for seventh chords; a well tuned accompaniment above 0.7.

    Args:
        audio_N: mono audio in [-1, 1].
        true_N: the true stem, of the same length.
        sample_rate_hz: the rate of both, above 2.3 kHz.
        chords: the true chords, times in seconds from the start of the audio.

    Returns:
        A number from 0 to 1; nan if no chord falls into the audio or both stems are silent wherever one does.

    Raises:
        ValueError: a stem has several dimensions, or they are not equally long.
    """
    audio, true = np.asarray(audio_N, dtype=np.float64), np.asarray(true_N, dtype=np.float64)
    if audio.ndim != 1 or audio.shape != true.shape:
        raise ValueError(f"chord_tone_share needs two mono stems of one length, got {audio.shape} and {true.shape}")
    on_chord = expected = 0.0
    for chord in chords:
        for part in _parts(chord, sample_rate_hz):
            filled, counts = _filled(audio[part], true[part], sample_rate_hz, chord)
            on_chord, expected = on_chord + filled, expected + counts
    return on_chord / expected if expected > 0 else float("nan")


def _parts(chord: Chord, sample_rate_hz: int) -> list[slice]:
    """The samples of a chord, in parts of equal length of at most a second."""
    start, end = (max(0, round(seconds * sample_rate_hz)) for seconds in (chord.start_seconds, chord.end_seconds))
    count = max(1, -(-(end - start) // sample_rate_hz))
    ends = np.linspace(start, end, count + 1).round().astype(int).tolist()
    return [slice(*pair) for pair in pairwise(ends)]


def _filled(
    part_N: NDArray[np.float64], true_N: NDArray[np.float64], sample_rate_hz: int, chord: Chord
) -> tuple[float, float]:
    """Seconds filled with tones of the chord, and seconds in which one of the stems sounds."""
    energies_KP = pitch_class_energies(part_N, sample_rate_hz)
    sounds_K = energies_KP.any(1)
    expected_K = sounds_K | is_loud(windows(true_N, sample_rate_hz))
    total = float(energies_KP.sum())
    share = float(energies_KP[:, list(set(chord.pitch_classes))].sum()) / total if total > 0 else 0.0
    seconds = len(part_N) / sample_rate_hz / max(1, len(sounds_K))
    return seconds * share * int(sounds_K.sum()), seconds * int(expected_K.sum())


def windows(segment_N: NDArray[np.float64], sample_rate_hz: int) -> NDArray[np.float64]:
    """Windows_KN of 0.37 s, or one as long as the stretch, that overlap by about half; none below 40 ms."""
    window = min(round(WINDOW_SECONDS * sample_rate_hz), len(segment_N))
    if window < SHORTEST_SECONDS * sample_rate_hz:
        return np.empty((0, 1))
    count = 1 + int(np.ceil((len(segment_N) - window) / (window / 2)))
    starts = np.linspace(0, len(segment_N) - window, count).round().astype(np.int64)
    return np.asarray(segment_N[starts[:, None] + np.arange(window)])


def is_loud(windows_KN: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which windows sound at all."""
    return np.asarray(np.mean(np.square(windows_KN), axis=1) >= 10 ** (GATE_DBFS / 10))


def pitch_class_energies(segment_N: NDArray[np.float64], sample_rate_hz: int) -> NDArray[np.float64]:
    """Energies_KP of the spectral peaks of every window of a stretch of audio; 0 in those that are silent."""
    windows_KN = windows(segment_N, sample_rate_hz)
    energies_KP, loud_K = np.zeros((len(windows_KN), 12)), is_loud(windows_KN)
    if loud_K.any():
        energies_KP[loud_K] = _peak_energies(windows_KN[loud_K], sample_rate_hz)
    return energies_KP


def _peak_energies(windows_KN: NDArray[np.float64], sample_rate_hz: int) -> NDArray[np.float64]:
    window = windows_KN.shape[1]
    size = 1 << (ZERO_PADDING * window - 1).bit_length()  # powers of two transform fastest
    lowest, highest = int(LOWEST_HZ * size / sample_rate_hz), int(HIGHEST_HZ * size / sample_rate_hz)
    spectrum_KF = np.fft.rfft(windows_KN * np.hanning(window), size)[:, : highest + 1]
    level_KF = np.log(np.abs(spectrum_KF) / window + 1e-12)
    left, centre, right = (level_KF[:, lowest + shift : highest + shift] for shift in (-1, 0, 1))
    is_peak = (centre > left) & (centre >= right)
    offset = 0.5 * (left - right)[is_peak] / (left - 2 * centre + right)[is_peak]
    at, bins = np.nonzero(is_peak)
    frequency_hz = (lowest + bins + offset) * sample_rate_hz / size
    pitch = np.round(69 + 12 * np.log2(frequency_hz / 440)).astype(np.int64)
    energies = np.bincount(12 * at + pitch % 12, np.exp(2 * centre[is_peak]), minlength=12 * len(windows_KN))
    return np.asarray(energies.reshape(-1, 12), dtype=np.float64)
