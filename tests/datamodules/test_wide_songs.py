"""Wide songs without sound: equal seeds, variety, truth that agrees with the tempo map, events, held-out grooves."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
import pretty_midi
import pytest

from datamodules.pocket_slakh.meter import TICKS_PER_STEP
from datamodules.wide_songs.annotation import score, song_annotations
from datamodules.wide_songs.band import KEYS
from datamodules.wide_songs.collection import EventName
from datamodules.wide_songs.composer import WideSong, compose
from datamodules.wide_songs.events import EVENTS, KEY_UP_SEMITONES, with_event
from datamodules.wide_songs.families import FAMILIES
from datamodules.wide_songs.groove import Groove, draw_groove
from datamodules.wide_songs.metre import FOUR_FOUR
from datamodules.wide_songs.parts.chords import play_stabs
from datamodules.wide_songs.plan import Plan, SongRules, draw_plan
from datamodules.wide_songs.timeline import timeline

SONGS = 120
GOLDEN = "fdd22bea99a4e0f573739f128ef765c0426323b57a4ad80548bba43c33965bcc"


@pytest.fixture(scope="module")
def songs() -> list[WideSong]:
    return [compose(5, index, SongRules()) for index in range(SONGS)]


def _grooves(song: WideSong) -> set[tuple[object, ...]]:
    return {(bar.metre.name, bar.groove.kick, bar.groove.snare) for bar in song.plan.bars}


def _strokes(song: WideSong) -> set[tuple[object, ...]]:
    """Metre, kick and snare without ghost strokes."""
    plain = [(bar.metre.name, *bar.groove.kick, *bar.groove.snare) for bar in song.plan.bars]
    return {tuple(part.replace("o", ".").replace("X", "x") for part in groove) for groove in plain}


def _plan(seed: int) -> Plan:
    """A strict plan that is long enough for every event."""
    rng = np.random.default_rng(seed)
    while True:
        plan = draw_plan(SongRules(None), rng)
        if len(plan.bars) >= 24:
            return plan


def test_a_seed_always_gives_the_same_song() -> None:
    assert compose(3, 5, SongRules()) == compose(3, 5, SongRules())
    assert compose(3, 5, SongRules()) != compose(3, 6, SongRules()) != compose(4, 6, SongRules())


def test_the_notes_of_a_published_seed_never_change() -> None:
    """Banks and weights belong to these very songs."""
    notes = [
        (stem.instrument.program_num, *stem.notes)
        for index in range(3)
        for stem in compose(0, index, SongRules()).stems
    ]
    assert hashlib.sha256(repr(notes).encode()).hexdigest() == GOLDEN


def test_songs_differ(songs: list[WideSong]) -> None:
    assert len({song.plan.family.name for song in songs}) >= 24
    metres = {bar.metre.name for song in songs for bar in song.plan.bars}
    assert metres == {"4/4", "3/4", "5/4", "6/8", "7/8", "12/8"}
    assert len(set().union(*map(_grooves, songs))) > 1.5 * SONGS
    assert len({tuple(span.chord.label for span in song.plan.spans[:6]) for song in songs}) >= 0.95 * SONGS
    assert len({bar.key.mode for song in songs for bar in song.plan.bars}) == 6
    assert {event.name for song in songs for event in song.plan.events} == set(EVENTS)
    assert all(35 <= song.duration_seconds <= 75 for song in songs)
    modulating = [len({bar.key.tonic for bar in song.plan.bars}) > 1 for song in songs]
    assert 0.2 < np.mean(modulating) < 0.7


def test_bands_differ_from_duets_without_drums_to_eight_players(songs: list[WideSong]) -> None:
    sizes = Counter(len(song.stems) for song in songs)
    assert min(sizes) == 2
    assert max(sizes) >= 7
    drums = [any(stem.instrument.is_drum for stem in song.stems) for song in songs]
    assert 0.7 < np.mean(drums) < 0.95
    assert len({stem.instrument.inst_class for song in songs for stem in song.stems}) >= 13


def test_options_name_every_event() -> None:
    assert set(get_args(EventName)) == set(EVENTS)


def test_every_family_has_seen_and_held_out_grooves_in_every_metre() -> None:
    rng = np.random.default_rng(0)
    for family in FAMILIES:
        for metre in family.metres:
            assert not draw_groove(family, metre, False, rng).is_held_out
            assert draw_groove(family, metre, True, rng).is_held_out


def test_songs_last_as_long_as_they_are_asked_to() -> None:
    """But none has fewer than eight bars; players come in and end as in longer ones."""
    short = [compose(5, index, SongRules(seconds=(16, 24))) for index in range(SONGS)]
    assert 16 < np.median([song.duration_seconds for song in short]) < 26
    for song in short:
        assert song.duration_seconds < 40 or len(song.plan.bars) <= 12
        assert len(song.stems) > 1


def test_held_out_grooves_never_occur_in_songs_for_training(songs: list[WideSong]) -> None:
    held_out = [compose(5, index, SongRules(held_out_grooves=True)) for index in range(30)]
    assert not set().union(*map(_strokes, held_out)) & set().union(*map(_strokes, songs))


def test_the_plainest_beats_are_for_training() -> None:
    backbeat = "....X.......X..."
    for kick in ("X.......X.......", "X...X...X...X...", "X.......X.x.....", "X.....x.X......."):
        assert not Groove(FOUR_FOUR, 0.5, 4, (kick, kick), (backbeat, backbeat), "", (), ("", ""), ("", "")).is_held_out


def test_midi_says_the_same_times_as_the_truth(songs: list[WideSong], tmp_path: Path) -> None:
    """Notes and, where beats are quarters, beats and downbeats: read back from the file by another program."""
    checked = 0
    for song in songs[:20]:
        path = tmp_path / "song.mid"
        score(song, song.stems).dump_midi(str(path))
        midi = pretty_midi.PrettyMIDI(str(path))
        for stem, track in zip(song.stems, midi.instruments, strict=True):
            played = sorted(song.timeline.seconds(note.tick) for note in stem.notes)
            assert np.allclose(played, sorted(note.start for note in track.notes), atol=1e-3)
        if {bar.metre.name for bar in song.plan.bars} <= {"4/4", "3/4", "5/4"}:
            truth = song_annotations(song, song.duration_seconds)
            beats, downbeats = midi.get_beats(), midi.get_downbeats()
            assert np.allclose(beats[: len(truth["beats"])], truth["beats"][: len(beats)], atol=1e-3)
            assert np.allclose(downbeats[: len(truth["downbeats"])], truth["downbeats"][: len(downbeats)], atol=1e-3)
            checked += 1
    assert checked >= 8


def test_living_tempo_lives(songs: list[WideSong]) -> None:
    """People's tempi wander by some percent between neighbouring beats; machines' beats are all alike."""
    for song in songs:
        if not song.plan.events:
            metre = song.plan.bars[0].metre
            beats = np.diff(song.timeline.ticks) * np.array(song.timeline.microseconds[:-1])
            ratios = beats[len(metre.beats) :] / beats[: -len(metre.beats)]
            if song.plan.family.drift == 0:
                assert np.allclose(ratios, 1, atol=1e-5)
            else:
                assert 1e-4 < np.std(ratios) < 0.2


def test_annotations_leave_no_gaps(songs: list[WideSong]) -> None:
    for song in songs:
        truth = song_annotations(song, song.duration_seconds)
        assert set(truth["downbeats"]) <= set(truth["beats"])
        assert np.all(np.diff(truth["beats"]) > 0.1)
        for spans in (truth["chords"], truth["sections"]):
            assert all(a["end"] == b["start"] for a, b in pairwise(spans))
            assert spans[-1]["end"] == pytest.approx(song.duration_seconds - 1.5, abs=1e-5)
        assert truth["chords"][0]["start"] == 0
        assert all(0 <= event["start"] < event["end"] <= truth["duration_seconds"] for event in truth["events"])


def test_chords_are_what_chord_players_play() -> None:
    rng = np.random.default_rng(3)
    for seed in range(10):
        plan = _plan(seed)
        notes = play_stabs(plan, tuple(range(len(plan.bars))), rng)
        assert len(notes) > 50
        assert all(note.pitch % 12 in plan.chord_at(note.step).pitch_classes for note in notes)


@pytest.mark.parametrize("seed", range(3))
def test_a_key_goes_up_three_semitones(seed: int) -> None:
    plan = _plan(seed)
    changed = with_event(plan, "key_up", 12, SongRules(None), np.random.default_rng(0))
    assert changed.bars[:12] == plan.bars[:12]
    for before, after in zip(plan.bars[12:], changed.bars[12:], strict=True):
        assert (after.key.tonic - before.key.tonic) % 12 == KEY_UP_SEMITONES
        assert after.groove == before.groove
    assert (changed.events[0].first_bar, changed.events[0].end_bar) == (12, len(plan.bars))


@pytest.mark.parametrize(("name", "at_once", "in_the_end"), [("tempo_step", 1.08, 1.08), ("tempo_ramp", 1.01, 1.15)])
def test_tempo_rises_at_once_or_over_eight_bars(name: str, at_once: float, in_the_end: float) -> None:
    plan = _plan(1)
    changed = with_event(plan, name, 8, SongRules(None), np.random.default_rng(0))
    ratios = [
        b / a for x, y in zip(plan.bars, changed.bars, strict=True) for a, b in zip(x.tempos, y.tempos, strict=True)
    ]
    beats = len(plan.bars[0].tempos)
    assert set(ratios[: 8 * beats]) == {1.0}
    assert 1 < ratios[8 * beats] <= at_once + 1e-9
    assert np.all(np.diff(ratios) >= -1e-9)
    assert ratios[16 * beats - 1] == pytest.approx(in_the_end)
    assert ratios[-1] == pytest.approx(in_the_end)


def test_rubato_swings_by_six_percent_about_the_tempo() -> None:
    plan = _plan(2)
    changed = with_event(plan, "rubato", 8, SongRules(None), np.random.default_rng(0))
    ratios = np.array([b / plan.bars[0].tempos[0] for bar in changed.bars[8:] for b in bar.tempos])
    assert np.abs(ratios - 1).max() <= 0.06 + 1e-9
    assert ratios.max() > 1.04
    assert ratios.min() < 0.96


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_events_are_heard_where_the_truth_says(name: str) -> None:
    """In composed songs with one event: silence is silent, drums rest, metre, key and song change at that bar."""
    for index in range(6):
        song = compose(9, index, SongRules(None, name))
        (event,) = song.plan.events
        before, after = song.plan.bars[event.first_bar - 1], song.plan.bars[event.first_bar]
        edges = [song.plan.starts[bar] * TICKS_PER_STEP for bar in (event.first_bar, event.end_bar)]
        # a stroke on the bar line may come early
        inside = [
            (stem, n) for stem in song.stems for n in stem.notes if edges[0] <= n.tick < edges[1] - TICKS_PER_STEP
        ]
        if name == "silence":
            assert len([note for _, note in inside if note.tick > edges[0] + TICKS_PER_STEP]) == 0
        elif name == "drums_out":
            late = [note for stem, note in inside if stem.instrument.is_drum and note.tick > edges[0] + TICKS_PER_STEP]
            assert late == []
        elif name == "metre_change":
            assert before.metre.name != after.metre.name
            assert before.key.tonic == after.key.tonic
        elif name == "song_swap":
            assert before.groove != after.groove
        if name not in ("silence", "drums_out"):
            assert len({stem.instrument for stem, _ in inside}) >= 2


def test_an_event_that_replaces_the_song_ends_those_before_it() -> None:
    rng = np.random.default_rng(0)
    plan = with_event(with_event(_plan(4), "key_up", 8, SongRules(None), rng), "song_swap", 16, SongRules(None), rng)
    assert [(event.name, event.first_bar) for event in plan.events] == [("key_up", 8), ("song_swap", 16)]
    assert plan.events[0].end_bar == 16


def test_ticks_and_seconds_agree_after_every_beat() -> None:
    plan = _plan(5)
    plan = replace(
        plan,
        bars=tuple(
            replace(bar, tempos=tuple(t * (1 + i % 3 / 10) for t in bar.tempos)) for i, bar in enumerate(plan.bars)
        ),
    )
    times = timeline(plan)
    total = 0.0
    for number, bar in enumerate(plan.bars):
        assert times.seconds(plan.starts[number] * TICKS_PER_STEP) == pytest.approx(total, abs=1e-5)
        total += sum(steps * 15 / tempo for steps, tempo in zip(bar.metre.beats, bar.tempos, strict=True))
    assert times.seconds(plan.starts[-1] * TICKS_PER_STEP) == pytest.approx(total, abs=1e-4)
    assert KEYS.threshold == 0
