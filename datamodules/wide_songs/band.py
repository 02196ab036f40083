"""Who plays a wide song: seats as data, and bands from duets to eight players, with or without drums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from datamodules.pocket_slakh import palette
from datamodules.pocket_slakh.palette import Instrument
from datamodules.pocket_slakh.parts.note import Note
from datamodules.wide_songs.parts.bass import play_bass
from datamodules.wide_songs.parts.chords import play_answers, play_arpeggio, play_pads, play_power, play_stabs
from datamodules.wide_songs.parts.drums import play_drums
from datamodules.wide_songs.parts.melody import play_counter, play_melody, play_solo
from datamodules.wide_songs.plan import Plan

Play = Callable[[Plan, "tuple[int, ...]", np.random.Generator], list[Note]]
DUETS = 0.08
SIZES, SIZE_CHANCES = (3, 4, 5, 6, 7, 8), (0.1, 0.2, 0.27, 0.23, 0.13, 0.07)
MOST_LEADS = 2


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

    @property
    def leads(self) -> bool:
        """Whether it plays one line above the others."""
        return self.play in (play_melody, play_solo, play_counter)


@dataclass(frozen=True)
class Player:
    """A seat taken by an instrument, with the bars in which it plays."""

    seat: Seat
    instrument: Instrument
    bars: tuple[int, ...]


DRUMS = Seat((), play_drums, -17.0, 0.0, 4.0)
BASS = Seat(palette.BASSES, play_bass, -19.0, 0.25, 6.0)
KEYS = Seat(palette.PIANOS, play_stabs, -20.0, 0.0, 7.0)
KEYS_BROKEN = Seat(palette.PIANOS, play_arpeggio, -21.0, 0.0, 7.0)
COLOURS = {
    "crunch": Seat((29, 30), play_power, -20.0, 0.5, 6.0),
    "lead guitar": Seat(palette.LEAD_GUITARS, play_solo, -21.0, 0.4, 9.0),
    "strum": Seat(palette.STRUMMED_GUITARS, play_stabs, -22.0, 0.2, 7.0),
    "picked guitar": Seat(palette.PICKED_GUITARS, play_arpeggio, -22.0, 0.1, 7.0),
    "muted guitar": Seat((27, 28, 28), play_stabs, -22.0, 0.4, 6.0),
    "jazz guitar": Seat((26,), play_stabs, -22.0, 0.2, 8.0),
    "organ stabs": Seat(palette.ORGANS, play_stabs, -23.0, 0.3, 7.0),
    "organ pad": Seat(palette.ORGANS, play_pads, -24.0, 0.2, 8.0),
    "pad": Seat(palette.SYNTH_PADS, play_pads, -25.0, 0.1, 10.0),
    "effect": Seat(palette.SYNTH_EFFECTS, play_pads, -26.0, 0.1, 10.0),
    "pluck": Seat((80, 81, 87, 90), play_arpeggio, -24.0, 0.4, 3.0),
    "synth lead": Seat(palette.SYNTH_LEADS, play_melody, -22.0, 0.5, 5.0),
    "strings": Seat(palette.ENSEMBLES, play_pads, -24.0, 0.2, 11.0),
    "choir": Seat((52, 53), play_pads, -24.0, 0.4, 12.0),
    "fiddle": Seat((40, 110), play_melody, -22.0, 0.4, 10.0),
    "cello": Seat((42, 41), play_counter, -23.0, 0.3, 12.0),
    "pizzicato": Seat((45,), play_arpeggio, -23.0, 0.2, 8.0),
    "harp": Seat((46,), play_arpeggio, -23.0, 0.1, 8.0),
    "brass stabs": Seat(palette.BRASS_SECTIONS, play_answers, -22.0, 0.65, 8.0),
    "trumpet": Seat((56, 59), play_solo, -21.0, 0.5, 9.0),
    "horn": Seat((57, 58, 60), play_counter, -23.0, 0.3, 11.0),
    "sax": Seat((64, 66), play_melody, -21.0, 0.5, 9.0),
    "sax solo": Seat((64, 66), play_solo, -21.0, 0.4, 9.0),
    "clarinet": Seat((71, 69, 70), play_melody, -22.0, 0.4, 9.0),
    "flute": Seat((73, 72, 75), play_melody, -22.0, 0.4, 9.0),
    "whistle": Seat((74, 79, 72), play_melody, -22.0, 0.4, 9.0),
    "harmonica": Seat((22,), play_solo, -21.0, 0.4, 9.0),
    "accordion": Seat((23,), play_pads, -23.0, 0.2, 9.0),
    "banjo": Seat((105,), play_arpeggio, -23.0, 0.3, 6.0),
    "sitar": Seat((104, 106, 107), play_melody, -22.0, 0.4, 9.0),
    "vibes": Seat((11,), play_melody, -22.0, 0.3, 8.0),
    "marimba": Seat((12,), play_arpeggio, -23.0, 0.3, 6.0),
    "music box": Seat((10,), play_arpeggio, -25.0, 0.2, 6.0),
    "steel drums": Seat((114,), play_melody, -23.0, 0.4, 8.0),
}
"""Seats besides drums, bass and keys."""


PROGRAMS = tuple(sorted({program for seat in (BASS, KEYS, *COLOURS.values()) for program in seat.programs}))
"""Every program that a seat may take."""


def draw_band(plan: Plan, drums: bool | None, rng: np.random.Generator) -> tuple[Player, ...]:
    """Two to eight players.

    Args:
        plan: the song.
        drums: whether there is a drummer; None leaves it to the family.
        rng: the only source of randomness.
    """
    has_drums = bool(rng.random() < plan.family.drums) if drums is None else drums
    keys = KEYS if rng.random() < 0.75 else KEYS_BROKEN
    if rng.random() < DUETS and not drums:
        seats = _duet(keys, plan, rng)
    else:
        seats = [DRUMS] * has_drums
        seats += [BASS] * bool(rng.random() < 0.95) + [keys] * bool(rng.random() < 0.85)
        size = int(rng.choice(SIZES, p=SIZE_CHANCES))
        seats = _completed(seats, size, plan, rng)
    return tuple(Player(seat, _instrument(seat, plan, rng), _bars(seat, plan, rng)) for seat in seats)


def _duet(keys: Seat, plan: Plan, rng: np.random.Generator) -> list[Seat]:
    """Two players: a line or chords over keys, guitar, bass or drums."""
    grounds = (keys, COLOURS["picked guitar"], COLOURS["strum"], BASS, DRUMS, COLOURS["accordion"])
    ground = grounds[rng.choice(len(grounds), p=[0.4, 0.15, 0.15, 0.12, 0.12, 0.06])]
    if ground in (BASS, DRUMS):
        return [ground, keys]
    names = [name for name, seat in COLOURS.items() if seat.leads]
    return [ground, COLOURS[str(rng.choice(names))]]


def _completed(seats: list[Seat], size: int, plan: Plan, rng: np.random.Generator) -> list[Seat]:
    """The band filled up, mostly with what the family likes."""
    names = list(COLOURS)
    weights = np.array([0.25 + 4.0 * plan.family.colours.count(name) for name in names])
    for name in rng.choice(names, len(names), replace=False, p=weights / weights.sum()):
        seat = COLOURS[str(name)]
        too_many = seat.leads and sum(taken.leads for taken in seats) == MOST_LEADS
        if len(seats) < size and not too_many:
            seats.append(seat)
    if not any(seat is not DRUMS and not seat.leads for seat in seats):
        seats.append(KEYS)
    return seats


def _instrument(seat: Seat, plan: Plan, rng: np.random.Generator) -> Instrument:
    if seat is DRUMS:
        return Instrument(int(rng.choice(plan.family.kits)), is_drum=True)
    return Instrument(int(rng.choice(seat.programs)))


def _bars(seat: Seat, plan: Plan, rng: np.random.Generator) -> tuple[int, ...]:
    """Bars of the sections with enough energy, without silences; sometimes it rests in one section more."""
    sections = {bar.section: bar.part for bar in plan.bars}
    often = seat in (DRUMS, BASS, KEYS, KEYS_BROKEN)
    playing = {
        section
        for section, part in sections.items()
        if part.energy >= seat.threshold and (part.energy == 1 or rng.random() > (0.06 if often else 0.2))
    }
    bars = (
        number
        for number, bar in enumerate(plan.bars)
        if not bar.silent and (bar.drums or seat is not DRUMS) and (seat is DRUMS or not bar.count_in)
        and (bar.section in playing or (bar.count_in and seat is DRUMS))
    )  # fmt: skip
    return tuple(bars)
