"""Other people's General MIDI files as songs in Slakh2100's format: one stem per instrument, rendered with a SoundFont.

The tempo map in `all_src.mid` gives the beats; nobody says the chords, so a tracker reads them from the mix. Files may
come from anywhere: one that cannot be used is left out with the reason.

N: audio samples.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.audio import Audio
from datamodules.pocket_slakh.collection import (
    FULL_SCALE,
    PEAK_DB,
    SAMPLE_RATE_HZ,
    slakh_metadata,
    write_all,
    write_song,
)
from datamodules.pocket_slakh.composer import TAIL_SECONDS, PlayedNote, Stem
from datamodules.pocket_slakh.loudness import active_rms_db, equally_loud, is_sound
from datamodules.pocket_slakh.midi import add_tracks
from datamodules.pocket_slakh.palette import Instrument
from datamodules.pocket_slakh.soundfont import corrected_name, corrected_soundfont
from datamodules.wide_songs.tuning import Font, tuned_programs
from livejam.errors import UserError

if TYPE_CHECKING:
    from symusic.core import ScoreTick

MOST_BYTES, MOST_SECONDS, MOST_NOTES = 4_000_000, 1200.0, 200_000
"""Files beyond these are no songs: a few bytes of MIDI can ask for days of audio."""
LEAST_SECONDS = 10.0
VOLUME, LOUDEST = 7, 127
EQUALLY_LOUD = "equally loud"
ALL_PROGRAMS = tuple(range(128))


@dataclass(frozen=True)
class MidiSong:
    """A song read from a MIDI file.

    Args:
        source: the file.
        digest: of its bytes.
        stems: what its instruments play, each at the level that the file asks for, in dB.
        frame: its tempo map and metres, as a score without tracks.
        seconds: its length, without what rings out.
    """

    source: Path
    digest: str
    stems: tuple[Stem, ...]
    frame: ScoreTick
    seconds: float

    @property
    def duration_seconds(self) -> float:
        """Until the last note has rung out."""
        return self.seconds + TAIL_SECONDS

    def score(self, stems: Sequence[Stem]) -> ScoreTick:
        """Some of its stems as the tracks of one score."""
        result = self.frame.copy()
        add_tracks(result, stems)
        return result


def midi_files(source: Path) -> list[Path]:
    """The MIDI files in a folder and below, in order of their names.

    Raises:
        UserError: there are none.
    """
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".mid", ".midi") and path.is_file())
    if not found:
        raise UserError(f"{source} holds no MIDI file (.mid, .midi); name a folder that does")
    return found


def read_midi(path: Path) -> MidiSong:
    """A MIDI file with two instruments or more.

    Tracks of the same instrument are one stem: copies of a voice are no accompaniment of each other.

    Raises:
        UserError: it is no such file; the reason follows its name.
    """
    from symusic.core import ScoreTick

    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path} is larger than {MOST_BYTES // 1_000_000} MB, which no song is")
        data = path.read_bytes()
        score = ScoreTick.from_midi(data)
    except UserError:
        raise
    except Exception as error:  # symusic raises whatever its parser meets
        raise UserError(f"{path} is no MIDI file that can be read ({error})") from error
    if score.note_num() > MOST_NOTES:
        raise UserError(f"{path} holds {score.note_num()} notes, more than any song")
    parts: dict[Instrument, list[Any]] = {}
    for track in score.tracks:
        if len(track.notes):
            parts.setdefault(Instrument(track.program, track.is_drum), []).append(track)
    if len(parts) < 2:
        raise UserError(f"{path} holds {len(parts)} instrument; accompaniment takes two")
    seconds = float(score.to("second").end())  # type: ignore[attr-defined]
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise UserError(f"{path} lasts {seconds:.0f} s; songs take {LEAST_SECONDS:.0f} to {MOST_SECONDS:.0f} s")
    order = sorted(parts, key=lambda instrument: (instrument.program_num, instrument.program))
    stems = tuple(_stem(instrument, parts[instrument]) for instrument in order)
    return MidiSong(path, hashlib.sha256(data).hexdigest(), stems, _frame(score), seconds)


def _stem(instrument: Instrument, tracks: Sequence[Any]) -> Stem:
    """Its notes, and the level that the loudest of its tracks has by General MIDI's rule for the volume controller."""
    volume = max(max((c.value for c in track.controls if c.number == VOLUME), default=LOUDEST) for track in tracks)
    notes = {
        PlayedNote(note.time, max(1, note.duration), note.pitch, max(1, note.velocity))
        for track in tracks
        for note in track.notes
    }
    ordered = tuple(sorted(notes, key=lambda note: (note.tick, note.pitch, note.ticks, note.velocity)))
    return Stem(instrument, 40 * float(np.log10(max(1, volume) / LOUDEST)), ordered)


def _frame(score: ScoreTick) -> ScoreTick:
    from symusic.core import ScoreTick as Score
    from symusic.core import TempoTick, TimeSignatureTick

    frame = Score(score.ticks_per_quarter)
    frame.tempos.extend(score.tempos)
    frame.time_signatures.extend(score.time_signatures)
    if not len(frame.tempos) or frame.tempos[0].time > 0:
        frame.tempos.insert(0, TempoTick(0, 120.0))  # what the standard says of files that say nothing
    if not len(frame.time_signatures):
        frame.time_signatures.append(TimeSignatureTick(0, 4, 4))
    return frame


def render_midi_songs(
    source: Path,
    out: Path,
    soundfonts: Sequence[Path] = (),
    workers: int | None = None,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    equal_loudness: bool = False,
) -> list[str]:
    """Render the MIDI files of a folder that are not rendered yet; files that are added later join them.

    A song's folder and its split follow from the file's bytes: whatever else is there, it stays where it is.

    Args:
        source: the folder of MIDI files; it is only read.
        out: root of the collection; split folders are made in it.
        soundfonts: General MIDI SoundFonts in order of preference; a program that one lacks or has out of tune is
            taken from the next, last from the one in pretty_midi.
        workers: threads; None takes one per CPU.
        validation_fraction: share of songs for validation, 0 to 1.
        test_fraction: share of songs for the test, 0 to 1.
        equal_loudness: whether all instruments of a song are equally loud, instead of at the volumes of the file.

    Returns:
        why files were left out, one sentence for each.

    Raises:
        UserError: no file can be used, a number is out of range, there is no such SoundFont, or `out` holds songs that
            were rendered otherwise.
    """
    if min(validation_fraction, test_fraction) < 0 or validation_fraction + test_fraction > 1:
        raise UserError(f"the shares for validation ({validation_fraction}) and test ({test_fraction}) must be 0 or "
                        "more, and not above 1 together")  # fmt: skip
    songs, left_out = readable_songs(midi_files(source))
    if not songs:
        raise UserError(f"{source} holds no song that can be rendered: {left_out[0]}")
    names = [corrected_name(path) for path in soundfonts]
    origin = "midi/" + _digest([*names, EQUALLY_LOUD] if equal_loudness else names)
    _require_origin(out, origin)
    folders = [(_folder(out, song, validation_fraction, test_fraction), song) for song in songs]
    missing = [(folder, song) for folder, song in folders if not folder.is_dir()]
    if missing:
        fonts = [Font(path, tuned_programs(path, ALL_PROGRAMS)) for path in map(corrected_soundfont, soundfonts)]
        fonts.append(Font(corrected_soundfont(), frozenset(ALL_PROGRAMS)))

        def render(folder: Path, song: MidiSong) -> None:
            try:
                render_midi_song(folder, song, fonts, origin, equal_loudness)
            except UserError as reason:  # only heard now: one song must not cost the others
                left_out.append(str(reason))

        write_all(missing, render, workers)
    return left_out


def readable_songs(files: Sequence[Path]) -> tuple[list[MidiSong], list[str]]:
    """The songs that can be rendered, each once, and why the other files cannot."""
    songs: dict[str, MidiSong] = {}
    left_out: list[str] = []
    for path in files:
        try:
            song = read_midi(path)
            if song.digest in songs:
                raise UserError(f"{path} is a copy of {songs[song.digest].source}")
            songs[song.digest] = song
        except UserError as reason:
            left_out.append(str(reason))
    return list(songs.values()), left_out


def render_midi_song(
    folder: Path, song: MidiSong, fonts: Sequence[Font], origin: str, equal_loudness: bool = False
) -> None:
    """Render one song into `folder`, which must not exist yet.

    Args:
        folder: the song's folder.
        song: the song.
        fonts: SoundFonts in order of preference.
        origin: what the metadata name as its source, before the file.
        equal_loudness: whether all its instruments are equally loud, as Slakh2100 mixes them (its
            render_by_instrument.py); the peak of the song follows afterwards.

    Raises:
        UserError: no SoundFont sounds for one of its instruments.
    """
    rendered = [_rendered(song, stem, fonts) for stem in song.stems]
    heard = [(stem, *sound) for stem, sound in zip(song.stems, rendered, strict=True) if sound is not None]
    if len(heard) < 2:
        raise UserError(f"fewer than two instruments of {song.source} sound; name a complete General MIDI SoundFont")
    stems, audio, names = [stem for stem, _, _ in heard], [sound for _, sound, _ in heard], [name for *_, name in heard]
    if equal_loudness:
        audio = [equally_loud(audio_N, SAMPLE_RATE_HZ) for audio_N in audio]
    peak = max(float(np.abs(audio_N).max()) for audio_N in (*audio, np.sum(audio, axis=0)))
    gain = 10 ** (PEAK_DB / 20) / peak
    pcm = [np.round(audio_N * (gain * FULL_SCALE)).astype(np.int16) for audio_N in audio]
    loudness = [active_rms_db(audio_N * np.float32(gain), SAMPLE_RATE_HZ) for audio_N in audio]
    piece = [int(song.digest[place : place + 8], 16) for place in (0, 8)]
    metadata = slakh_metadata(stems, names, loudness, piece, f"{origin}/{song.source.name}", gain)
    write_song(folder, stems, pcm, song.score, None, metadata)


def _rendered(song: MidiSong, stem: Stem, fonts: Sequence[Font]) -> tuple[Audio, str] | None:
    """The stem at its level, as long as the song, and the SoundFont that sounded; None where none does."""
    from symusic import Synthesizer

    for font in (font for font in fonts if font.plays(stem.instrument)):
        sound_N = Synthesizer(str(font.path), SAMPLE_RATE_HZ, 0).render(song.score([stem]), stereo=False)[0]
        audio_N = np.zeros(round(song.duration_seconds * SAMPLE_RATE_HZ), np.float32)
        audio_N[: len(sound_N)] = sound_N[: len(audio_N)]
        if is_sound(audio_N, SAMPLE_RATE_HZ):
            return audio_N * np.float32(10 ** (stem.level_db / 20)), font.path.name
    return None


def _folder(out: Path, song: MidiSong, validation: float, test: float) -> Path:
    """Where a song lies; files from strangers have any name."""
    place = int(song.digest[:8], 16) / 16**8
    split = "test" if place < test else "validation" if place < test + validation else "train"
    name = re.sub(r"[^A-Za-z0-9]+", "_", song.source.stem).strip("_")[:40]
    return out / split / f"Track_{name}_{song.digest[:8]}"


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:12]


def _require_origin(out: Path, origin: str) -> None:
    """Refuse to add songs to others."""
    first = next(out.glob("*/Track*/metadata.yaml"), None)
    if first is not None and f"{origin}/" not in first.read_text(encoding="utf-8"):
        raise UserError(f"{out} holds songs that were rendered otherwise; give another folder, or the same options")
