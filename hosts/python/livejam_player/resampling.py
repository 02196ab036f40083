"""A recording at another rate, by the windowed sinc that livejam uses.

Shapes: A audio channels, N samples, M samples of the result, K taps.
"""

from __future__ import annotations

import math

import numpy as np

from livejam_player.model import Array, ModelError

LOBES, PASSBAND, KAISER_BETA = 32, 0.92, 9.0
LOWEST_HZ, HIGHEST_HZ = 4000, 400_000
PIECE = 4096


def resample(audio_AN: Array, input_hz: int, output_hz: int) -> Array:
    """A recording at another rate, ceil(N · output / input) samples; silence is assumed around it.

    Raises:
        ModelError: a rate is no rate of sound.
    """
    for rate in (input_hz, output_hz):
        if not LOWEST_HZ <= rate <= HIGHEST_HZ:
            raise ModelError(f"a sample rate of {rate} Hz cannot be played; use {LOWEST_HZ} to {HIGHEST_HZ} Hz")
    if input_hz == output_hz:
        return audio_AN
    common = math.gcd(input_hz, output_hz)
    up, down = output_hz // common, input_hz // common
    width = math.ceil(LOBES * max(1.0, down / up))
    bank_PK = _bank(up, down, width)
    padded_AN = np.pad(audio_AN, ((0, 0), (width - 1, width + 1)))
    made, tap_K = -(-audio_AN.shape[1] * up // down), np.arange(2 * width)
    pieces = []
    for first in range(0, made, PIECE):
        place_M = np.arange(first, min(first + PIECE, made)) * down
        taken = padded_AN[:, (place_M // up)[:, None] + tap_K] * bank_PK[place_M % up]
        pieces.append(taken.sum(axis=-1, dtype=np.float32))
    return np.concatenate(pieces, axis=1) if pieces else audio_AN[:, :0]


def _bank(up: int, down: int, width: int) -> Array:
    """The taps of every phase."""
    phase_P1 = np.arange(up)[:, None] / up
    distance_PK = np.arange(1 - width, 1 + width) - phase_P1
    cutoff = PASSBAND * min(1.0, up / down)
    window_PK = np.i0(KAISER_BETA * np.sqrt(np.maximum(1 - (distance_PK / width) ** 2, 0)))
    taps_PK = np.sinc(cutoff * distance_PK) * window_PK
    bank_PK: Array = (taps_PK / taps_PK.sum(axis=1, keepdims=True)).astype(np.float32)
    return bank_PK
