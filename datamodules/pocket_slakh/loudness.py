"""How loud a stem is, how loud it is to be, and a limiter for its transients.

N: audio samples, K: blocks.
"""

from __future__ import annotations

import numpy as np

from datamodules.audio import Audio

BLOCK_SECONDS = 0.1
GATE_DB = -30.0
SILENT_DB = -120.0
HEARD_DB = -70.0
UNSTABLE = 100.0
"""A peak that no SoundFont means."""
LEAST_SECONDS = 0.4
EQUAL_LUFS = -13.0
"""Slakh2100's `mix_normalization_factor`."""


def active_rms_db(audio_N: Audio, sample_rate_hz: int) -> float:
    """RMS in dBFS over the 100 ms blocks that are at most 30 dB quieter than the loudest; -120 for silence."""
    block = round(BLOCK_SECONDS * sample_rate_hz)
    blocks = audio_N[: len(audio_N) // block * block].reshape(-1, block)
    power = np.einsum("kn,kn->k", blocks, blocks, dtype=np.float32) / block
    if not len(power) or power.max() < 1e-12:
        return SILENT_DB
    loud = power[power >= power.max() * 10 ** (GATE_DB / 10)]
    return float(10 * np.log10(loud.mean()))


def is_sound(audio_N: Audio, sample_rate_hz: int) -> bool:
    """Whether what a synthesiser returned can be heard and used.

    Symusic's synthesiser runs away on some instruments, not each time (peaks of 1e28, or NaN); one such stem would
    make all others of its song silent.
    """
    peak = float(np.abs(audio_N).max(initial=0.0))  # NaN if there is one
    return peak < UNSTABLE and active_rms_db(audio_N, sample_rate_hz) > HEARD_DB


def equally_loud(audio_N: Audio, sample_rate_hz: int) -> Audio:
    """A stem at -13 LUFS (ITU-R BS.1770-4), as Slakh2100 mixes stems; peaks may pass full scale.

    One that is softer than -70 LUFS, the least that the standard measures, or shorter than 0.4 s, stays as it is.
    """
    from pyloudnorm import Meter  # loads SciPy

    if len(audio_N) < LEAST_SECONDS * sample_rate_hz:
        return audio_N
    with np.errstate(divide="ignore"):  # the logarithm of nothing
        lufs = float(Meter(sample_rate_hz).integrated_loudness(audio_N.astype(np.float64)))
    return audio_N * np.float32(10 ** ((EQUAL_LUFS - lufs) / 20)) if np.isfinite(lufs) else audio_N


def soft_limited(audio_N: Audio, knee: float = 0.35, ceiling: float = 0.65) -> Audio:
    """The audio with peaks bent below a ceiling, as a drum bus does, so that a mix needs no further gain.

    Args:
        audio_N: mono audio.
        knee: level up to which nothing changes, above 0.
        ceiling: level that is never passed, above `knee`.
    """
    room = ceiling - knee
    level = np.abs(audio_N)
    limited = np.where(level > knee, knee + room * np.tanh((level - knee) / room), level)
    return np.copysign(limited, audio_N).astype(audio_N.dtype)
