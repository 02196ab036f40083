"""How loud a stem is while it sounds, and a limiter for its transients.

N: audio samples, K: blocks.
"""

from __future__ import annotations

import numpy as np

from datamodules.audio import Audio

BLOCK_SECONDS = 0.1
GATE_DB = -30.0
SILENT_DB = -120.0


def active_rms_db(audio_N: Audio, sample_rate_hz: int) -> float:
    """RMS in dBFS over the 100 ms blocks that are at most 30 dB quieter than the loudest; -120 for silence."""
    block = round(BLOCK_SECONDS * sample_rate_hz)
    blocks = audio_N[: len(audio_N) // block * block].reshape(-1, block)
    power = np.einsum("kn,kn->k", blocks, blocks, dtype=np.float32) / block
    if not len(power) or power.max() < 1e-12:
        return SILENT_DB
    loud = power[power >= power.max() * 10 ** (GATE_DB / 10)]
    return float(10 * np.log10(loud.mean()))


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
