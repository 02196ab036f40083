"""Loudness of recordings of any length (ITU-R BS.1770-4), by pyloudnorm.

Shapes: A audio channels, N audio samples.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

PIECE_SECONDS = 60.0
BLOCK_SECONDS = 0.4
SILENCE_LUFS = -70.0
"""Blocks that are softer do not count (BS.1770's absolute gate)."""

OFFSET_DB = 0.691
"""What the standard subtracts, so that a sine of 997 Hz at full scale has -3.01 LUFS."""

GATE_DB = 10.0
"""Blocks that are softer than the mean of the others by more than this do not count (BS.1770's relative gate)."""

WEIGHED_CHANNELS = 5
LOW_FREQUENCY_EFFECTS = 3
"""The fourth of six channels, which the standard leaves out."""


class LoudnessMeter:
    """Integrated loudness of a recording that comes in pieces; memory grows by a number per 0.1 s.

    The filters begin anew every minute; up to there the result is pyloudnorm's `integrated_loudness`.

    Args:
        sample_rate_hz: of the recording.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        from pyloudnorm import Meter  # loads SciPy

        self._meter: Any = Meter(sample_rate_hz, block_size=BLOCK_SECONDS)
        self._piece = round(PIECE_SECONDS * sample_rate_hz)
        self._shortest = math.ceil(BLOCK_SECONDS * sample_rate_hz)
        self._waiting: list[npt.NDArray[Any]] = []
        self._samples = 0
        self._blocks: list[float] = []

    def update(self, audio_AN: npt.NDArray[Any]) -> None:
        """Hear the next samples."""
        self._waiting.append(audio_AN)
        self._samples += audio_AN.shape[1]
        if self._samples >= self._piece:
            self._measure()

    def compute(self) -> float:
        """LUFS of all that was heard; -inf for silence, NaN for less than 0.4 s."""
        self._measure()
        if not self._blocks:
            return math.nan
        loudness = np.array(self._blocks)
        power = 10 ** ((loudness + OFFSET_DB) / 10)
        heard = loudness >= SILENCE_LUFS
        if not heard.any():
            return -math.inf
        heard &= loudness > _lufs(power[heard]) - GATE_DB
        return _lufs(power[heard])

    def _measure(self) -> None:
        """Add the blocks of what waits, unless it is too short for one."""
        if self._samples < self._shortest:
            return
        weighed_NA = _weighed(np.concatenate(self._waiting, axis=1)).T.astype(np.float64)
        self._waiting, self._samples = [], 0
        self._meter.integrated_loudness(weighed_NA)
        self._blocks += [float(lufs) for lufs in self._meter.blockwise_loudness]


def _lufs(power: npt.NDArray[Any]) -> float:
    return float(10 * np.log10(power.mean()) - OFFSET_DB)


def _weighed(audio_AN: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The channels that the standard weighs: left, right, centre and the surrounds."""
    surround = len(audio_AN) == WEIGHED_CHANNELS + 1
    audio_AN = np.delete(audio_AN, LOW_FREQUENCY_EFFECTS, axis=0) if surround else audio_AN
    return audio_AN[:WEIGHED_CHANNELS]
