"""How loud a stem is while it sounds."""

from __future__ import annotations

import numpy as np

BLOCK_SECONDS = 0.1
GATE_DB = -30.0
SILENT_DB = -120.0


def active_rms_db(audio_N: np.ndarray, sample_rate_hz: int) -> float:
    """RMS in dBFS over the 100 ms blocks that are at most 30 dB quieter than the loudest; -120 for silence."""
    block = round(BLOCK_SECONDS * sample_rate_hz)
    blocks = audio_N[: len(audio_N) // block * block].reshape(-1, block)
    power = np.einsum("kn,kn->k", blocks, blocks, dtype=np.float32) / block
    if not len(power) or power.max() < 1e-12:
        return SILENT_DB
    loud = power[power >= power.max() * 10 ** (GATE_DB / 10)]
    return float(10 * np.log10(loud.mean()))
