"""The drum kit with its percussion: grooves, breaks, fills, counts."""

from __future__ import annotations

import numpy as np

from datamodules.pocket_slakh.parts.drums import (
    CLOSED_HAT,
    CRASH,
    HIGH_TOM,
    KICK,
    LOW_TOM,
    MID_TOM,
    OPEN_HAT,
    PEDAL_HAT,
    RIDE,
    SIDE_STICK,
    SNARE,
    VELOCITY,
)
from datamodules.pocket_slakh.parts.note import Note
from datamodules.wide_songs.plan import Bar, Plan

SPARSE, FULL = 0.35, 0.85
CHINA, SPLASH, STICKS = 52, 55, 37
_FILL_DRUMS = (SNARE, SNARE, HIGH_TOM, MID_TOM, LOW_TOM)


def play_drums(plan: Plan, bars: tuple[int, ...], rng: np.random.Generator) -> list[Note]:
    """Notes of the kit in the bars in which the drummer plays; the drummer alone plays the count-in."""
    loud_cymbal = int(rng.choice([RIDE, CLOSED_HAT, OPEN_HAT, CRASH], p=[0.45, 0.3, 0.18, 0.07]))
    fills = float(rng.choice([0.3, 0.8, 1.0]))
    notes: list[Note] = []
    for number in bars:
        bar, start = plan.bars[number], plan.starts[number]
        if number == len(plan.bars) - 1:
            written = [Note(0, 1, CRASH, 0.8), Note(0, 1, KICK, 0.9)]
        elif bar.count_in:
            written = [Note(step, 1, STICKS, 0.75) for step in bar.metre.beat_starts]
        else:
            written = _bar(bar, plan.family.side_stick, loud_cymbal)
            if bar.closes and bar.part.energy >= SPARSE and rng.random() < fills:
                written = _filled(written, bar, rng)
        if bar.place == 0 and number > 0 and bar.part.energy > SPARSE and not bar.count_in:
            written.append(Note(0, 1, int(rng.choice([CRASH, CRASH, SPLASH, CHINA])), 0.78))
        notes += [Note(start + note.step, note.steps, note.pitch, note.velocity) for note in written]
    return notes


def _bar(bar: Bar, side_stick: bool, loud_cymbal: int) -> list[Note]:
    groove, answer, energy = bar.groove, bar.place % 2, bar.part.energy
    cymbal = loud_cymbal if energy > FULL else CLOSED_HAT
    layers = [(groove.cymbal, cymbal, 0.58 + 0.08 * energy)]
    if energy >= SPARSE:
        backbeat = SIDE_STICK if side_stick and energy < FULL else SNARE
        layers += [(groove.kick[answer], KICK, 0.95), (groove.snare[answer], backbeat, 0.9)]
        layers += [(pattern, drum, 0.62) for drum, pattern in groove.hands]
    elif groove.kick[0][0] == "X":
        layers.append(("X", KICK, 0.85))
    return [
        Note(step, 1, OPEN_HAT if letter == "O" else drum, VELOCITY["X" if letter == "O" else letter] * level)
        for pattern, drum, level in layers
        for step, letter in enumerate(pattern)
        if letter not in ".-"
    ]


def _filled(written: list[Note], bar: Bar, rng: np.random.Generator) -> list[Note]:
    """The bar with its last beats replaced by a fill, whose drums descend and whose strokes grow."""
    beats = bar.metre.beat_starts
    start = beats[-min(len(beats), int(rng.choice([1, 1, 2, 2, 4])))]
    stride = 2 if bar.metre.is_compound or bar.groove.swing > 0.58 else int(rng.choice([1, 1, 2]))
    density, length = float(rng.uniform(0.6, 1.0)), bar.metre.steps - start
    fill: list[Note] = []
    for step in range(start, bar.metre.steps, stride):
        done = (step - start) / length
        if step == start or rng.random() < density:
            drum = _FILL_DRUMS[min(len(_FILL_DRUMS) - 1, int(done * len(_FILL_DRUMS) + rng.uniform(-0.3, 0.6)))]
            fill.append(Note(step, 1, KICK if rng.random() < 0.12 else drum, 0.7 + 0.25 * done))
    kept = [note for note in written if note.step < start or note.pitch == PEDAL_HAT]
    return kept + fill
