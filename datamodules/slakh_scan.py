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
from datamodules.foreign_files import ForeignFileError, is_file_name, parse_yaml, read_text
from datamodules.white_noise import WhiteNoiseDetector
from livejam.batch import CATEGORIES

AUDIO_SUFFIXES = (".flac", ".wav", ".aiff", ".aif", ".ogg", ".mp3")
"""Formats in which a stem may stand, in capitals too, the preferred one first; any place in them is found exactly."""

BLOCK_SAMPLES = 1 << 20
MOST_MIDI_BYTES = 1 << 24
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
        uuid: the UUID of its metadata, in Slakh2100 that of the Lakh MIDI file; empty where there is none.
        midi_md5: MD5 of its MIDI file; empty where there is none.
        stems: the usable stems, by name.
    """

    name: str
    folder: str
    split_folder: str | None
    sample_rate_hz: int
    seconds: float
    digest: str
    name_digest: str
    uuid: str
    midi_md5: str
    stems: tuple[Stem, ...]


@dataclass(frozen=True)
class Refusal:
    """Something that cannot be used, and why; `stem` is None for a whole song, or the name of the MIDI file."""

    song: str
    stem: str | None
    reason: str


@dataclass(frozen=True)
class AudioFile:
    """What the header of a readable sound file says: rate in Hz, samples and size in bytes."""

    rate_hz: int
    samples: int
    size: int


class RefusedError(Exception):
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
    files: dict[str, AudioFile] = {}
    stems: list[Stem] = []
    try:
        metadata = read_metadata(folder / "metadata.yaml")
        audio_folder = _audio_folder(folder, metadata.get("audio_dir"))
    except RefusedError as reason:
        return None, [Refusal(folder.name, None, str(reason))]
    for name, entry in sorted(metadata["stems"].items()):
        try:
            path = _stem_file(audio_folder, str(name), entry)
            files[str(name)] = check_audio(path, deep)
            stems.append(_stem(str(name), path.relative_to(folder), entry))
        except RefusedError as reason:
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
        uuid=_uuid(metadata.get("UUID")),
        midi_md5=_midi_md5(folder / MIDI),
        stems=tuple(stems),
    )
    return song, refusals


def _uuid(value: object) -> str:
    return value.strip().lower() if isinstance(value, str) else ""


def _midi_md5(path: Path) -> str:
    if not path.is_file() or not 0 < path.stat().st_size <= MOST_MIDI_BYTES:
        return ""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _midi_is_unreadable(folder: Path) -> bool:
    return not (folder / "annotations.json").is_file() and read_annotations(folder) is None and midi_is_lost(folder)


def _content_digest(folder: Path, stems: list[Stem]) -> str:
    """A digest of the used stems, and of the files that describe them and their beats.

    It covers each file's name, its size, and its content at the beginning, the middle and the end.
    """
    digest = hashlib.sha256()
    for name in (*FACTS, *(stem.file for stem in stems)):
        if (folder / name).is_file():
            size = (folder / name).stat().st_size
            digest.update(f"{name} {size}\n".encode() + probe(folder / name))
    return digest.hexdigest()[:16]


def probe(path: Path) -> bytes:
    """A file's beginning, middle and end. For a FLAC file that includes the hash of all its samples."""
    size = path.stat().st_size
    with path.open("rb") as file:
        return b"".join(
            file.read(PROBE_BYTES)
            for place in sorted({0, max(0, size - PROBE_BYTES) // 2, max(0, size - PROBE_BYTES)})
            if file.seek(place) == place
        )


def read_metadata(path: Path) -> dict[str, Any]:
    """metadata.yaml as a mapping with "stems"; a stray first character, as some tracks have it, is dropped."""
    try:
        text = read_text(path)
    except ForeignFileError as reason:
        raise RefusedError(str(reason)) from reason
    for candidate in (text, text[1:]):
        try:
            metadata = parse_yaml(candidate)
        except yaml.YAMLError:
            continue
        if isinstance(metadata, dict) and isinstance(metadata.get("stems"), dict):
            return metadata
    raise RefusedError("metadata.yaml is damaged or lists no stems")


def _audio_folder(folder: Path, audio_dir: object) -> Path:
    # some tracks name a wrong audio_dir; only its last part is used, so that no path leads elsewhere
    said = Path(audio_dir).name if isinstance(audio_dir, str) else ""
    folders = {entry.name: entry for entry in sorted(folder.iterdir()) if entry.is_dir()}
    alike = [entry for name, entry in folders.items() if name.lower() == "stems"]
    found = next((entry for entry in (folders.get("stems"), *alike, folders.get(said)) if entry), None)
    if found is None:
        raise RefusedError(f"it has no folder stems, and audio_dir {said!r} does not exist either")
    return found


def _stem_file(audio_folder: Path, name: str, entry: object) -> Path:
    if not isinstance(entry, dict):
        raise RefusedError("its entry in metadata.yaml is damaged")
    if not is_file_name(name):
        raise RefusedError("its name is not a file name")
    candidates = [path for path in audio_folder.iterdir() if path.stem == name]
    playable = [path for path in candidates if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()]
    if playable:
        return min(playable, key=lambda path: (AUDIO_SUFFIXES.index(path.suffix.lower()), path.name))
    raise RefusedError(_why_there_is_no_audio(candidates, entry))


def _why_there_is_no_audio(candidates: list[Path], entry: dict[str, Any]) -> str:
    if entry.get("audio_rendered") is False:
        return "audio_rendered is false"
    lost = next((path for path in candidates if path.is_symlink() and not path.exists()), None)
    if lost is not None:
        return f"it is a link to {os.readlink(lost)}, which is gone"
    known = ", ".join(AUDIO_SUFFIXES)
    return (
        f"its audio file is {candidates[0].name}, which is none of {known}"
        if candidates
        else (f"its audio file is missing (any of {known})")
    )


def _stem(name: str, file: Path, entry: dict[str, Any]) -> Stem:
    program, category = entry.get("program_num"), entry.get("category")
    if category in CATEGORIES:
        index = CATEGORIES.index(category)
    else:
        index = category_of(program if isinstance(program, int) else None, entry.get("is_drum") is True)
    words = (entry.get("midi_program_name"), entry.get("inst_class"))
    description = next((word for word in words if isinstance(word, str) and word), "unknown")
    return Stem(name, file.as_posix(), index, description)


def check_audio(path: Path, deep: bool) -> AudioFile:
    """Header and last sample of a file; with `deep`, every sample.

    Raises:
        RefusedError: the reason why it cannot be used.
    """
    size = path.stat().st_size
    if size == 0:
        raise RefusedError("its audio file is empty")
    try:
        with soundfile.SoundFile(str(path)) as file:
            if file.frames == 0:
                raise RefusedError("its audio has no samples")
            if deep:
                _check_every_sample(file)
            # a truncated FLAC file still has an intact header, but its end cannot be read
            file.seek(file.frames - 1)
            if len(file.read(1)) != 1:
                raise RefusedError("its audio is truncated")
            return AudioFile(file.samplerate, file.frames, size)
    except soundfile.SoundFileError as error:
        raise RefusedError("its audio is truncated or cannot be decoded") from error


def _check_every_sample(file: soundfile.SoundFile) -> None:
    detector = WhiteNoiseDetector()
    for block_NA in file.blocks(BLOCK_SAMPLES, dtype="float32", always_2d=True):
        if not np.isfinite(block_NA).all():
            raise RefusedError("its audio holds numbers that are not finite")
        detector.add(block_NA)
    if detector.is_white_noise():
        raise RefusedError(f"its audio is steady white noise (spectral flatness {detector.flatness:.2f})")


def _of_one_rate(stems: list[Stem], files: dict[str, AudioFile], refuse: Any) -> tuple[list[Stem], int]:
    """The stems with the most common sample rate; the others are refused."""
    rates = [files[stem.name].rate_hz for stem in stems]
    if not rates:
        return [], 0
    usual = max(sorted(set(rates)), key=rates.count)
    for stem, rate in zip(stems, rates, strict=True):
        if rate != usual:
            refuse(stem.name, f"its rate is {rate} Hz, the song's is {usual} Hz")
    return [stem for stem, rate in zip(stems, rates, strict=True) if rate == usual], usual
