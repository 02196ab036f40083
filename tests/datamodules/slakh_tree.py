"""Tiny data sets in Slakh2100's format, and a codec that costs nothing, for tests of everything that reads data.

Shapes: B batch, T latent frames, C latent channels, A audio channels, N audio samples.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import yaml
from torch import Tensor

from livejam.codecs.codec import Codec
from livejam.spec import CodecSpec

RATE_HZ = 8000
HOP = 256
SECONDS = 2.0

PROGRAMS = {"S00": 128, "S01": 33, "S02": 0, "S03": 48}
"""Drums, bass, piano, strings."""


def tone_hz(song: int, stem: int) -> float:
    """Every stem of every song plays its own steady tone, on the centre of a bin of `HOP` samples."""
    return (3 + 7 * stem + 2 * song) * RATE_HZ / HOP


def tone(song: int, stem: int, seconds: float = SECONDS, rate_hz: int = RATE_HZ) -> np.ndarray:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.1 * np.sin(2 * np.pi * tone_hz(song, stem) * t)).astype(np.float32)


def write_song(
    folder: Path,
    audio: dict[str, np.ndarray],
    rate_hz: int = RATE_HZ,
    programs: dict[str, int] = PROGRAMS,
    suffix: str = ".flac",
    annotations: bool = True,
) -> None:
    """One track folder with the given stems."""
    (folder / "stems").mkdir(parents=True)
    for name, samples in audio.items():
        soundfile.write(folder / "stems" / f"{name}{suffix}", samples, rate_hz, subtype="PCM_16")
    write_metadata(folder, {name: programs.get(name, 0) for name in audio})
    if annotations:
        seconds = max(len(samples) for samples in audio.values()) / rate_hz
        beats = np.arange(0, seconds, 0.5).tolist()
        chord = {"start": 0.0, "end": seconds, "label": "C", "pitch_classes": [0, 4, 7]}
        values = {"tempo_bpm": 120.0, "beats": beats, "downbeats": beats[::4], "chords": [chord]}
        (folder / "annotations.json").write_text(json.dumps(values))


def write_metadata(folder: Path, programs: dict[str, int], prefix: str = "", **more: Any) -> None:
    """metadata.yaml with Slakh2100's keys."""
    stems = {
        name: {
            "audio_rendered": True,
            "inst_class": "Drums" if program == 128 else "Other",
            "integrated_loudness": -20.0,
            "is_drum": program == 128,
            "midi_program_name": f"program {program}",
            "midi_saved": True,
            "plugin_name": "tones",
            "program_num": program,
        }
        for name, program in programs.items()
    }
    uuid = hashlib.md5(folder.name.encode()).hexdigest()
    values = {"UUID": uuid, "audio_dir": "stems", "midi_dir": "MIDI", "stems": stems, **more}
    (folder / "metadata.yaml").write_text(prefix + yaml.safe_dump(values))


def write_tree(root: Path, train: int = 3, validation: int = 1, test: int = 1, seconds: float = SECONDS) -> Path:
    """A data set of steady tones in split folders; returns its root."""
    number = 0
    for split, count in (("train", train), ("validation", validation), ("test", test)):
        for _ in range(count):
            number += 1
            audio = {name: tone(number, i, seconds) for i, name in enumerate(PROGRAMS)}
            write_song(root / split / f"Track{number:05d}", audio)
    return root


@dataclass(frozen=True)
class NoState:
    """A codec without memory has none."""


class FrameCodec(Codec[NoState, NoState]):
    """Every frame through a fixed random matrix: linear, without memory, and with an exact inverse.

    So the audio of an item can be recovered from its latents, and what sounds in it can be proved.
    """

    def __init__(self, seed: int = 0, name: str = "frames", hop_samples: int = HOP, audio_channels: int = 1) -> None:
        super().__init__()
        self.spec = CodecSpec(name, RATE_HZ, audio_channels, hop_samples, hop_samples, 0)
        rng = torch.Generator().manual_seed(seed)
        matrix = torch.randn(hop_samples, hop_samples, generator=rng, dtype=torch.float64)
        self.register_buffer("matrix_CC", torch.linalg.qr(matrix)[0].float())

    def encode(self, audio_BAN: Tensor) -> Tensor:
        batch, _, samples = audio_BAN.shape
        return audio_BAN.mean(1).reshape(batch, samples // self.spec.hop_samples, -1) @ self.matrix_CC

    def decode(self, latents_BTC: Tensor) -> Tensor:
        audio_BN = (latents_BTC @ self.matrix_CC.mT).flatten(1)
        return audio_BN[:, None].expand(-1, self.spec.audio_channels, -1)

    def init_encoder_state(self, batch_size: int) -> NoState:
        return NoState()

    def encode_step(self, audio_BAN: Tensor, state: NoState) -> tuple[Tensor, NoState]:
        return self.encode(audio_BAN), state

    def init_decoder_state(self, batch_size: int) -> NoState:
        return NoState()

    def decode_step(self, latents_BTC: Tensor, state: NoState) -> tuple[Tensor, NoState]:
        return self.decode(latents_BTC), state
