"""Grooves made by the rules of a family, and the share of them that is held out.

A pattern is one bar, one letter per sixteenth: "X" accent, "x" stroke, "o" soft stroke, "." nothing, "-" hold; cymbals
also "O", an open hi-hat. Bass letters are in `datamodules.wide_songs.parts.bass`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datamodules.wide_songs.families import CYMBALS, PERCUSSION, Family, Odds
from datamodules.wide_songs.metre import Metre

HELD_OUT_OF = 8
"""One groove of this many is held out."""
SALT = "1"
"""Chosen so that the plainest beats, which everybody plays, are for training."""
MOST_TRIES = 200


@dataclass(frozen=True)
class Groove:
    """What everybody plays in a bar of one section.

    Args:
        metre: its metre.
        swing: where the second half of a swung unit begins; 0.5 is straight.
        swung_steps: length of that unit.
        kick: bass drum of a bar, and of the bar that answers it.
        snare: backbeat, and of the bar that answers it.
        cymbal: time-keeping cymbal.
        hands: percussion as (drum, pattern).
        bass: bass, and of the bar that answers it.
        comp: chords, and of the bar that answers it.
    """

    metre: Metre
    swing: float
    swung_steps: int
    kick: tuple[str, str]
    snare: tuple[str, str]
    cymbal: str
    hands: tuple[tuple[int, str], ...]
    bass: tuple[str, str]
    comp: tuple[str, str]

    @property
    def is_held_out(self) -> bool:
        """Whether its metre and the strokes of kick and snare belong to the share that training never hears.

        It follows from the strokes themselves, so that no groove is in both shares.
        """
        strokes = (SALT, self.metre.name, *(_strokes(bar) for bar in (*self.kick, *self.snare)))
        return zlib.crc32("|".join(strokes).encode()) % HELD_OUT_OF == 0

    def warped(self, step: float) -> float:
        """The step at which a step of the bar sounds, swing included."""
        unit, phase = divmod(step, self.swung_steps)
        phase /= self.swung_steps
        late = phase * 2 * self.swing if phase < 0.5 else self.swing + (phase - 0.5) * 2 * (1 - self.swing)
        return (unit + late) * self.swung_steps


def draw_groove(family: Family, metre: Metre, held_out: bool | None, rng: np.random.Generator) -> Groove:
    """A groove of a family.

    Args:
        family: whose rules it follows.
        metre: its metre.
        held_out: whether it is one of those that are held out; None takes any.
        rng: the only source of randomness.
    """
    for _ in range(MOST_TRIES):
        groove = _draw(family, metre, rng)
        if held_out in (None, groove.is_held_out):
            return groove
    raise AssertionError(f"{family.name} has no {'held-out' if held_out else 'seen'} groove in {metre.name}")


def _draw(family: Family, metre: Metre, rng: np.random.Generator) -> Groove:
    swing, swung_steps = family.swings[rng.integers(len(family.swings))]
    kick = _pair(_hits(family.kick, metre, "Xx", rng), family.kick, metre, rng)
    snare = _with_ghosts(_hits(family.snare, metre, "Xx", rng), family.ghosts, metre, rng)
    comp = tuple(
        _held(bar, family.held, rng) for bar in _pair(_hits(family.comp, metre, "Xx", rng), family.comp, metre, rng)
    )
    bass = _bass(family, kick[0], metre, rng)
    return Groove(
        metre=metre,
        # compound beats swing by themselves, and uneven ones not at all
        swing=swing if set(metre.beats) == {4} else 0.5,
        swung_steps=swung_steps,
        kick=kick,
        snare=(snare, _with_ghosts(snare, family.ghosts, metre, rng)),
        cymbal=_cymbal(family, metre, rng),
        hands=_hands(family, metre, rng),
        bass=(bass, bass if rng.random() < 0.5 else _bass(family, kick[1], metre, rng)),
        comp=(comp[0], comp[1]),
    )


def _strokes(pattern: str) -> str:
    return "".join("x" if letter in "Xx" else "." for letter in pattern)


def _chances(odds: Odds, metre: Metre) -> list[float]:
    return [odds["ohbae".index(place)] for place in metre.places()]


def _hits(odds: Odds, metre: Metre, letters: str, rng: np.random.Generator) -> str:
    """Strokes at random: accents on beats, plain strokes between them; at least one, at the likeliest place."""
    chances, draws = _chances(odds, metre), rng.random(metre.steps)
    hits = ["." if draw >= chance else letters[place in "ae"] for draw, chance, place in
            zip(draws, chances, metre.places(), strict=True)]  # fmt: skip
    if set(hits) == {"."}:
        hits[int(np.argmax(chances))] = letters[0]
    return "".join(hits)


def _pair(first: str, odds: Odds, metre: Metre, rng: np.random.Generator) -> tuple[str, str]:
    """A bar and its answer: the same, or the same with a new second half."""
    if rng.random() < 0.4:
        return first, first
    half = metre.beat_starts[(len(metre.beats) + 1) // 2]
    return first, first[:half] + _hits(odds, metre, "Xx", rng)[half:]


def _with_ghosts(snare: str, odds: Odds, metre: Metre, rng: np.random.Generator) -> str:
    """Soft strokes where the drum rests."""
    draws = rng.random(metre.steps)
    plain = snare.replace("o", ".")
    return "".join(
        "o" if letter == "." and draw < chance else letter
        for letter, draw, chance in zip(plain, draws, _chances(odds, metre), strict=True)
    )


def _held(pattern: str, share: float, rng: np.random.Generator) -> str:
    """The pattern with some of its strokes held until the next one."""
    letters, holding = list(pattern), False
    for step, letter in enumerate(pattern):
        if letter != ".":
            holding = bool(rng.random() < share)
        elif holding:
            letters[step] = "-"
    return "".join(letters)


def _bass(family: Family, kick: str, metre: Metre, rng: np.random.Generator) -> str:
    """New notes by the family's odds, more of them where the kick is; the first note is a root, later ones vary."""
    onsets = _hits(family.bass, metre, "Xx", rng)
    onsets = "".join(
        "x" if hit != "." and rng.random() < 0.5 else onset for onset, hit in zip(onsets, kick, strict=True)
    )
    letters = ["." if onset == "." else family.bass_letters[rng.integers(len(family.bass_letters))] for onset in onsets]
    first = next(step for step, letter in enumerate(letters) if letter != ".")
    letters[first] = "R" if letters[first] != "W" else "W"
    letters = ["O" if letter == "A" and step < metre.steps - 4 else letter for step, letter in enumerate(letters)]
    return _held("".join(letters), float(rng.choice([0.2, 0.6, 0.9])), rng)


def _cymbal(family: Family, metre: Metre, rng: np.random.Generator) -> str:
    pattern = _figured(CYMBALS[family.cymbals[rng.integers(len(family.cymbals))]], metre)
    draws = rng.random(metre.steps)
    letters = ["." if draw < 0.04 and step else letter for step, (letter, draw) in
               enumerate(zip(pattern, draws, strict=True))]  # fmt: skip
    if rng.random() < 0.25:
        opened = metre.steps - 2
        letters[opened] = "O"
    return "".join(letters)


def _figured(figures: tuple[str, str], metre: Metre) -> str:
    """The figures for each beat, those that take turns in turn; a beat of six in an uneven bar is four and two."""
    simple, compound = (figure.split("|") for figure in figures)
    beats: list[str] = []
    for number, length in enumerate(metre.beats):
        if metre.is_compound:
            beats.append(compound[number % len(compound)])
        else:
            figure = simple[number % len(simple)]
            beats.append((figure + figure)[:length])
    return "".join(beats)


def _hands(family: Family, metre: Metre, rng: np.random.Generator) -> tuple[tuple[int, str], ...]:
    if not family.hands or rng.random() < 0.45:
        return ()
    count = min(len(family.hands), 1 + int(rng.random() < 0.35))
    names: Sequence[str] = rng.choice(family.hands, count, replace=False).tolist()
    found: list[tuple[int, str]] = []
    for name in names:
        drum, simple, compound = PERCUSSION[name]
        figures = str(rng.choice(simple)), str(rng.choice(compound))
        found.append((drum, _figured(figures, metre)))
    return tuple(found)
