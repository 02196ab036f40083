"""Renders composed songs into Slakh2100's on-disk format.

N: audio samples.
"""

from __future__ import annotations

import itertools
import json
from functools import partial
from pathlib import Path

import numpy as np

from datamodules.audio import Audio
from datamodules.pocket_slakh.annotation import song_annotations
from datamodules.pocket_slakh.collection import (
    FULL_SCALE,
    PEAK_DB,
    SAMPLE_RATE_HZ,
    missing_songs,
    slakh_metadata,
    write_missing,
    write_song,
)
from datamodules.pocket_slakh.composer import Song, Stem, compose
from datamodules.pocket_slakh.loudness import active_rms_db, soft_limited
from datamodules.pocket_slakh.midi import score
from datamodules.pocket_slakh.soundfont import bundled_soundfont, corrected_name, corrected_soundfont
from livejam.errors import UserError

MASTER_DB = -3.0
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
    if not missing_songs(out, splits):
        return
    corrected = corrected_soundfont(source)
    write_missing(out, splits, lambda folder, i: render_song(folder, seed, i, corrected, source.name), workers)


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
    return not missing_songs(out, split_names(songs, validation_fraction, test_fraction))


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
    truth = song_annotations(song, len(pcm[0]) / SAMPLE_RATE_HZ) | {"soundfont": soundfont.stem}
    gain_db = float(20 * np.log10(gain))
    loudness_db = [active_rms_db(audio, SAMPLE_RATE_HZ) + gain_db for audio in stems]
    names = [soundfont_name] * len(stems)
    metadata = slakh_metadata(song.stems, names, loudness_db, (seed, index), f"{_origin(seed)}/{index}", gain)
    write_song(folder, song.stems, pcm, partial(score, song), truth, metadata)


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
