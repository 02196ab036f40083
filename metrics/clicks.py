"""Clicks where frames of a codec, or blocks of a model, join.

Shapes: N audio samples, K joins, P places around a join.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

QUIETEST = 1e-5
"""Bends below this, 100 dB below the audio's level, do not count."""

SILENT_DBFS = -60.0
FEWEST_JOINS = 8

NEIGHBOURHOOD = 16
"""A join is compared with this part of a frame to either side."""


def click_db(audio_N: Floats, hop_samples: int, first_join: int = 0) -> float:
    """How much more sharply the waveform bends at the joins of frames than around them, in dB.

    A jump of the waveform is a large second difference. Its level in dB at every join is compared with the levels
    around that join, and averaged over the joins. Decibels are averaged, not energies: a single drum hit on a join
    is not a click, but a small jump at every join is.

    Args:
        audio_N: mono audio.
        hop_samples: distance of joins in samples (≥ 64).
        first_join: index of the first sample after a join, if the audio does not start with a frame.

    Returns:
        About 0 (within ±2 for ten seconds of music) if joins sound like other places; nan for silence and
        for fewer than eight joins.
    """
    joins_K = np.arange(first_join + hop_samples, len(audio_N) - hop_samples, hop_samples)
    if len(joins_K) < FEWEST_JOINS:
        return math.nan
    return float(np.mean(clicks_db(audio_N, joins_K, hop_samples)))


def clicks_db(audio_N: Floats, joins_K: NDArray[np.integer[Any]], hop_samples: int) -> Floats:
    """The same of single joins, which are noisy: a note that begins on a join bends the waveform as well.

    Args:
        audio_N: mono audio.
        joins_K: indices of the first samples after the joins, a hop or more away from both ends.
        hop_samples: length of a frame in samples (≥ 64).

    Returns:
        One number per join; nan for silence.
    """
    audio = np.asarray(audio_N, dtype=np.float64)
    level = math.sqrt(np.mean(audio**2)) if len(audio) else 0.0
    if level < 10 ** (SILENT_DBFS / 20):
        return np.full(len(joins_K), math.nan)
    bends_N = np.abs(np.diff(audio, n=2))
    # bends_N[i] looks at samples i, i + 1 and i + 2: a jump before sample j is in i = j - 2 and in i = j - 1.
    sharpest_N = 20 * np.log10(np.maximum(bends_N[:-1], bends_N[1:]) + QUIETEST * level)
    reach = hop_samples // NEIGHBOURHOOD
    levels_KP = sharpest_N[joins_K[:, None] - 2 + np.arange(-reach, reach + 1)]
    # The join's next neighbours look at it too.
    around_K = np.delete(levels_KP, [reach - 1, reach, reach + 1], axis=1).mean(1)
    return np.asarray(levels_KP[:, reach] - around_K)
