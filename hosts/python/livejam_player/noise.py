"""The noise of a seed and a position: SplitMix64 in counter mode and the Box-Muller transform.

Shapes: positions of any shape; Z channels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_STEP, _MIX_1, _MIX_2 = (np.uint64(word) for word in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def seeded_noise(seed: int, position: npt.NDArray[np.int64], channels: int) -> npt.NDArray[np.float32]:
    """Standard normal noise (…, Z).

    Args:
        seed: 0 … 2^63 - 1.
        position: of every frame in the stream (…).
        channels: Z.
    """
    pairs = (channels + 1) // 2
    with np.errstate(over="ignore"):  # 64-bit numbers wrap around
        base = _scramble(np.array(seed, np.uint64) * _STEP + np.uint64(1))
        counter = position.astype(np.uint64)[..., None] * np.uint64(pairs) + np.arange(1, pairs + 1, dtype=np.uint64)
        bits = _scramble(base + counter * _STEP)
    first = ((bits >> np.uint64(40)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-24)
    second = ((bits >> np.uint64(8)) & np.uint64(0xFFFFFF)).astype(np.float32) * np.float32(2.0**-24)
    radius, angle = np.sqrt(-2 * np.log(first)), np.float32(2 * np.pi) * second
    noise: npt.NDArray[np.float32] = np.concatenate((radius * np.cos(angle), radius * np.sin(angle)), axis=-1)
    return noise[..., :channels]


def _scramble(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))
