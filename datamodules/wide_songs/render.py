"""Renders wide songs into Slakh2100's on-disk format, in as many takes as asked for."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from datamodules.pocket_slakh.collection import (
    FULL_SCALE,
    SAMPLE_RATE_HZ,
    missing_songs,
    slakh_metadata,
    write_missing,
    write_song,
)
from datamodules.pocket_slakh.loudness import active_rms_db
from datamodules.pocket_slakh.render import split_names
from datamodules.pocket_slakh.soundfont import bundled_soundfont, corrected_name, corrected_soundfont
from datamodules.wide_songs.annotation import score, song_annotations
from datamodules.wide_songs.band import PROGRAMS
from datamodules.wide_songs.collection import SECONDS, WideSongs
from datamodules.wide_songs.composer import compose
from datamodules.wide_songs.effects import require_effects, with_effects
from datamodules.wide_songs.plan import SongRules
from datamodules.wide_songs.sound import doubled, draw_timbres, levelled, mastered, render_stem
from datamodules.wide_songs.tuning import Font, tuned_programs
from livejam.errors import UserError


def render_wide_songs(
    out: Path,
    songs: int,
    seed: int,
    wide: WideSongs,
    workers: int | None = None,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
) -> None:
    """Write the missing songs; see `datamodules.pocket_slakh.render.render_songs`.

    Takes of one piece are neighbours, have one UUID and lie in one split.

    Args:
        out: root of the collection; split folders are made in it.
        songs: number of songs, takes included, at least 1.
        seed: seed of the collection, at least 0.
        wide: what they are.
        workers: threads; None takes one per CPU.
        validation_fraction: share of songs for validation, 0 to 1.
        test_fraction: share of songs for the test, 0 to 1.

    Raises:
        UserError: a number is out of range, there is no such SoundFont, effects are not installed, or `out` holds other
            songs.
    """
    splits = take_splits(songs, wide.takes, validation_fraction, test_fraction)
    origin = _origin(seed, wide)
    _require_origin(out, origin)
    if not missing_songs(out, splits):
        return
    if wide.effects:
        require_effects()
    drawn, spare = _fonts(wide), Font(corrected_soundfont(), frozenset(PROGRAMS))
    write_missing(out, splits, lambda folder, i: render_take(folder, seed, i, wide, (drawn, spare), origin), workers)


def take_splits(songs: int, takes: int, validation_fraction: float, test_fraction: float) -> tuple[str, ...]:
    """The split of every song, the same for all takes of a piece.

    Raises:
        UserError: a number is out of range.
    """
    if takes < 1:
        raise UserError(f"every piece needs at least one take, not {takes}")
    pieces = split_names(-(-songs // takes), validation_fraction, test_fraction)
    return tuple(pieces[index // takes] for index in range(songs))


def render_take(
    folder: Path, seed: int, index: int, wide: WideSongs, fonts: tuple[Sequence[Font], Font], origin: str
) -> None:
    """Compose and render one song into `folder`, which must not exist yet.

    Args:
        folder: the song's folder.
        seed: seed of the collection.
        index: index of the song; its piece is `index // wide.takes`.
        wide: what the collection is.
        fonts: the SoundFonts to draw from, and the one that fills their gaps.
        origin: what the metadata name as its source.
    """
    piece = index // wide.takes
    song = compose(seed, piece, SongRules(wide.held_out_grooves, wide.event, wide.seconds))
    rng = np.random.default_rng([seed, index, 3])
    timbres = draw_timbres(song.stems, *fonts, rng)
    stems = [doubled(stem, timbre.octave) for stem, timbre in zip(song.stems, timbres, strict=True)]
    audio, names = [], []
    for stem, timbre in zip(stems, timbres, strict=True):
        audio_N, font = render_stem(song, stem, timbre)
        if wide.effects:
            # effects are set for a usual level, and may change it
            audio_N = with_effects(levelled(audio_N, stem.level_db), stem.instrument, rng)
        audio.append(levelled(audio_N, stem.level_db + timbre.gain_db))
        names.append(font.path.name)
    audio = mastered(audio, rng)
    pcm = [np.round(audio_N * FULL_SCALE).astype(np.int16) for audio_N in audio]
    loudness = [active_rms_db(audio_N, SAMPLE_RATE_HZ) for audio_N in audio]
    metadata = slakh_metadata(stems, names, loudness, (seed, piece), f"{origin}/{piece}", 1.0)
    truth = song_annotations(song, len(pcm[0]) / SAMPLE_RATE_HZ) | {
        "tuning_cents": [round(timbre.cents, 2) for timbre in timbres]
    }
    write_song(folder, stems, pcm, partial(score, song), truth, metadata)


def _fonts(wide: WideSongs) -> tuple[Font, ...]:
    """The SoundFonts to draw from, each as often as it is named."""
    return tuple(Font(path, tuned_programs(path, PROGRAMS)) for path in map(corrected_soundfont, _sources(wide)))


def _sources(wide: WideSongs) -> tuple[Path, ...]:
    return tuple(Path(name) for name in wide.soundfonts) or (bundled_soundfont(),)


def _origin(seed: int, wide: WideSongs) -> str:
    """A name that says from what songs were rendered: songs of two names do not mix."""
    fonts = [corrected_name(source) for source in _sources(wide)]
    rest: list[object] = [wide.takes, wide.effects, wide.held_out_grooves, wide.event]
    if wide.seconds != SECONDS:
        # songs of the usual length keep the name that they had before there were others
        rest.append([float(seconds) for seconds in wide.seconds])
    digest = hashlib.sha256(json.dumps([fonts, rest]).encode()).hexdigest()[:12]
    return f"wide-songs/{digest}/seed-{seed}"


def _require_origin(out: Path, origin: str) -> None:
    """Refuse to add songs to others."""
    found = itertools.chain(Path(out).glob("*/Track*/metadata.yaml"), Path(out).glob("Track*/metadata.yaml"))
    first = next(found, None)
    if first is not None and f"{origin}/" not in first.read_text(encoding="utf-8"):
        raise UserError(f"{out} holds songs that were rendered otherwise; give another folder, or the same options")
