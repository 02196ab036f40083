"""Melodies that breathe, and solos: phrases of strong chord tones and scale steps, with rests between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datamodules.pocket_slakh.parts.note import Note
from datamodules.pocket_slakh.theory import nearest_pitch
from datamodules.wide_songs.plan import Bar, Plan

BLUE = (0, 3, 5, 6, 7, 10)


@dataclass(frozen=True)
class Phrase:
    """What a phrase repeats: the steps of its notes in bars of its metre, and how far each leaps.

    Args:
        steps: of every bar of the phrase, the steps at which notes begin.
        leaps: of every note, in scale steps.
    """

    steps: tuple[tuple[int, ...], ...]
    leaps: tuple[int, ...]


def play_melody(plan: Plan, bars: tuple[int, ...], rng: np.random.Generator) -> list[Note]:
    """Melodies of the sections that have one: phrases that come back, each with a breath at its end."""
    return _lead(plan, bars, ("melody",), 0.5, rng)


def play_solo(plan: Plan, bars: tuple[int, ...], rng: np.random.Generator) -> list[Note]:
    """Denser lines over solos, never the same phrase twice; a song without solos is led by a melody."""
    has_solos = any(bar.part.lead == "solo" for bar in plan.bars)
    return _lead(plan, bars, ("solo",) if has_solos else ("melody",), 0.75 if has_solos else 0.5, rng)


def play_counter(plan: Plan, bars: tuple[int, ...], rng: np.random.Generator) -> list[Note]:
    """A slow second voice wherever the section is full."""
    return _lead(plan, bars, ("melody", "solo", "none"), 0.16, rng)


def _lead(
    plan: Plan, bars: tuple[int, ...], leads: tuple[str, ...], density: float, rng: np.random.Generator
) -> list[Note]:
    centre, length = int(rng.choice([64, 67, 69, 72, 74])), int(rng.choice([2, 2, 4]))
    density *= float(rng.uniform(0.6, 1.2))
    blue = plan.family.idioms[0] == "blues" or rng.random() < 0.1
    phrases: dict[tuple[int, str], Phrase] = {}
    notes: list[Note] = []
    pitch, used = centre, 0
    for number in bars:
        bar = plan.bars[number]
        if bar.part.lead not in leads or (number == len(plan.bars) - 1):
            continue
        key = (bar.section if bar.part.lead == "solo" else bar.part.material, bar.metre.name)
        if bar.place % length == 0:
            renew = bar.part.lead == "solo" or rng.random() < 0.25
            if renew or key not in phrases:
                phrases[key] = _draw_phrase(bar, length, density, rng)
            used, pitch = 0, centre if rng.random() < 0.5 else pitch
        phrase = phrases.setdefault(key, _draw_phrase(bar, length, density, rng))
        steps = phrase.steps[bar.place % length]
        for place, step in enumerate(steps):
            until = steps[place + 1] if place + 1 < len(steps) else min(bar.metre.steps, step + 6)
            goal = int(np.clip(pitch + 1.7 * phrase.leaps[used % len(phrase.leaps)], centre - 10, centre + 12))
            used += 1
            pitch = _note_near(goal, bar, step, until - step, blue)
            level = 0.64 + 0.16 * (step in bar.metre.beat_starts) + 0.08 * bar.part.energy
            notes.append(Note(plan.starts[number] + step, (until - step) * 0.92, pitch, level))
    return notes


def _draw_phrase(bar: Bar, length: int, density: float, rng: np.random.Generator) -> Phrase:
    """Notes at random, more on beats than between, and none in the last beats: there the player breathes."""
    weights = {"o": 1.4, "h": 1.2, "b": 1.2, "a": 0.8, "e": 0.25}
    chances = np.array([density * weights[place] for place in bar.metre.places()])
    if bar.metre.is_compound or bar.groove.swing > 0.58:
        chances[1::2] = 0
    steps: list[tuple[int, ...]] = []
    for number in range(length):
        hits = rng.random(bar.metre.steps) < chances
        if number == length - 1:
            hits[bar.metre.beat_starts[len(bar.metre.beats) // 2] :] = False
        steps.append(tuple(int(step) for step in np.flatnonzero(hits)))
    return Phrase(tuple(steps), tuple(int(leap) for leap in rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 3, 4], size=24)))


def _note_near(goal: int, bar: Bar, step: int, length: int, blue: bool) -> int:
    """The nearest chord tone on beats and for long notes, else the nearest note of the scale."""
    chord = bar.chord_at(step)
    if step in bar.metre.beat_starts or length > 3:
        classes: tuple[int, ...] = chord.pitch_classes
    elif blue:
        classes = tuple((bar.key.tonic + degree) % 12 for degree in BLUE)
    else:
        classes = bar.key.scale
    return min(
        (nearest_pitch(pitch_class, goal) for pitch_class in classes), key=lambda pitch: (abs(pitch - goal), pitch)
    )
