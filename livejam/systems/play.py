"""Play along with a recording, step by step, exactly as a server would.

Shapes: B batch, T latent frames, C latent channels, A audio channels, N audio samples.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
import torch

from livejam.accompanist import Controls, accompany
from livejam.checkpoints.player import Player
from livejam.errors import UserError, require_finite_sound
from livejam.files import atomic_path
from livejam.instruments import require_learnt
from livejam.spec import CodecSpec


@dataclass(frozen=True)
class Performance:
    """A performance: stem and mix (N × A, in [-1, 1]), and its speed."""

    stem_NA: npt.NDArray[Any]
    mix_NA: npt.NDArray[Any]
    sample_rate_hz: int
    real_time_factor: float


def play_file(player: Player, mix: Path, instrument: int, seed: int) -> Performance:
    """Hear a recording and play one instrument to it.

    Args:
        player: model and codec.
        mix: a WAV or FLAC of any rate and any number of channels.
        instrument: class index, 0–17, 18 = the model chooses; it must be one that the model learnt.
        seed: seed of the model's noise; equal seeds give equal notes.

    Raises:
        UserError: the recording is missing, unreadable, empty or not finite, the model never learnt the instrument,
            or its output is not finite.
    """
    require_learnt(instrument, player.instruments)
    spec = player.codec.spec
    mix_NA = read_audio(mix, spec)
    samples = len(mix_NA)
    padding = -samples % spec.samples_in(player.accompanist.block_frames)
    mix_BAN = torch.from_numpy(np.pad(mix_NA, ((0, padding), (0, 0))).T[None].copy())
    started = time.perf_counter()
    with torch.inference_mode():
        controls = Controls(torch.tensor([instrument]), torch.tensor([seed]))
        stem_BTC = accompany(player.accompanist, player.codec.encode(mix_BAN), controls, player.silence_C)
        stem_AN = player.codec.decode(stem_BTC)[0]
        require_finite_sound(stem_AN, "the model")
        stem_NA = stem_AN.T.clamp(-1, 1).numpy()[:samples]
    seconds = time.perf_counter() - started
    return Performance(stem_NA, mix_NA, spec.sample_rate_hz, samples / spec.sample_rate_hz / seconds)


def read_audio(path: Path, spec: CodecSpec) -> npt.NDArray[np.float32]:
    """A recording at the codec's rate and with its channels (N × A).

    Raises:
        UserError: the recording is missing, unreadable, empty or not finite.
    """
    if not path.is_file():
        raise UserError(f"there is no recording {path}; give a WAV or FLAC file")
    try:
        audio_NA, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise UserError(f"{path} cannot be read as audio ({error}); give a WAV or FLAC file") from error
    if len(audio_NA) == 0 or not np.isfinite(audio_NA).all():
        raise UserError(f"{path} is empty or holds samples that are not finite; export it again")
    if audio_NA.shape[1] != spec.audio_channels:
        audio_NA = audio_NA.mean(axis=1, keepdims=True).repeat(spec.audio_channels, axis=1)
    return np.asarray(soxr.resample(audio_NA, rate, spec.sample_rate_hz), dtype=np.float32)


def write_audio(path: Path, audio_NA: npt.NDArray[Any], sample_rate_hz: int) -> None:
    """Write a WAV or FLAC file, completely or not at all.

    Raises:
        UserError: the file name does not end in an audio format, or the disk is full.
    """
    require_audio_name(path)
    with atomic_path(path) as temporary:
        soundfile.write(temporary, audio_NA, sample_rate_hz)


def require_audio_name(path: Path) -> None:
    """Refuse a file name that does not end in an audio format.

    Raises:
        UserError: suggests a name.
    """
    if path.suffix[1:].upper() not in soundfile.available_formats():
        raise UserError(f"{path.name} does not end in an audio format; call it {path.stem}.wav")
