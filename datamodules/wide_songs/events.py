"""What happens to a band: events as functions from bars to bars, and tempos that live.

The first eight are those of the adaptation benchmark. Each returns the changed bars and the bars that it concerns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from datamodules.wide_songs.metre import FOUR_FOUR, SEVEN_EIGHT, SIX_EIGHT, THREE_FOUR
from datamodules.wide_songs.plan import Bar, Event, Plan, SongRules, draw_bars, draw_plan, transposed

Bars = tuple[Bar, ...]
Change = Callable[[Plan, int, SongRules, np.random.Generator], tuple[Bars, int]]
"""(plan, bar, rules, rng) to the new bars and the bar after the event's last."""

KEY_UP_SEMITONES = 3
TEMPO_STEP, TEMPO_RAMP, RAMP_BARS = 1.08, 1.15, 8
SILENT_BARS, DRUMLESS_BARS = 2, 8
RUBATO = 0.06


def key_up(plan: Plan, at: int, rules: SongRules, rng: np.random.Generator) -> tuple[Bars, int]:
    """From a bar on, everything is three semitones higher."""
    return (*plan.bars[:at], *(transposed(bar, KEY_UP_SEMITONES) for bar in plan.bars[at:])), len(plan.bars)


def tempo_step(plan: Plan, at: int, rules: SongRules, rng: np.random.Generator) -> tuple[Bars, int]:
    """From a bar on, the tempo is 8 % higher."""
    return (*plan.bars[:at], *(_faster(bar, TEMPO_STEP) for bar in plan.bars[at:])), len(plan.bars)


def tempo_ramp(plan: Plan, at: int, rules: SongRules, rng: np.random.Generator) -> tuple[Bars, int]:
    """Over eight bars, beat by beat, the tempo rises by 15 %, and stays."""
    end = min(len(plan.bars), at + RAMP_BARS)
    beats = sum(len(bar.tempos) for bar in plan.bars[at:end])
    rise = iter(1 + (TEMPO_RAMP - 1) * np.arange(1, beats + 1) / beats)
    ramp = (replace(bar, tempos=tuple(float(tempo * next(rise)) for tempo in bar.tempos)) for bar in plan.bars[at:end])
    return (*plan.bars[:at], *ramp, *(_faster(bar, TEMPO_RAMP) for bar in plan.bars[end:])), end


def silence(plan: Plan, at: int, rules: SongRules, rng: np.random.Generator) -> tuple[Bars, int]:
    """Nobody plays for two bars; the beat goes on."""
    end = min(len(plan.bars), at + SILENT_BARS)
    return (*plan.bars[:at], *(replace(bar, silent=True) for bar in plan.bars[at:end]), *plan.bars[end:]), end


def drums_out(plan: Plan, at: int, rules: SongRules, rng: np.random.Generator) -> tuple[Bars, int]:
    """The drummer rests for eight bars."""
    end = min(len(plan.bars), at + DRUMLESS_BARS)
    return (*plan.bars[:at], *(replace(bar, drums=False) for bar in plan.bars[at:end]), *plan.bars[end:]), end


def rubato(plan: Plan, at: int, rules: SongRules, rng: np.random.Generator) -> tuple[Bars, int]:
    """From a bar on, the tempo swings by 6 % up and down, once in every two bars."""
    phases = _beat_phases(plan.bars[at:], 2)
    swung = (
        replace(bar, tempos=tuple(float(t * (1 + RUBATO * np.sin(2 * np.pi * next(phases)))) for t in bar.tempos))
        for bar in plan.bars[at:]
    )
    return (*plan.bars[:at], *swung), len(plan.bars)


def metre_change(plan: Plan, at: int, rules: SongRules, rng: np.random.Generator) -> tuple[Bars, int]:
    """From a bar on, the song goes on in another metre, in the same key and at the same tempo of its quarters."""
    bar = plan.bars[at]
    others = [metre for metre in (FOUR_FOUR, THREE_FOUR, SIX_EIGHT, SEVEN_EIGHT) if metre.name != bar.metre.name]
    metre = others[rng.integers(len(others))]
    after = draw_bars(plan.family, metre, bar.key, bar.tempos[0], rules, rng)
    return joined(plan.bars, at, after), len(plan.bars)


def song_swap(plan: Plan, at: int, rules: SongRules, rng: np.random.Generator) -> tuple[Bars, int]:
    """From a bar on, the band plays another song: other style, key, tempo and metre."""
    return joined(plan.bars, at, draw_plan(rules, rng).bars), len(plan.bars)


EVENTS: dict[str, Change] = {
    "key_up": key_up,
    "tempo_step": tempo_step,
    "tempo_ramp": tempo_ramp,
    "silence": silence,
    "song_swap": song_swap,
    "rubato": rubato,
    "metre_change": metre_change,
    "drums_out": drums_out,
}


REPLACING = ("song_swap", "metre_change")
"""Events after which nothing of the song before goes on."""


def with_event(plan: Plan, name: str, at: int, rules: SongRules, rng: np.random.Generator) -> Plan:
    """The plan with one more event.

    Args:
        plan: the song.
        name: a key of `EVENTS`.
        at: the bar at which it begins.
        rules: those of what is new.
        rng: randomness of what is new.
    """
    bars, end = EVENTS[name](plan, at, rules, rng)
    over = at if name in REPLACING else len(bars)
    earlier = (replace(event, end_bar=min(event.end_bar, over)) for event in plan.events)
    return replace(plan, bars=bars, events=(*earlier, Event(name, at, end if end < len(plan.bars) else len(bars))))


def joined(before: Sequence[Bar], at: int, after: Sequence[Bar]) -> Bars:
    """The first `at` bars of one song, then bars of another, until the time of the first is filled."""
    seconds, place = _seconds(before[at:]), 0
    section = before[at - 1].section + 1
    taken: list[Bar] = []
    while _seconds(taken) < seconds and place < len(after):
        taken.append(replace(after[place], section=section + after[place].section))
        place += 1
    head = [*before[: at - 1], replace(before[at - 1], closes=True)]
    return (*head, *taken[:-1], replace(taken[-1], closes=True))


def with_count_in(plan: Plan) -> Plan:
    """The plan after a bar in which the drummer counts."""
    first = replace(plan.bars[0], count_in=True)
    events = tuple(replace(e, first_bar=e.first_bar + 1, end_bar=e.end_bar + 1) for e in plan.events)
    return replace(plan, bars=(first, *plan.bars), events=events)


def with_living_tempo(plan: Plan, rng: np.random.Generator) -> Plan:
    """The plan with a tempo that wanders as the family's players do, pulls back at the end, and may breathe in phrases.

    A machine's tempo stays as it is.
    """
    if plan.family.drift == 0:
        return plan
    sway = plan.family.drift * float(rng.lognormal(0, 0.5)) / 100
    beats = sum(len(bar.tempos) for bar in plan.bars)
    factors = np.exp(_wander(beats, sway, rng))
    if plan.family.drift >= 1 and rng.random() < 0.5:
        depth = float(rng.uniform(0.01, 0.05))
        factors *= 1 + depth * np.sin(2 * np.pi * np.array(list(_beat_phases(plan.bars, 4))))
    if rng.random() < 0.4:
        slow = min(beats, int(rng.integers(4, 13)))
        factors[-slow:] *= np.linspace(1, float(rng.uniform(0.6, 0.9)), slow)
    rest = iter(factors)
    bars = tuple(replace(bar, tempos=tuple(float(t * next(rest)) for t in bar.tempos)) for bar in plan.bars)
    return replace(plan, bars=bars)


def draw_events(rng: np.random.Generator) -> list[str]:
    """Names of none to two events, as songs for training have them."""
    count = int(rng.choice([0, 1, 2], p=[0.5, 0.35, 0.15]))
    return [str(name) for name in rng.choice(list(EVENTS), count, replace=False)]


def _faster(bar: Bar, factor: float) -> Bar:
    return replace(bar, tempos=tuple(tempo * factor for tempo in bar.tempos))


def _seconds(bars: Sequence[Bar]) -> float:
    return sum(steps * 15 / tempo for bar in bars for steps, tempo in zip(bar.metre.beats, bar.tempos, strict=True))


def _beat_phases(bars: Sequence[Bar], period_bars: int) -> Iterator[float]:
    for number, bar in enumerate(bars):
        for start in bar.metre.beat_starts:
            yield (number + start / bar.metre.steps) / period_bars


def _wander(beats: int, sway: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A random walk that is pulled back to 0, of standard deviation `sway`."""
    walk, pull = np.zeros(beats), 0.06
    for beat in range(1, beats):
        walk[beat] = (1 - pull) * walk[beat - 1] + sway * np.sqrt(2 * pull) * rng.normal()
    return walk
