"""One song into Slakh2100's layout: links where a recording can stay as it is, FLAC where it cannot.

Shapes: A audio channels, N audio samples.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import yaml

from datamodules.audio import Audio
from datamodules.categories import DRUM_PROGRAM, PERCUSSIVE, PROGRAMS_PER_CATEGORY, VOCAL
from datamodules.importing.found import Source
from datamodules.importing.layouts import MIX
from datamodules.importing.planning import PlannedSong, PlannedStem
from datamodules.slakh_scan import AUDIO_SUFFIXES, RefusedError, probe
from datamodules.song_folder import atomic_folder
from livejam.audio_files import FLOAT, audio_writer
from livejam.batch import CATEGORIES

BLOCK_SAMPLES = 1 << 18
SUM_SUBTYPE = "PCM_24"
METADATA = "metadata.yaml"


def write_song(folder: Path, song: PlannedSong, source: Source, origin: str) -> int:
    """Write a song, whole or not at all.

    Args:
        folder: the song's new folder.
        song: what to write.
        source: where it comes from.
        origin: the collection and the song's place in it, for its metadata.

    Returns:
        How many stems had to be written because a link would not do.
    """
    written = 0
    with atomic_folder(folder) as temporary:
        (temporary / "stems").mkdir()
        for number, stem in enumerate(song.stems):
            written += not _place(temporary / "stems" / f"S{number:02d}", stem, song.rate_hz)
        for name, path in song.found.extras.items():
            _link_extra(temporary, name, path, source)
        values = _metadata(song, origin)
        (temporary / METADATA).write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    return written


def link(path: Path, target: Path) -> None:
    """A link to where a file really lies; a copy on disks that have no links."""
    real = Path(os.path.realpath(target))
    try:
        path.symlink_to(real)
    except OSError:
        shutil.copyfile(real, path)


def _place(path: Path, stem: PlannedStem, rate_hz: int) -> bool:
    """A stem's recording at `path` with a suffix; whether a link did."""
    suffix = stem.files[0].suffix.lower()
    if len(stem.files) == 1 and stem.audio[0].rate_hz == rate_hz and suffix in AUDIO_SUFFIXES:
        link(path.with_name(path.name + suffix), stem.files[0])
        return True
    write_sum(path, stem.files, rate_hz)
    return False


def _link_extra(folder: Path, name: str, path: Path, source: Source) -> None:
    try:
        source.require(path)
    # the song is good without it
    except RefusedError:
        return
    link(folder / (f"{MIX}{path.suffix.lower()}" if name == MIX else name), path)


def write_sum(path: Path, files: tuple[Path, ...], rate_hz: int) -> None:
    """The sum of recordings at one rate: FLAC of 24 bits, or WAV of floats where it exceeds full scale.

    Args:
        path: the new file without its suffix.
        files: the recordings, of any rates and channels; the shorter ones end in silence.
        rate_hz: rate of the sum in Hz.
    """
    channels = 1 if all(soundfile.info(str(file)).channels == 1 for file in files) else 2
    flac = path.with_name(f"{path.name}.flac")
    if _write_sum(flac, files, rate_hz, channels, SUM_SUBTYPE) > 1:
        flac.unlink()
        _write_sum(path.with_name(f"{path.name}.wav"), files, rate_hz, channels, FLOAT)


def _write_sum(path: Path, files: tuple[Path, ...], rate_hz: int, channels: int, subtype: str) -> float:
    """Write it and give its peak; beyond it, the file is clipped unless it holds floats."""
    peak = 0.0
    with audio_writer(path, rate_hz, channels, subtype) as write:
        for block_AN in _sum_blocks([_blocks(file, rate_hz, channels) for file in files]):
            peak = max(peak, float(np.abs(block_AN).max(initial=0)))
            write(block_AN)
    return peak


def _sum_blocks(recordings: list[Iterator[Audio]]) -> Iterator[Audio]:
    """Sums of blocks, each but a recording's last of `BLOCK_SAMPLES`, until the longest ends."""
    while blocks := [block for recording in recordings if (block := next(recording, None)) is not None]:
        total_AN = np.zeros((blocks[0].shape[0], max(block.shape[1] for block in blocks)), np.float32)
        for block_AN in blocks:
            total_AN[:, : block_AN.shape[1]] += block_AN
        yield total_AN


def _blocks(path: Path, rate_hz: int, channels: int) -> Iterator[Audio]:
    """A recording AN at another rate, in blocks of `BLOCK_SAMPLES`."""
    rest_AN = np.zeros((channels, 0), np.float32)
    for piece_AN in _resampled(path, rate_hz, channels):
        rest_AN = np.concatenate([rest_AN, piece_AN], axis=1)
        while rest_AN.shape[1] >= BLOCK_SAMPLES:
            yield rest_AN[:, :BLOCK_SAMPLES]
            rest_AN = rest_AN[:, BLOCK_SAMPLES:]
    if rest_AN.shape[1]:
        yield rest_AN


def _resampled(path: Path, rate_hz: int, channels: int) -> Iterator[Audio]:
    with soundfile.SoundFile(str(path)) as file:
        blocks = (_with_channels(block_NA, channels) for block_NA in _native_blocks(file))
        if file.samplerate == rate_hz:
            yield from (block_NA.T for block_NA in blocks)
            return
        stream = soxr.ResampleStream(file.samplerate, rate_hz, channels, dtype="float32", quality="VHQ")
        yield from (stream.resample_chunk(block_NA).reshape(-1, channels).T for block_NA in blocks)
        empty_NA = np.zeros((0, channels), np.float32)
        yield stream.resample_chunk(empty_NA, last=True).reshape(-1, channels).T


def _native_blocks(file: soundfile.SoundFile) -> Iterator[Audio]:
    yield from file.blocks(BLOCK_SAMPLES, dtype="float32", always_2d=True)


def _with_channels(block_NA: Audio, channels: int) -> Audio:
    if block_NA.shape[1] != channels:
        block_NA = block_NA.mean(axis=1, keepdims=True, dtype=np.float32)
    return np.ascontiguousarray(np.broadcast_to(block_NA, (block_NA.shape[0], channels)))


def _metadata(song: PlannedSong, origin: str) -> dict[str, Any]:
    """Slakh2100's metadata.yaml, with the category of every stem, which a program cannot say of voices."""
    return {
        "UUID": song.found.uuid or _uuid(song),
        "audio_dir": "stems",
        "midi_dir": "MIDI",
        "title": song.found.title,
        "origin": origin,
        "stems": {f"S{number:02d}": _stem_entry(stem) for number, stem in enumerate(song.stems)},
    }


def _stem_entry(stem: PlannedStem) -> dict[str, Any]:
    percussive = stem.category == PERCUSSIVE
    program = DRUM_PROGRAM if percussive else stem.category * PROGRAMS_PER_CATEGORY
    return {
        "audio_rendered": True,
        "category": CATEGORIES[stem.category],
        "inst_class": CATEGORIES[stem.category],
        "is_drum": percussive,
        "midi_program_name": stem.instrument,
        "midi_saved": False,
        "program_num": program if stem.category < VOCAL else None,
    }


def _uuid(song: PlannedSong) -> str:
    """It follows from the recordings, so a song that stands in the source twice has one, whatever its names."""
    digest = hashlib.md5(usedforsecurity=False)
    for content in sorted(probe(path) for stem in song.stems for path in stem.files):
        digest.update(content)
    return digest.hexdigest()
