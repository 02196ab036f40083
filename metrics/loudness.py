"""How loud a stem is, and how much of it is silence: cheap numbers that reveal a collapse.

Shapes: N audio samples.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

GATE_DBFS = -60.0
"""Blocks below this level count as silence."""


def _block_powers(audio_N: Floats, sample_rate_hz: int) -> Floats:
    """Mean power of blocks of 100 ms; a rest shorter than a block is dropped unless it is all there is."""
    if not np.isfinite(audio_N).all():
        raise ValueError("the level of audio that is not finite is undefined")
    block = min(round(0.1 * sample_rate_hz), max(len(audio_N), 1))
    whole = len(audio_N) // block * block
    return np.mean(np.square(audio_N[:whole].astype(np.float64)).reshape(-1, block), axis=1)


def gated_level_dbfs(audio_N: Floats, sample_rate_hz: int) -> float:
    """Root-mean-square level of the blocks of 100 ms that are not silent, in dB of full scale.

    Args:
        audio_N: mono audio.
        sample_rate_hz: its sample rate.

    Returns:
        A level ≥ -60 dBFS; nan if all of it is silent.

    Raises:
        ValueError: samples are not finite.
    """
    powers = _block_powers(audio_N, sample_rate_hz)
    loud = powers[powers >= 10 ** (GATE_DBFS / 10)]
    return 10 * math.log10(float(loud.mean())) if len(loud) else math.nan


def relative_level_db(stem_N: Floats, true_stem_N: Floats, sample_rate_hz: int) -> float:
    """Level of a stem where it sounds, minus the level of the true stem where that sounds, in dB.

    Args:
        stem_N: mono audio.
        true_stem_N: mono audio.
        sample_rate_hz: sample rate of both.

    Returns:
        0 for equally loud stems; a silent stem counts as -60 dBFS; nan if the true stem is silent.
    """
    stem_dbfs = gated_level_dbfs(stem_N, sample_rate_hz)
    return (GATE_DBFS if math.isnan(stem_dbfs) else stem_dbfs) - gated_level_dbfs(true_stem_N, sample_rate_hz)


def silence_rate(audio_N: Floats, sample_rate_hz: int) -> float:
    """Share of blocks of 100 ms below -60 dBFS, in [0, 1]; nan for an empty recording."""
    powers = _block_powers(audio_N, sample_rate_hz)
    return float(np.mean(powers < 10 ** (GATE_DBFS / 10))) if len(powers) else math.nan


def limited(audio_N: Floats) -> Floats:
    """Turned down as a whole if it would clip."""
    return audio_N / max(1.0, float(np.abs(audio_N).max(initial=0.0)))
