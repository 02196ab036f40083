"""Who plays in a song: instruments, their parts, their level and the bars in which they rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from datamodules.pocket_slakh import palette
from datamodules.pocket_slakh.palette import Instrument
from datamodules.pocket_slakh.parts.bass import play_bass
from datamodules.pocket_slakh.parts.comping import play_arpeggio, play_pads, play_stabs
from datamodules.pocket_slakh.parts.drums import play_drums
from datamodules.pocket_slakh.parts.effects import play_swells
from datamodules.pocket_slakh.parts.melody import play_melody
from datamodules.pocket_slakh.parts.note import Note
from datamodules.pocket_slakh.sheet import Sheet

Play = Callable[[Sheet, Sequence[int], np.random.Generator], list[Note]]


@dataclass(frozen=True)
class Seat:
    """A place in the band.

    Args:
        programs: the programs that may take it.
        play: the part.
        level_db: loudness of the stem in dBFS (RMS while it sounds).
        threshold: energy of a section below which it rests.
        timing_ms: standard deviation of its timing.
    """

    programs: tuple[int, ...]
    play: Play
    level_db: float
    threshold: float
    timing_ms: float


@dataclass(frozen=True)
class Player:
    """A seat taken by an instrument, with the bars in which it plays."""

    seat: Seat
    instrument: Instrument
    bars: tuple[int, ...]


DRUMS = Seat((), play_drums, -17.0, 0.0, 3.0)
BASS = Seat(palette.BASSES, play_bass, -19.0, 0.3, 5.0)
KEYS = Seat(palette.PIANOS, play_stabs, -20.0, 0.0, 6.0)
EXTRAS = (
    (Seat(palette.STRUMMED_GUITARS, play_stabs, -22.0, 0.5, 6.0), 0.18),
    (Seat(palette.PICKED_GUITARS, play_arpeggio, -23.0, 0.1, 6.0), 0.10),
    (Seat(palette.LEAD_GUITARS, play_melody, -22.0, 0.6, 8.0), 0.05),
    (Seat(palette.ORGANS, play_pads, -24.0, 0.5, 6.0), 0.06),
    (Seat(palette.ORGANS, play_stabs, -23.0, 0.5, 6.0), 0.05),
    (Seat(palette.BOWED_STRINGS, play_melody, -23.0, 0.6, 12.0), 0.06),
    (Seat(palette.PLUCKED_STRINGS, play_arpeggio, -24.0, 0.5, 6.0), 0.05),
    (Seat(palette.ENSEMBLES, play_pads, -25.0, 0.1, 10.0), 0.12),
    (Seat(palette.SYNTH_PADS, play_pads, -25.0, 0.1, 10.0), 0.10),
    (Seat(palette.SYNTH_EFFECTS, play_pads, -25.0, 0.1, 10.0), 0.05),
    (Seat(palette.BRASS_SECTIONS, play_stabs, -23.0, 0.9, 8.0), 0.05),
    (Seat(palette.SOLO_BRASS, play_melody, -22.0, 0.6, 8.0), 0.05),
    (Seat(palette.REEDS, play_melody, -22.0, 0.6, 8.0), 0.08),
    (Seat(palette.PIPES, play_melody, -22.0, 0.6, 8.0), 0.08),
    (Seat(palette.SYNTH_LEADS, play_melody, -22.0, 0.6, 5.0), 0.08),
    (Seat(palette.ETHNIC_LEADS, play_melody, -22.0, 0.6, 8.0), 0.06),
    (Seat(palette.ETHNIC_PLUCKED, play_arpeggio, -24.0, 0.5, 8.0), 0.03),
    (Seat(palette.CHROMATIC_PERCUSSION, play_arpeggio, -24.0, 0.3, 6.0), 0.10),
    (Seat(palette.STEEL_DRUMS, play_arpeggio, -24.0, 0.6, 6.0), 0.02),
    (Seat(palette.NOISES, play_swells, -28.0, 0.0, 0.0), 0.04),
)
"""Seats besides drums, bass and keys, with their weights."""


def draw_band(sheet: Sheet, rng: np.random.Generator) -> tuple[Player, ...]:
    """Five to nine players; drums always, bass and keys nearly always, no more than two melodies."""
    seats = [DRUMS]
    seats += [seat for seat in (BASS, KEYS) if rng.random() < 0.96]
    size = int(rng.choice([5, 6, 7, 8, 9], p=[0.2, 0.3, 0.25, 0.15, 0.1]))
    weights = np.array([weight for _, weight in EXTRAS])
    for pick in rng.choice(len(EXTRAS), size=len(EXTRAS), replace=False, p=weights / weights.sum()):
        seat = EXTRAS[pick][0]
        melodies = sum(taken.play is play_melody for taken in seats)
        if len(seats) < size and not (seat.play is play_melody and melodies == 2):
            seats.append(seat)
    return tuple(Player(seat, _instrument(seat, sheet, rng), _bars(seat, sheet, rng)) for seat in seats)


def _instrument(seat: Seat, sheet: Sheet, rng: np.random.Generator) -> Instrument:
    if seat is DRUMS:
        return Instrument(int(rng.choice(sheet.style.kits)), is_drum=True)
    return Instrument(int(rng.choice(seat.programs)))


def _bars(seat: Seat, sheet: Sheet, rng: np.random.Generator) -> tuple[int, ...]:
    """Bars of the sections with enough energy; now and then it rests in one more section, but never in a chorus."""
    bars: list[int] = []
    for section in sheet.sections:
        rests = section.label != "chorus" and rng.random() < (0.06 if seat in (DRUMS, BASS, KEYS) else 0.2)
        if section.energy >= seat.threshold and not rests:
            bars += range(section.first_bar, section.end_bar)
    return tuple(bars)
