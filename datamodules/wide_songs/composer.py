"""Wide songs: a plan, what happens in it, a band, and the notes that its players make of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from datamodules.pocket_slakh.composer import TAIL_SECONDS, PlayedNote, Stem
from datamodules.pocket_slakh.meter import TICKS_PER_STEP
from datamodules.pocket_slakh.parts.note import Note
from datamodules.wide_songs.band import DRUMS, Player, draw_band
from datamodules.wide_songs.events import draw_events, with_count_in, with_event, with_living_tempo
from datamodules.wide_songs.plan import Plan, SongRules, draw_plan
from datamodules.wide_songs.timeline import Timeline, timeline

COUNT_INS = 0.2
MOST_PUSH_MS = 28.0
LEAST_TICKS = 20


@dataclass(frozen=True)
class WideSong:
    """A composed song.

    Args:
        plan: what its players read.
        timeline: its tempo map.
        stems: what they play.
    """

    plan: Plan
    timeline: Timeline
    stems: tuple[Stem, ...]

    @property
    def duration_seconds(self) -> float:
        """Until the last bar has ended and rung out."""
        return self.timeline.seconds(self.plan.starts[-1] * TICKS_PER_STEP) + TAIL_SECONDS


def compose(seed: int, index: int, rules: SongRules) -> WideSong:
    """The song of that index; it depends on nothing else.

    Args:
        seed: seed of the collection, at least 0.
        index: index of the song, at least 0.
        rules: what songs the collection holds.
    """
    # another stream than the sound's, and than that of the first composer
    rng = np.random.default_rng([seed, index, 2])
    plan = draw_plan(rules, rng)
    if rules.event is None:
        plan = with_living_tempo(_eventful(plan, rules, rng), rng)
    else:
        plan = with_event(plan, rules.event, len(plan.bars) // 2, rules, rng)
    while True:
        song = _played_by(draw_band(plan, None if rules.event is None else True, rng), plan, rng)
        # a lead may find no place in the form; one player alone is nobody's accompaniment
        if len(song.stems) > 1:
            return song


def _played_by(band: tuple[Player, ...], plan: Plan, rng: np.random.Generator) -> WideSong:
    if band[0].seat is DRUMS and rng.random() < COUNT_INS:
        plan = with_count_in(plan)
        band = tuple(_after_count_in(player) for player in band)
    times = timeline(plan)
    stems = (_perform(player, plan, times, rng) for player in band)
    return WideSong(plan, times, tuple(stem for stem in stems if stem.notes))


def _eventful(plan: Plan, rules: SongRules, rng: np.random.Generator) -> Plan:
    names = draw_events(rng)
    # in order of time, so that each finds what the one before has made
    for name, share in zip(names, sorted(rng.uniform(0.25, 0.75, len(names))), strict=True):
        plan = with_event(plan, name, max(1, round(share * len(plan.bars))), rules, rng)
    return plan


def _after_count_in(player: Player) -> Player:
    bars = tuple(bar + 1 for bar in player.bars)
    return replace(player, bars=(0, *bars) if player.seat is DRUMS else bars)


def _perform(player: Player, plan: Plan, times: Timeline, rng: np.random.Generator) -> Stem:
    """The part as it is played: the player pushes or drags, and hits no two notes alike."""
    written = player.seat.play(plan, player.bars, rng)
    machine = plan.family.drift == 0
    push = 0.0 if machine else float(np.clip(rng.normal(0, 9), -MOST_PUSH_MS, MOST_PUSH_MS))
    spread = player.seat.timing_ms * (0.2 if machine else float(rng.uniform(0.5, 1.3)))
    strokes = {note.step: (float(rng.normal(push, spread)), float(rng.normal())) for note in written}
    dynamics = float(rng.uniform(0.75, 1.0))
    notes = {_played(note, plan, times, *strokes[note.step], dynamics) for note in written}
    level = player.seat.level_db + float(rng.uniform(-1.5, 1.5))
    return Stem(player.instrument, level, tuple(sorted(notes, key=lambda n: (n.tick, n.pitch, n.ticks, n.velocity))))


def _played(note: Note, plan: Plan, times: Timeline, late_ms: float, stress: float, dynamics: float) -> PlayedNote:
    """Notes struck together stay together."""
    start, end = plan.tick(note.step), plan.tick(note.step + note.steps)
    late = late_ms * times.ticks_per_ms(start)
    tick = max(0, round(start + late))
    velocity = 10 + 112 * note.velocity * dynamics + 4 * stress
    return PlayedNote(
        tick, max(LEAST_TICKS, round(end + late) - tick), note.pitch, int(np.clip(round(velocity), 1, 127))
    )
