"""Miniature trees of published multi-track sets: the folders and names of the real ones, with seconds of sine tones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml

RATE_HZ = 8000
SECONDS = 1.0


def sine(tone_hz: float, seconds: float = SECONDS, rate_hz: int = RATE_HZ, channels: int = 1) -> np.ndarray:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.repeat(0.1 * np.sin(2 * np.pi * tone_hz * t)[:, None], channels, axis=1).astype(np.float32)


def write(path: Path, tone_hz: float, rate_hz: int = RATE_HZ, channels: int = 1, subtype: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sine(tone_hz, SECONDS, rate_hz, channels), rate_hz, subtype)
    return path


def musdb18hq(root: Path) -> Path:
    """Stereo WAV; no split for validation."""
    songs = [("train", f"Band - Song {i}") for i in range(4)] + [("test", "Chör & Co - Lied")]
    for number, (split, name) in enumerate(songs):
        for place, stem in enumerate(("mixture", "drums", "bass", "other", "vocals")):
            write(root / split / name / f"{stem}.wav", 100 + 50 * place + number, channels=2)
    return root


def moisesdb(root: Path) -> Path:
    """A folder of the provider, one per song, data.json, a folder per stem, a file per track."""
    tracks = {
        "drums": ["kick drum", "snare drum"],
        "other_keys": ["organ, electric organ", "synth pad"],
        "bass": ["bass guitar"],
        "vocals": ["lead male singer"],
        "other": ["click track"],
    }
    for pitch, song in enumerate(("0f1d5a3e", "7c2b9d41", "a8e4c6f2")):
        folder, stems = root / "moisesdb_v0.1" / song, []
        for number, (stem, kinds) in enumerate(tracks.items()):
            entries: list[dict[str, Any]] = []
            for place, kind in enumerate(kinds):
                identity = f"{song}-{number}{place}"
                write(
                    folder / stem / f"{identity}.wav",
                    100 * (number + 1) + 30 * place + pitch,
                    channels=2,
                    subtype="PCM_24",
                )
                entries.append({"trackType": kind, "id": identity, "extension": "wav", "has_bleed": False})
            stems.append({"id": f"stem-{number}", "stemName": stem, "tracks": entries})
        values = {"song": f"Song {song[0]}", "artist": "Artist", "genre": "rock", "stems": stems}
        (folder / "data.json").write_text(json.dumps(values))
    return root


def medleydb(root: Path) -> Path:
    """The first song has its metadata beside its audio, as in the first release; the others in a common folder."""
    instruments = {
        "S01": "electric bass",
        "S02": "drum set",
        "S03": "male singer",
        "S04": "Main System",
        "S05": "sampler",
    }
    for number, name in enumerate(("Artist_First", "Artist_Second", "Other_Third")):
        folder, stems = root / "Audio" / name, {}
        for place, (key, instrument) in enumerate(instruments.items()):
            file = f"{name}_STEM_{key[1:]}.wav"
            write(folder / f"{name}_STEMS" / file, 100 + 40 * place + number, channels=2)
            raw = {"R01": {"filename": f"{name}_RAW_{key[1:]}_01.wav", "instrument": instrument}}
            stems[key] = {"component": "", "filename": file, "instrument": instrument, "raw": raw}
        write(folder / f"{name}_MIX.wav", 700, channels=2)
        write(folder / f"{name}_RAW" / f"{name}_RAW_01_01.wav", 800)
        values = {"artist": "Artist", "title": name, "stem_dir": f"{name}_STEMS", "stems": stems, "version": 1.2}
        place = folder if number == 0 else root / "Metadata"
        place.mkdir(exist_ok=True)
        (place / f"{name}_METADATA.yaml").write_text(yaml.safe_dump(values))
    return root


def babyslakh(root: Path) -> Path:
    """Flat, WAV at 16 kHz, with MIDI files."""
    stems = {
        "S00": (128, "Drums", "Drums"),
        "S01": (33, "Electric Bass (finger)", "Bass"),
        "S02": (4, "Electric Piano 1", "Piano"),
    }
    for number in range(1, 5):
        folder = root / f"Track{number:05d}"
        entries = {
            key: {"audio_rendered": True, "inst_class": kind, "is_drum": program == 128, "midi_program_name": name,
                  "midi_saved": True, "plugin_name": "x.nkm", "program_num": program}
            for key, (program, name, kind) in stems.items()
        }  # fmt: skip
        for place, key in enumerate(stems):
            write(folder / "stems" / f"{key}.wav", 100 + 60 * place + number, rate_hz=16000)
        write(folder / "mix.wav", 500, rate_hz=16000)
        (folder / "MIDI").mkdir()
        (folder / "all_src.mid").write_bytes(f"MIDI {number}".encode())
        values = {"UUID": f"{number:032x}", "audio_dir": "stems", "midi_dir": "MIDI", "stems": entries}
        (folder / "metadata.yaml").write_text(yaml.safe_dump(values))
    return root


def folders(root: Path) -> Path:
    """What people have: every format, rate and number of channels, numbers in names, a folder of drum microphones."""
    for number in range(3):
        song = root / f"My Song {number}"
        write(song / "01_Kick_In.aiff", 60 + number)
        write(song / "drums" / "snare.wav", 180 + number, channels=2)
        write(song / "drums" / "overheads.wav", 900 + number, rate_hz=16000)
        write(song / "Bass DI.FLAC", 80 + number, subtype="PCM_24")
        write(song / "Lead Vox.mp3", 300 + number)
        write(song / "stems" / "Rhodes.ogg", 220 + number, channels=2)
        write(song / "Kazoo.wav", 500 + number, rate_hz=11025)
        write(song / "Full Mix.wav", 440 + number, channels=2)
        (song / "notes.txt").write_text("no sound")
        (song / ".DS_Store").write_bytes(b"x")
    return root
