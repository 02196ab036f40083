"""Recordings on disk, read and written piece by piece, so that their length does not matter.

Shapes: A audio channels, N audio samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from livejam.errors import UserError
from livejam.files import atomic_path

Audio = npt.NDArray[np.float32]

SCANNED_SAMPLES = 1 << 20
FLOAT = "FLOAT"
"""The subtype of files that hold samples beyond ±1."""


@dataclass(frozen=True)
class Recording:
    """A sound file that can be read to its end.

    Args:
        path: the file.
        sample_rate_hz: its rate.
        channels: its channels.
        samples: samples per channel, at least one.
    """

    path: Path
    sample_rate_hz: int
    channels: int
    samples: int

    @property
    def seconds(self) -> float:
        """Its duration."""
        return self.samples / self.sample_rate_hz

    def blocks(self, samples: int) -> Iterator[Audio]:
        """The sound in blocks AN of so many samples; the last one may be shorter."""
        with soundfile.SoundFile(self.path) as file:
            for block_NA in file.blocks(samples, dtype="float32", always_2d=True):
                yield np.ascontiguousarray(block_NA.T)

    def beginning(self, seconds: float) -> Audio:
        """The first seconds AN, or all of a shorter recording."""
        samples = max(1, round(seconds * self.sample_rate_hz))
        return next(self.blocks(samples))


def open_recording(path: Path) -> Recording:
    """A recording, after all of it was read once.

    Raises:
        UserError: it is missing, unreadable or empty, or holds samples that are not finite.
    """
    samples = 0
    with opened(path) as file:
        for block_NA in file.blocks(SCANNED_SAMPLES, dtype="float32", always_2d=True):
            require_finite(path, block_NA, samples / file.samplerate)
            samples += len(block_NA)
        return Recording(path, file.samplerate, file.channels, samples)


@contextmanager
def opened(path: Path) -> Iterator[soundfile.SoundFile]:
    """A sound file that holds at least one sample.

    Raises:
        UserError: it is missing, unreadable or empty.
    """
    if not path.is_file():
        raise UserError(f"there is no recording {path}; give a WAV or FLAC file")
    try:
        with soundfile.SoundFile(path) as file:
            if not file.frames:
                raise UserError(f"{path} is empty; export it again")
            yield file
    except soundfile.SoundFileError as error:
        raise UserError(f"{path} cannot be read as audio ({error}); give a WAV or FLAC file") from error


def require_finite(path: Path, block_NA: npt.NDArray[Any], start_seconds: float) -> None:
    """Refuse a recording with samples that are not finite.

    Args:
        path: the recording.
        block_NA: a part of it.
        start_seconds: where the part begins.

    Raises:
        UserError: there is such a sample.
    """
    if not np.isfinite(block_NA).all():
        raise UserError(f"{path} holds samples that are not finite after second {start_seconds:.0f}; export it again")


def require_audio_name(path: Path) -> None:
    """Refuse a file name that does not end in an audio format.

    Raises:
        UserError: suggests a name.
    """
    if path.suffix[1:].upper() not in soundfile.available_formats():
        raise UserError(f"{path.name} does not end in an audio format; call it {path.stem}.wav")


Write = Callable[[npt.NDArray[Any]], None]
"""Takes the next samples AN of a file that is being written."""


@contextmanager
def audio_writer(path: Path, sample_rate_hz: int, channels: int, subtype: str | None = None) -> Iterator[Write]:
    """Write a sound file, whole or not at all; samples beyond ±1 are clipped, unless they are kept as FLOAT.

    Args:
        path: the file, whose name ends in its format.
        sample_rate_hz: its rate.
        channels: its channels.
        subtype: what its samples are, in soundfile's words; None = the format's own choice, 16 bits for WAV and FLAC.

    Raises:
        UserError: its name ends in no audio format, or the disk is full.
    """
    require_audio_name(path)
    with atomic_path(path) as temporary:
        try:
            with soundfile.SoundFile(temporary, "w", sample_rate_hz, channels, subtype) as file:
                limit = np.inf if subtype == FLOAT else 1
                yield lambda audio_AN: file.write(np.clip(audio_AN.T, -limit, limit))
        except soundfile.LibsndfileError as error:
            raise UserError(
                f"{path} cannot be written ({error}); the disk may be full: free some space and start again"
            ) from error
