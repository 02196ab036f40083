"""The drum kit: kick and backbeat of the groove, a time-keeping cymbal, fills into new sections."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datamodules.pocket_slakh.form import Section
from datamodules.pocket_slakh.parts.note import Note
from datamodules.pocket_slakh.sheet import Sheet

KICK, SIDE_STICK, SNARE, CLOSED_HAT, PEDAL_HAT, OPEN_HAT, CRASH, RIDE = 36, 37, 38, 42, 44, 46, 49, 51
HIGH_TOM, MID_TOM, LOW_TOM = 48, 45, 41
HIT_STEPS = 1
VELOCITY = {"X": 1.0, "x": 0.78, "o": 0.4}


def play_drums(sheet: Sheet, bars: Sequence[int], rng: np.random.Generator) -> list[Note]:
    """Notes for the bars in which the kit plays."""
    notes: list[Note] = []
    fill = _draw_fill(sheet, rng)
    for bar in bars:
        section = sheet.section_of(bar)
        filling = bar == section.end_bar - 1 and bar + 1 < sheet.bars and section.label != "break"
        start = bar * sheet.steps_per_bar
        until = sheet.steps_per_bar - (len(fill) if filling else 0)
        notes += [Note(start + n.step, n.steps, n.pitch, n.velocity) for n in _bar(sheet, section) if n.step < until]
        if filling:
            notes += [Note(start + until + n.step, n.steps, n.pitch, n.velocity) for n in _fill_notes(fill)]
        if bar == section.first_bar and section.label in ("chorus", "verse", "outro"):
            notes.append(Note(start, HIT_STEPS, CRASH, 0.8))
    if bars:
        notes += [Note(sheet.bars * sheet.steps_per_bar - sheet.steps_per_bar, HIT_STEPS, CRASH, 0.8)]
    return notes


def _bar(sheet: Sheet, section: Section) -> list[Note]:
    groove = sheet.grooves[section.loop]
    loud = section.label == "chorus"
    backbeat = SIDE_STICK if sheet.style.side_stick and not loud else SNARE
    cymbal = RIDE if sheet.style.ride else CLOSED_HAT
    layers = [(groove.cymbal, cymbal, 0.62)]
    if section.label != "break":
        layers += [(groove.kick, KICK, 0.95), (groove.snare, backbeat, 0.9)]
    elif not sheet.style.ride:
        layers += [(_first_beat(sheet), KICK, 0.85)]
    if sheet.style.ride:
        layers.append((_off_beats(sheet), PEDAL_HAT, 0.55))
    return [
        Note(step, HIT_STEPS, drum, VELOCITY[letter] * level)
        for pattern, drum, level in layers
        for step, letter in enumerate(pattern)
        if letter in VELOCITY
    ]


def _first_beat(sheet: Sheet) -> str:
    return "X".ljust(sheet.steps_per_bar, ".")


def _off_beats(sheet: Sheet) -> str:
    beat = sheet.clock.meter.steps_per_beat
    return "".join("x" if step % beat == 0 and step // beat % 2 == 1 else "." for step in range(sheet.steps_per_bar))


def _draw_fill(sheet: Sheet, rng: np.random.Generator) -> str:
    """Letters s (snare), h, m, l (toms), k (kick), one per step, in whole beats."""
    if sheet.clock.meter.steps_per_beat == 6:
        fills: tuple[str, ...] = ("s.s.s.", "h.m.l.", "shshll")
    elif sheet.clock.swung_steps == 4 and sheet.clock.swing > 0.5:
        fills = ("s.s.m.l.", "s.s.", "h.m.l.k.")
    else:
        fills = ("s.s.ssss", "sshhmmll", "s.hhm.ll", "ssss", "k.s.s.ss")
    return fills[rng.integers(len(fills))]


def _fill_notes(fill: str) -> list[Note]:
    drums = {"s": SNARE, "h": HIGH_TOM, "m": MID_TOM, "l": LOW_TOM, "k": KICK}
    return [
        Note(step, HIT_STEPS, drums[letter], 0.75 + 0.2 * step / len(fill))
        for step, letter in enumerate(fill)
        if letter in drums
    ]
