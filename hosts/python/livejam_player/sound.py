"""Recordings and channels.

Shapes: A audio channels, N samples.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from livejam_player.model import Array, ModelError


def as_channels(audio_AN: Array, channels: int) -> Array:
    """With another number of channels: mixed down, or on the first two of them."""
    if len(audio_AN) == channels:
        return audio_AN
    mono_1N: Array = audio_AN.mean(axis=0, keepdims=True)
    if channels == 1:
        return mono_1N
    pair_AN = audio_AN if len(audio_AN) == 2 else np.repeat(mono_1N, 2, axis=0)
    return np.pad(pair_AN, ((0, channels - 2), (0, 0)))


def read_sound(path: Path) -> tuple[Array, int]:
    """A recording (AN) and its rate.

    Raises:
        ModelError: it cannot be read, is empty, or is not finite.
    """
    try:
        audio_NA, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ModelError(f"{path} cannot be read as sound ({error}); use WAV or FLAC") from error
    if not len(audio_NA):
        raise ModelError(f"{path} holds no sound; use another recording")
    if not np.isfinite(audio_NA).all():
        raise ModelError(f"{path} contains NaN or infinite samples; export it again")
    return np.ascontiguousarray(audio_NA.T), rate
