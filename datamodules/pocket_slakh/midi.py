"""Composed songs as MIDI scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from datamodules.pocket_slakh.composer import Song, Stem
from datamodules.pocket_slakh.meter import TICKS_PER_QUARTER

if TYPE_CHECKING:
    from symusic.core import ScoreTick


def score(song: Song, stems: Sequence[Stem]) -> ScoreTick:
    """The stems as tracks of one score, with tempo and time signature."""
    from symusic.core import ScoreTick, TempoTick, TimeSignatureTick

    meter = song.sheet.clock.meter
    result = ScoreTick(TICKS_PER_QUARTER)
    result.tempos.append(TempoTick(0, song.sheet.clock.quarters_per_minute))
    result.time_signatures.append(TimeSignatureTick(0, meter.numerator, meter.denominator))
    add_tracks(result, stems)
    return result


def add_tracks(result: ScoreTick, stems: Sequence[Stem]) -> None:
    """Add the stems to a score, as tracks."""
    from symusic.core import NoteTick, TrackTick

    for stem in stems:
        track = TrackTick(stem.instrument.program_name, stem.instrument.program, stem.instrument.is_drum)
        for note in stem.notes:
            track.notes.append(NoteTick(note.tick, note.ticks, note.pitch, note.velocity))
        result.tracks.append(track)
