"""What an event does to players whose answer is known."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from livejam.batch import Annotations, Chord
from metrics.adaptation import AFTER, BEATS_B, BEFORE, Happening, curves, ignoring, late
from metrics.adaptation_report import table
from metrics.evaluation.clips import Audio
from metrics.recovery import Recovery, Rest, answers, mean_of, recovery

RATE_HZ, EVENT_BEAT = 16_000, 24


def song(seed: int, pitched: bool, tempo_after: float = 120.0, rest_bars: int = 0) -> Happening:
    """A tone, or hits on beats; at beat 24 the key goes up by three semitones, the tempo changes, or all rest."""
    rng = np.random.default_rng(seed)
    lengths = [0.5] * EVENT_BEAT + [60 / tempo_after] * (44 + 4 * rest_bars)
    beats = np.concatenate([[0.0], np.cumsum(lengths)])
    time_N = np.arange(round(beats[-1] * RATE_HZ)) / RATE_HZ
    event, resumes = float(beats[EVENT_BEAT]), float(beats[EVENT_BEAT + 4 * rest_bars])
    target_N = _tone(time_N, event, rng) if pitched else _hits(time_N, beats, rng)
    target_N[(time_N >= event) & (time_N < resumes)] = 0
    chords = (Chord(0.0, event, "C", (0, 4, 7)), Chord(event, float(beats[-1]), "Eb", (3, 7, 10)))
    truth = Annotations(tuple(beats.tolist()), tuple(beats[::4].tolist()), chords)
    return Happening(target_N.astype(np.float32), RATE_HZ, truth, event, resumes, pitched)


def _tone(time_N: np.ndarray, event: float, rng: np.random.Generator) -> np.ndarray:
    """With a wrong one beside it, of another level in every second, as no player repeats himself."""
    pitch_N = np.where(time_N < event, 261.63, 311.13)
    wrong_N = rng.uniform(0, 0.08, 60)[time_N.astype(int)] * np.sin(2 * np.pi * 370 * time_N)
    return 0.2 * np.sin(2 * np.pi * np.cumsum(pitch_N) / RATE_HZ) + wrong_N


def _hits(time_N: np.ndarray, beats: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    target_N, fading_N = np.zeros(len(time_N) + 600), 0.3 * np.exp(-np.arange(600) / 150)
    for beat in beats[:-1]:
        start = round(float(beat) * RATE_HZ)
        target_N[start : start + 600] += fading_N * rng.normal(size=600)
    return target_N[: len(time_N)]


def measured(songs: list[Happening], play: Callable[[Happening], Audio], column: str) -> Recovery:
    found = [curves(one, play(one), np.array(one.annotations.beats_seconds)) for one in songs]
    answer = recovery(np.array([own[column] for own in found]))
    assert answer.songs == len(songs)
    return answer


def perfect(one: Happening) -> Audio:
    return one.target_N


def test_who_follows_is_back_at_once_who_is_late_when_he_notices_and_who_ignores_it_never() -> None:
    songs = [song(seed, pitched=True) for seed in range(3)]
    answer = measured(songs, perfect, "chord_tone_share")
    assert answer.beats == 0
    assert min(answer.before, answer.after, answer.lowest) > 0.8
    beats = []
    for bars in (1, 2, 4):
        answer = measured(songs, lambda one, bars=bars: late(one, bars), "chord_tone_share")
        assert answer.lowest < 0.2
        beats.append(answer.beats)
    assert beats == [4, 8, 16]
    answer = measured(songs, ignoring, "chord_tone_share")
    assert (answer.beats, answer.beats_or_more) == (None, AFTER + 1)
    assert answer.after < 0.2


def test_a_drummer_who_keeps_the_old_tempo_loses_the_grid() -> None:
    songs = [song(seed, pitched=False, tempo_after=131.0) for seed in range(3)]
    answer = measured(songs, perfect, "phase_lock")
    assert min(answer.before, answer.lowest) > 0.9
    assert measured(songs, ignoring, "phase_lock").lowest < 0.8
    answer = measured(songs, perfect, "beat_f1")
    assert (answer.beats, answer.before) == (0, 1.0)


def test_players_fall_silent_with_the_band_and_come_back_with_it() -> None:
    songs = [song(seed, pitched=True, rest_bars=2) for seed in range(3)]
    assert {one.rest_beats for one in songs} == {8}

    def rest(play: Callable[[Happening], Audio]) -> Rest:
        levels_SB = np.array([curves(one, play(one), np.zeros(0))["level_db"] for one in songs])
        answer = answers({"level_db_pitched": levels_SB, "rests_pitched": np.array([8, 8, 8])})["rest_pitched"]
        assert isinstance(answer, Rest)
        return answer

    assert rest(perfect) == Rest(0, 0, 3, 3)
    assert rest(late) == Rest(4, 0, 3, 3)
    assert rest(ignoring) == Rest(None, None, 0, 3)
    # beats are counted from the band's return, at which the perfect player is there
    assert measured(songs, perfect, "chord_tone_share").beats == 0


def test_the_future_changes_nothing_before_the_event() -> None:
    one = song(0, pitched=True)
    begin = round(one.event_seconds * RATE_HZ)
    other = replace(one, target_N=np.where(np.arange(len(one.target_N)) < begin, one.target_N, 0))
    found, changed = (curves(x, x.target_N, np.zeros(0)) for x in (one, other))
    for name in ("chord_tone_share", "phase_lock", "level_db"):
        # a window of onsets reaches 23 ms beyond the last stretch
        np.testing.assert_allclose(found[name][BEATS_B < -4], changed[name][BEATS_B < -4], atol=1e-6)
    for stem_N in (ignoring(one), late(one)):
        assert len(stem_N) == len(one.target_N)
        np.testing.assert_array_equal(stem_N[:begin], one.target_N[:begin])
    np.testing.assert_array_equal(late(one)[begin + 2 * RATE_HZ :], one.target_N[begin + 2 * RATE_HZ :])
    np.testing.assert_array_equal(late(one, bars=99), ignoring(one))


def test_stretches_outside_the_song_have_no_number() -> None:
    one = song(0, pitched=True)
    assert one.event_beat == EVENT_BEAT
    assert one.edges(-EVENT_BEAT - 1) is None
    assert one.edges(999) is None
    assert one.edges(0) == (12.0, 14.0)
    for first, second in itertools.pairwise(range(-4, 4)):
        assert one.edges(first)[0] < one.edges(second)[0]  # type: ignore[index]
    assert (len(BEATS_B), BEATS_B[0], BEATS_B[-1]) == (BEFORE + AFTER + 1, -BEFORE, AFTER)
    short = replace(one, annotations=one.annotations.excerpt(0, one.event_seconds + 3))
    assert np.isnan(mean_of(np.array([curves(short, one.target_N, np.zeros(0))["phase_lock"]]))[-1])
    silent = curves(one, np.zeros_like(one.target_N), np.zeros(0))
    assert np.isnan(silent["level_db"]).all()
    assert silent["chord_tone_share"][0] == pytest.approx(0)


def test_a_table_says_what_players_do_in_rests() -> None:
    """Silent one beat after the band, and back with it, in both of two songs."""
    level_B = np.where((BEATS_B >= 1) & (BEATS_B < 8), -60.0, 0.0)
    found = {"level_db_drums": np.stack([level_B, level_B]), "rests_drums": np.array([8, 8])}
    rows = table({"silence": {"model": found}}).splitlines()
    assert rows[-1] == "| model | drums | 1 beat | 0 beats | 2 of 2 songs |"
