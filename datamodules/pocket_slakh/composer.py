"""Songs composed by rules: a sheet, a band, and the notes that its players make of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datamodules.pocket_slakh.band import Player, draw_band
from datamodules.pocket_slakh.meter import TICKS_PER_STEP
from datamodules.pocket_slakh.palette import Instrument
from datamodules.pocket_slakh.parts.note import Note
from datamodules.pocket_slakh.sheet import Sheet, draw_sheet

TAIL_SECONDS = 1.5


@dataclass(frozen=True)
class PlayedNote:
    """A note in MIDI's units: ticks, ticks, pitch, velocity 1 to 127."""

    tick: int
    ticks: int
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Stem:
    """What one player plays.

    Args:
        instrument: program or kit.
        level_db: loudness in dBFS it is set to in the mix (RMS while it sounds).
        notes: in order of time.
    """

    instrument: Instrument
    level_db: float
    notes: tuple[PlayedNote, ...]


@dataclass(frozen=True)
class Song:
    """A composed song."""

    sheet: Sheet
    stems: tuple[Stem, ...]

    @property
    def duration_seconds(self) -> float:
        """Until the last bar has ended and rung out."""
        return self.sheet.clock.seconds(self.sheet.bars * self.sheet.steps_per_bar) + TAIL_SECONDS


def compose(seed: int, index: int) -> Song:
    """The song of that index; it depends on nothing else.

    Args:
        seed: seed of the collection, at least 0.
        index: index of the song, at least 0.
    """
    rng = np.random.default_rng([seed, index])
    sheet = draw_sheet(rng)
    band = draw_band(sheet, rng)
    stems = (_perform(player, sheet, rng) for player in band)
    return Song(sheet, tuple(stem for stem in stems if stem.notes))


def _perform(player: Player, sheet: Sheet, rng: np.random.Generator) -> Stem:
    written = player.seat.play(sheet, player.bars, rng)
    ticks_per_ms = sheet.clock.quarters_per_minute * TICKS_PER_STEP * 4 / 60_000
    push = float(rng.normal(0, 3)) * ticks_per_ms
    strokes = {note.step: (rng.normal(push, player.seat.timing_ms * ticks_per_ms), rng.normal()) for note in written}
    played = (_humanised(note, sheet, *strokes[note.step]) for note in written)
    level = player.seat.level_db + float(rng.uniform(-1.5, 1.5))
    return Stem(player.instrument, level, tuple(sorted(played, key=lambda n: (n.tick, n.pitch))))


def _humanised(note: Note, sheet: Sheet, late_ticks: float, stress: float) -> PlayedNote:
    """Notes struck together stay together; velocity varies by a few percent."""
    start = max(0, round(sheet.clock.ticks(note.step) + late_ticks))
    end = round(sheet.clock.ticks(note.step + note.steps) + late_ticks)
    velocity = 10 + 112 * note.velocity + 4 * stress
    return PlayedNote(start, max(20, end - start), note.pitch, int(np.clip(round(velocity), 1, 127)))
