"""The examination of one Slakh track folder: what can be used, and why the rest cannot."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml

from datamodules.annotations import MIDI, midi_is_lost, read_annotations
from datamodules.categories import category_of

AUDIO_SUFFIXES = (".flac", ".wav")
BLOCK_SAMPLES = 1 << 20
PROBE_BYTES = 1 << 16
FACTS = ("metadata.yaml", "annotations.json", MIDI)
"""The files about a song besides its audio."""


@dataclass(frozen=True)
class Stem:
    """One usable stem of a song.

    Args:
        name: its key in metadata.yaml, "S00".
        file: path of its audio relative to the song's folder.
        category: class index, 0–17 into `livejam.batch.CATEGORIES`.
        description: the name of the MIDI program.
    """

    name: str
    file: str
    category: int
    description: str


@dataclass(frozen=True)
class Song:
    """One song with at least one usable stem.

    Args:
        name: the name of its folder, "Track00001".
        folder: its folder relative to the data set's root.
        split_folder: the split folder in which it lies; None in a flat data set.
        sample_rate_hz: rate of its stems in Hz.
        seconds: duration of its longest stem in seconds.
        digest: a digest that changes when a usable stem's file is replaced, and when the files about the song change.
        name_digest: a digest that changes when a usable stem's file changes its name or size; older banks have only
            this one.
        stems: the usable stems, by name.
    """

    name: str
    folder: str
    split_folder: str | None
    sample_rate_hz: int
    seconds: float
    digest: str
    name_digest: str
    stems: tuple[Stem, ...]


@dataclass(frozen=True)
class Refusal:
    """Something that cannot be used, and why; `stem` is None for a whole song, or the name of the MIDI file."""

    song: str
    stem: str | None
    reason: str


@dataclass(frozen=True)
class _File:
    rate_hz: int
    samples: int
    size: int


class _RefusedError(Exception):
    """The reason why a song or a stem cannot be used."""


def fingerprint(folder: Path) -> str:
    """A digest that changes when a file of the track is added, removed or rewritten (names, sizes and times)."""
    rows = []
    for directory in (folder, *sorted(p for p in folder.iterdir() if p.is_dir() and p.name != "MIDI")):
        for entry in os.scandir(directory):
            if entry.is_file():
                status = entry.stat()
                rows.append(f"{directory.name}/{entry.name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()[:16]


def scan_track(folder: Path, root: Path, split_folder: str | None, deep: bool) -> tuple[Song | None, list[Refusal]]:
    """The usable part of a track folder, and everything refused with its reason.

    Args:
        folder: the track folder.
        root: the data set's root.
        split_folder: the split folder that holds the track; None in a flat data set.
        deep: decode every stem to the end, look for numbers that are not finite, and read the MIDI file (slow).
    """
    refusals: list[Refusal] = []
    refuse = lambda stem, reason: refusals.append(Refusal(folder.name, stem, str(reason)))  # noqa: E731
    files: dict[str, _File] = {}
    stems: list[Stem] = []
    try:
        metadata = read_metadata(folder / "metadata.yaml")
        audio_folder = _audio_folder(folder, metadata.get("audio_dir"))
    except _RefusedError as reason:
        return None, [Refusal(folder.name, None, str(reason))]
    for name, entry in sorted(metadata["stems"].items()):
        try:
            path = _stem_file(audio_folder, str(name), entry)
            files[str(name)] = _check_audio(path, deep)
            stems.append(_stem(str(name), path.relative_to(folder), entry))
        except _RefusedError as reason:
            refuse(str(name), reason)
    stems, rate_hz = _of_one_rate(stems, files, refuse)
    if not stems:
        refuse(None, "it has no usable stem")
        return None, refusals
    if deep and _midi_is_unreadable(folder):
        refuse(MIDI, "it cannot be read, so the song's beats are not known")
    rows = [f"{stem.name} {stem.file} {files[stem.name].size}" for stem in stems]
    song = Song(
        name=folder.name,
        folder=folder.relative_to(root).as_posix(),
        split_folder=split_folder,
        sample_rate_hz=rate_hz,
        seconds=max(files[stem.name].samples for stem in stems) / rate_hz,
        digest=_content_digest(folder, stems),
        name_digest=hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16],
        stems=tuple(stems),
    )
    return song, refusals


def _midi_is_unreadable(folder: Path) -> bool:
    return not (folder / "annotations.json").is_file() and read_annotations(folder) is None and midi_is_lost(folder)


def _content_digest(folder: Path, stems: list[Stem]) -> str:
    """A digest of the used stems, and of the files that describe them and their beats.

    It covers each file's name, its size, and its content at the beginning, the middle and the end. For a FLAC file that
    includes the hash of all its samples.
    """
    digest = hashlib.sha256()
    for name in (*FACTS, *(stem.file for stem in stems)):
        if (folder / name).is_file():
            size = (folder / name).stat().st_size
            digest.update(f"{name} {size}\n".encode())
            with (folder / name).open("rb") as file:
                for place in sorted({0, max(0, size - PROBE_BYTES) // 2, max(0, size - PROBE_BYTES)}):
                    file.seek(place)
                    digest.update(file.read(PROBE_BYTES))
    return digest.hexdigest()[:16]


def read_metadata(path: Path) -> dict[str, Any]:
    """metadata.yaml as a mapping with "stems"; a stray first character, as some tracks have it, is dropped."""
    if not path.is_file():
        raise _RefusedError("metadata.yaml is missing")
    text = path.read_text(encoding="utf-8", errors="replace")
    for candidate in (text, text[1:]):
        try:
            metadata = yaml.load(candidate, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.YAMLError:
            continue
        if isinstance(metadata, dict) and isinstance(metadata.get("stems"), dict):
            return metadata
    raise _RefusedError("metadata.yaml is damaged or lists no stems")


def _audio_folder(folder: Path, audio_dir: object) -> Path:
    # some tracks name a wrong audio_dir; only its last part is used, so that no path leads elsewhere
    candidates = [folder / "stems", folder / Path(str(audio_dir or "stems")).name]
    found = next((candidate for candidate in candidates if candidate.is_dir()), None)
    if found is None:
        raise _RefusedError(f"it has no folder stems, and audio_dir {audio_dir!r} does not exist either")
    return found


def _stem_file(audio_folder: Path, name: str, entry: object) -> Path:
    if not isinstance(entry, dict):
        raise _RefusedError("its entry in metadata.yaml is damaged")
    if Path(name).name != name:
        raise _RefusedError("its name is not a file name")
    candidates = [audio_folder / f"{name}{suffix}" for suffix in AUDIO_SUFFIXES]
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is None:
        unrendered = entry.get("audio_rendered") is False
        raise _RefusedError("audio_rendered is false" if unrendered else "its audio file is missing")
    return found


def _stem(name: str, file: Path, entry: dict[str, Any]) -> Stem:
    program = entry.get("program_num")
    category = category_of(program if isinstance(program, int) else None, entry.get("is_drum") is True)
    description = entry.get("midi_program_name") or entry.get("inst_class") or "unknown"
    return Stem(name, file.as_posix(), category, str(description))


def _check_audio(path: Path, deep: bool) -> _File:
    """Header and last sample of a file; with `deep`, every sample."""
    size = path.stat().st_size
    if size == 0:
        raise _RefusedError("its audio file is empty")
    try:
        with soundfile.SoundFile(str(path)) as file:
            if file.frames == 0:
                raise _RefusedError("its audio has no samples")
            if deep:
                _check_every_sample(file)
            # a truncated FLAC file still has an intact header, but its end cannot be read
            file.seek(file.frames - 1)
            if len(file.read(1)) != 1:
                raise _RefusedError("its audio is truncated")
            return _File(file.samplerate, file.frames, size)
    except soundfile.SoundFileError as error:
        raise _RefusedError("its audio is truncated or cannot be decoded") from error


def _check_every_sample(file: soundfile.SoundFile) -> None:
    for block in file.blocks(BLOCK_SAMPLES, dtype="float32"):
        if not np.isfinite(block).all():
            raise _RefusedError("its audio holds numbers that are not finite")


def _of_one_rate(stems: list[Stem], files: dict[str, _File], refuse: Any) -> tuple[list[Stem], int]:
    """The stems with the most common sample rate; the others are refused."""
    rates = [files[stem.name].rate_hz for stem in stems]
    if not rates:
        return [], 0
    usual = max(sorted(set(rates)), key=rates.count)
    for stem, rate in zip(stems, rates, strict=True):
        if rate != usual:
            refuse(stem.name, f"its rate is {rate} Hz, the song's is {usual} Hz")
    return [stem for stem, rate in zip(stems, rates, strict=True) if rate == usual], usual
