"""Collections of rendered songs: which songs there are, who writes them, and the files of one song.

N: audio samples.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import soundfile
import yaml
from numpy.typing import NDArray
from tqdm import tqdm

from datamodules.pocket_slakh.composer import Stem
from datamodules.song_folder import atomic_folder

if TYPE_CHECKING:
    from symusic.core import ScoreTick

SAMPLE_RATE_HZ = 44_100
PEAK_DB = -1.0
FULL_SCALE = 32_767

Pcm = NDArray[np.int16]
T = TypeVar("T")


def song_folder(out: Path, split: str, index: int) -> Path:
    """Where the song of that index lies."""
    return Path(out) / split / f"Track{index + 1:05d}"


def missing_songs(out: Path, splits: Sequence[str]) -> list[int]:
    """Indices of the songs that are not there yet; `splits` names the split of every song."""
    return [index for index, split in enumerate(splits) if not song_folder(out, split, index).is_dir()]


def write_missing(
    out: Path, splits: Sequence[str], write: Callable[[Path, int], None], workers: int | None = None
) -> None:
    """Have every missing song written.

    Args:
        out: root of the collection.
        splits: the split of every song.
        write: writes the song of an index into a folder, which must not exist yet.
        workers: threads; None takes one per CPU.
    """
    missing = missing_songs(out, splits)
    write_all([(song_folder(out, splits[index], index), index) for index in missing], write, workers)


def write_all(
    songs: Sequence[tuple[Path, T]],
    write: Callable[[Path, T], None],
    workers: int | None = None,
    doing: str = "rendering songs",
) -> None:
    """Have songs written, with a bar that shows how far that is.

    Args:
        songs: folders or files that must not exist yet, each with what `write` makes its song of.
        write: writes a song into its place.
        workers: threads; None takes one per CPU.
        doing: what the bar says.
    """
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        jobs = [pool.submit(write, folder, song) for folder, song in songs]
        try:
            for job in tqdm(as_completed(jobs), total=len(jobs), desc=doing, unit="song"):
                job.result()
        finally:
            pool.shutdown(cancel_futures=True)


def write_song(
    folder: Path,
    stems: Sequence[Stem],
    pcm: Sequence[Pcm],
    score: Callable[[Sequence[Stem]], ScoreTick],
    truth: Mapping[str, Any] | None,
    metadata: Mapping[str, Any],
) -> None:
    """Write one song in Slakh2100's layout; it appears complete or not at all.

    Args:
        folder: the song's folder.
        stems: its stems.
        pcm: their audio, as much for each.
        score: makes the MIDI score of some of the stems.
        truth: the annotations; None where only the score is known.
        metadata: Slakh's metadata.
    """
    with atomic_folder(folder) as temporary:
        (temporary / "stems").mkdir()
        (temporary / "MIDI").mkdir()
        for number, (stem, samples) in enumerate(zip(stems, pcm, strict=True)):
            _write_flac(temporary / "stems" / f"S{number:02d}.flac", samples)
            score([stem]).dump_midi(str(temporary / "MIDI" / f"S{number:02d}.mid"))
        _write_flac(temporary / "mix.flac", np.sum(pcm, axis=0, dtype=np.int16))
        score(stems).dump_midi(str(temporary / "all_src.mid"))
        if truth is not None:
            (temporary / "annotations.json").write_text(json.dumps(truth, indent=1))
        (temporary / "metadata.yaml").write_text(yaml.safe_dump(dict(metadata)))


def slakh_metadata(
    stems: Sequence[Stem],
    soundfonts: Sequence[str],
    loudness_db: Sequence[float],
    piece: Sequence[int],
    origin: str,
    gain: float,
) -> dict[str, Any]:
    """Slakh2100's metadata.yaml; `integrated_loudness` is the RMS in dBFS of a stem while it sounds.

    Args:
        stems: the stems.
        soundfonts: the name of the SoundFont of each.
        loudness_db: the loudness of each.
        piece: seed and index of the piece, from which its UUID follows.
        origin: what it was rendered from.
        gain: the gain of the whole song.
    """
    return {
        "UUID": uuid.UUID(bytes=np.random.default_rng([*piece, 1]).bytes(16), version=4).hex,
        "audio_dir": "stems",
        "lmd_midi_dir": origin,
        "midi_dir": "MIDI",
        "normalization_factor": -13.0,
        "normalized": True,
        "overall_gain": round(gain, 9),
        "target_peak": PEAK_DB,
        "stems": {
            f"S{number:02d}": {
                "audio_rendered": True,
                "inst_class": stem.instrument.inst_class,
                "integrated_loudness": round(loudness, 4),
                "is_drum": stem.instrument.is_drum,
                "midi_program_name": stem.instrument.program_name,
                "midi_saved": True,
                "plugin_name": soundfont,
                "program_num": stem.instrument.program_num,
            }
            for number, (stem, soundfont, loudness) in enumerate(zip(stems, soundfonts, loudness_db, strict=True))
        },
    }


def _write_flac(path: Path, samples: Pcm) -> None:
    soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="PCM_16", compression_level=0.0)
