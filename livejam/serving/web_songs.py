"""Demo songs for the page, mixed without the stems that the model is asked to play.

Shapes: N audio samples.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from livejam.streaming.rings import Audio

LONGEST_SECONDS = 60.0
FADE_SECONDS = 1.0


@dataclass(frozen=True)
class DemoStem:
    """A stem of a song.

    Args:
        instrument: the name of its category.
        path: its recording.
    """

    instrument: str
    path: Path


@dataclass(frozen=True)
class DemoSong:
    """A song that a visitor can play to the model.

    Args:
        title: for people.
        stems: all of them; their sum is the song.
    """

    title: str
    stems: tuple[DemoStem, ...]

    @property
    def instruments(self) -> tuple[str, ...]:
        """What plays in it, each once."""
        return tuple(dict.fromkeys(stem.instrument for stem in self.stems))


def mixed(song: DemoSong, without: Collection[str], sample_rate_hz: int) -> bytes:
    """The beginning of a song without some instruments, as a mono FLAC file.

    Args:
        song: the song.
        without: instruments that are left out; if all would be, none is.
        sample_rate_hz: of the file.
    """
    stems = [stem for stem in song.stems if stem.instrument not in without] or list(song.stems)
    audio_N = np.zeros(round(LONGEST_SECONDS * sample_rate_hz), dtype=np.float32)
    longest = 0
    for stem in stems:
        stem_N = _beginning(stem.path, sample_rate_hz)[: len(audio_N)]
        audio_N[: len(stem_N)] += stem_N
        longest = max(longest, len(stem_N))
    fade = min(longest, round(FADE_SECONDS * sample_rate_hz))
    audio_N[longest - fade : longest] *= np.linspace(1, 0, fade, dtype=np.float32)
    file = io.BytesIO()
    soundfile.write(file, np.clip(audio_N[:longest], -1, 1), sample_rate_hz, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _beginning(path: Path, sample_rate_hz: int) -> Audio:
    """The first minute of a recording, mono, at another rate."""
    with soundfile.SoundFile(path) as file:
        audio_NA = file.read(round(LONGEST_SECONDS * file.samplerate), dtype="float32", always_2d=True)
        rate = file.samplerate
    audio_N: Audio = soxr.resample(audio_NA.mean(axis=1), rate, sample_rate_hz).astype(np.float32)
    return audio_N
