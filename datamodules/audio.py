"""Audio files of any rate and number of channels, read at the codec's; a bad file gives one clear sentence.

Shapes: A audio channels, N audio samples, S stems, T latent frames.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from livejam.errors import UserError

Audio = NDArray[np.float32]

SILENCE_DBFS = -120.0
"""The level that stands for digital silence."""


class AudioFileError(UserError):
    """A sound file is missing, is truncated, or holds numbers that are not finite."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path}: {reason}; restore the file, or run `livejam data index --deep DATA_SET`, with --cache where "
            "data.cache_root is set, so that it is listed and left out"
        )
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type, tuple[Path, str]]:
        """Exceptions travel from worker processes by their constructor's arguments."""
        return (type(self), (self.path, self.reason))


def read_audio(
    path: Path,
    sample_rate_hz: int,
    channels: int,
    start_seconds: float = 0.0,
    samples: int | None = None,
) -> Audio:
    """Audio_AN of a file, resampled to `sample_rate_hz` with `channels` channels.

    Args:
        path: a sound file.
        sample_rate_hz: rate of the result in Hz.
        channels: 1 mixes all channels down; 2 repeats a mono file.
        start_seconds: where to begin, in seconds, ≥ 0.
        samples: length of the result, padded with silence beyond the end of the file; None reads to the end.

    Raises:
        AudioFileError: the file is missing, truncated, or not finite.
    """
    audio_NA, rate_hz = _read_native(path, sample_rate_hz, start_seconds, samples)
    if audio_NA.shape[1] != channels:
        audio_NA = audio_NA.mean(axis=1, keepdims=True, dtype=np.float32)
    if rate_hz != sample_rate_hz:
        audio_NA = soxr.resample(audio_NA, rate_hz, sample_rate_hz, quality=soxr.VHQ)
    audio_AN = np.ascontiguousarray(np.broadcast_to(audio_NA, (audio_NA.shape[0], channels)).T)
    return audio_AN if samples is None else fit_length(audio_AN, samples)


def _read_native(path: Path, sample_rate_hz: int, start_seconds: float, samples: int | None) -> tuple[Audio, int]:
    try:
        with soundfile.SoundFile(str(path)) as file:
            start = min(round(start_seconds * file.samplerate), file.frames)
            # one sample more than asked for, so that resampling cannot come out short
            wanted = -1 if samples is None else -(-samples * file.samplerate // sample_rate_hz) + 1
            file.seek(start)
            audio_NA = file.read(wanted, dtype="float32", always_2d=True)
            expected = file.frames - start if wanted < 0 else min(wanted, file.frames - start)
            rate_hz = file.samplerate
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioFileError(path, _reason(path, error)) from error
    if len(audio_NA) < expected:
        raise AudioFileError(path, f"truncated, it holds {len(audio_NA)} of {expected} samples")
    if not np.isfinite(audio_NA).all():
        raise AudioFileError(path, "it holds numbers that are not finite")
    return audio_NA, rate_hz


def _reason(path: Path, error: Exception) -> str:
    if not path.is_file():
        return "the file does not exist"
    if path.stat().st_size == 0:
        return "the file is empty"
    return f"it cannot be decoded, it is truncated or no sound file ({str(error).strip() or type(error).__name__})"


def fit_length(audio_AN: Audio, samples: int) -> Audio:
    """Audio cut, or padded with silence, to `samples`."""
    missing = samples - audio_AN.shape[-1]
    return np.pad(audio_AN, ((0, 0), (0, missing))) if missing > 0 else audio_AN[:, :samples]


def frame_levels_dbfs(audio_AN: Audio, hop_samples: int) -> NDArray[np.float32]:
    """Level_T: RMS in dB below full scale of every `hop_samples` of audio, over all channels; silence is −120."""
    frames = audio_AN.shape[-1] // hop_samples
    audio_ATN = audio_AN[:, : frames * hop_samples].reshape(audio_AN.shape[0], frames, hop_samples)
    power_T = np.einsum("atn,atn->t", audio_ATN, audio_ATN) / (audio_AN.shape[0] * hop_samples)
    return (10.0 * np.log10(np.maximum(power_T, 10 ** (SILENCE_DBFS / 10)))).astype(np.float32)
