"""Renders composed songs into Slakh2100's on-disk format.

N: audio samples.
"""

from __future__ import annotations

import itertools
import json
import os
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml
from numpy.typing import NDArray
from tqdm import tqdm

from datamodules.audio import Audio
from datamodules.pocket_slakh.annotation import song_annotations
from datamodules.pocket_slakh.composer import Song, Stem, compose
from datamodules.pocket_slakh.loudness import active_rms_db, soft_limited
from datamodules.pocket_slakh.midi import score
from datamodules.pocket_slakh.soundfont import bundled_soundfont, corrected_name, corrected_soundfont
from datamodules.song_folder import atomic_folder
from livejam.errors import UserError

SAMPLE_RATE_HZ = 44_100
MASTER_DB = -3.0
PEAK_DB = -1.0
FULL_SCALE = 32_767
SPLITS = ("train", "validation", "test")


def render_songs(
    out: Path,
    songs: int,
    seed: int,
    workers: int | None = None,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    soundfont: Path | None = None,
) -> None:
    """Write the missing songs.

    Every song appears complete or not at all; an interrupted render continues where it stopped. The content
    of song i depends on the seed, the SoundFont and i alone, its split also on the fractions.

    Args:
        out: root of the collection; split folders are made in it.
        songs: number of songs, at least 1.
        seed: seed of the collection, at least 0.
        workers: threads; None takes one per CPU.
        validation_fraction: share of songs for validation, 0 to 1; at least one song if there are 3.
        test_fraction: share of songs for the test, 0 to 1; at least one song if there are 3.
        soundfont: a General MIDI SoundFont; None takes the one in pretty_midi.

    Raises:
        UserError: a number is out of range, the SoundFont is none, or `out` holds songs of another seed or SoundFont.
    """
    splits = split_names(songs, validation_fraction, test_fraction)
    source = soundfont or bundled_soundfont()
    _require_origin(out, seed, source)
    missing = _missing(out, splits)
    if not missing:
        return
    corrected = corrected_soundfont(source)
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        folders = {index: _folder(out, splits[index], index) for index in missing}
        jobs = [pool.submit(render_song, folders[i], seed, i, corrected, source.name) for i in missing]
        try:
            for job in tqdm(as_completed(jobs), total=len(jobs), desc="rendering songs", unit="song"):
                job.result()
        finally:
            pool.shutdown(cancel_futures=True)


def is_rendered(out: Path, songs: int, validation_fraction: float, test_fraction: float) -> bool:
    """Whether all these songs are there.

    Args:
        out: root of the collection.
        songs: number of songs.
        validation_fraction: share of songs for validation.
        test_fraction: share of songs for the test.

    Raises:
        UserError: a number is out of range.
    """
    return not _missing(out, split_names(songs, validation_fraction, test_fraction))


def _missing(out: Path, splits: Sequence[str]) -> list[int]:
    return [index for index, split in enumerate(splits) if not _folder(out, split, index).is_dir()]


def split_names(songs: int, validation_fraction: float, test_fraction: float) -> tuple[str, ...]:
    """The split of every song; a song keeps its split when more songs are added later.

    Raises:
        UserError: no songs, or fractions that leave none for training.
    """
    if songs < 1 or min(validation_fraction, test_fraction) < 0 or validation_fraction + test_fraction >= 1:
        raise UserError("ask for at least one song, and for validation and test fractions that add up to less than 1")
    shares = {"validation": validation_fraction, "test": test_fraction}
    counts = dict.fromkeys(SPLITS, 0)
    names: list[str] = []
    for index in range(songs):
        # the first song trains; afterwards a held-out split takes the song if it is behind its share
        behind = [name for name, share in shares.items() if index > 0 and counts[name] < share * (index + 1)]
        name = behind[0] if behind else "train"
        counts[name] += 1
        names.append(name)
    return tuple(names)


def render_song(folder: Path, seed: int, index: int, soundfont: Path, soundfont_name: str) -> None:
    """Compose and render one song into `folder`, which must not exist yet.

    Args:
        folder: the song's folder.
        seed: seed of the collection.
        index: index of the song.
        soundfont: the corrected SoundFont.
        soundfont_name: name of the original SoundFont.
    """
    song = compose(seed, index)
    stems = [_render_stem(song, stem, soundfont) for stem in song.stems]
    gain = _safe_gain(stems)
    pcm = [np.round(audio * (gain * FULL_SCALE)).astype(np.int16) for audio in stems]
    with atomic_folder(folder) as temporary:
        (temporary / "stems").mkdir()
        (temporary / "MIDI").mkdir()
        for number, (stem, samples) in enumerate(zip(song.stems, pcm, strict=True)):
            _write_flac(temporary / "stems" / f"S{number:02d}.flac", samples)
            score(song, [stem]).dump_midi(str(temporary / "MIDI" / f"S{number:02d}.mid"))
        _write_flac(temporary / "mix.flac", np.sum(pcm, axis=0, dtype=np.int16))
        score(song, song.stems).dump_midi(str(temporary / "all_src.mid"))
        truth = song_annotations(song, len(pcm[0]) / SAMPLE_RATE_HZ) | {"soundfont": soundfont.stem}
        (temporary / "annotations.json").write_text(json.dumps(truth, indent=1))
        loudness_db = [active_rms_db(audio, SAMPLE_RATE_HZ) for audio in stems]
        metadata = _metadata(song, seed, index, soundfont_name, gain, loudness_db)
        (temporary / "metadata.yaml").write_text(yaml.safe_dump(metadata))


def _require_origin(out: Path, seed: int, soundfont: Path) -> None:
    """Refuse to add songs to those of another seed or SoundFont, which is recognised by its name and, if recorded, its
    content."""
    found = itertools.chain(Path(out).glob("*/Track*/metadata.yaml"), Path(out).glob("Track*/metadata.yaml"))
    first = next(found, None)
    if first is None:
        return
    if f"{_origin(seed)}/" not in (text := first.read_text()):
        raise UserError(f"{out} holds songs that were not rendered from seed {seed}; give another folder or that seed")
    said = _soundfont_of(first.with_name("annotations.json"))
    if f"plugin_name: {soundfont.name}\n" not in text or said not in (None, corrected_name(soundfont)):
        raise UserError(f"{out} holds songs that were not rendered with {soundfont.name}; give another folder")


def _soundfont_of(annotations: Path) -> str | None:
    """The SoundFont that a song records; None for songs of older versions."""
    try:
        said: str | None = json.loads(annotations.read_text(encoding="utf-8")).get("soundfont")
    except (OSError, ValueError, AttributeError):
        return None
    return said


def _origin(seed: int) -> str:
    return f"pocket-slakh/seed-{seed}"


def _folder(out: Path, split: str, index: int) -> Path:
    return Path(out) / split / f"Track{index + 1:05d}"


def _render_stem(song: Song, stem: Stem, soundfont: Path) -> Audio:
    """The stem at its level, float32, exactly as long as the song."""
    from symusic import Synthesizer

    rendered = Synthesizer(str(soundfont), SAMPLE_RATE_HZ, 0).render(score(song, [stem]), stereo=False)[0]
    audio_N = np.zeros(round(song.duration_seconds * SAMPLE_RATE_HZ), np.float32)
    audio_N[: len(rendered)] = rendered[: len(audio_N)]
    audio_N *= 10 ** ((stem.level_db - active_rms_db(audio_N, SAMPLE_RATE_HZ)) / 20)
    return soft_limited(audio_N) if stem.instrument.is_drum else audio_N


def _safe_gain(stems: list[Audio]) -> float:
    """The usual gain, or the smaller one that keeps the mix and every stem below the target peak."""
    peak = max(float(np.abs(audio).max()) for audio in (*stems, np.sum(stems, axis=0)))
    return min(10 ** (MASTER_DB / 20), 10 ** (PEAK_DB / 20) / peak)


def _write_flac(path: Path, samples: NDArray[np.int16]) -> None:
    soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="PCM_16", compression_level=0.0)


def _metadata(
    song: Song, seed: int, index: int, soundfont_name: str, gain: float, loudness_db: list[float]
) -> dict[str, Any]:
    """Slakh2100's metadata.yaml; `integrated_loudness` is the RMS in dBFS of a stem while it sounds."""
    name = uuid.UUID(bytes=np.random.default_rng([seed, index, 1]).bytes(16), version=4).hex
    gain_db = float(20 * np.log10(gain))
    return {
        "UUID": name,
        "audio_dir": "stems",
        "lmd_midi_dir": f"{_origin(seed)}/{index}",
        "midi_dir": "MIDI",
        "normalization_factor": -13.0,
        "normalized": True,
        "overall_gain": round(gain, 9),
        "target_peak": PEAK_DB,
        "stems": {
            f"S{number:02d}": {
                "audio_rendered": True,
                "inst_class": stem.instrument.inst_class,
                "integrated_loudness": round(loudness + gain_db, 4),
                "is_drum": stem.instrument.is_drum,
                "midi_program_name": stem.instrument.program_name,
                "midi_saved": True,
                "plugin_name": soundfont_name,
                "program_num": stem.instrument.program_num,
            }
            for number, (stem, loudness) in enumerate(zip(song.stems, loudness_db, strict=True))
        },
    }
