"""How soon a stem is as good again as before an event, on songs whose truth is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from livejam.batch import Annotations, Chord
from metrics.adaptation import AFTER, BEATS_B, BEFORE, Happening, curves, ignoring, late, mean_of, recovery

RATE_HZ, EVENT_BEAT = 16_000, 24


def song(seed: int, pitched: bool, tempo_after: float = 120.0) -> Happening:
    """A tone, or hits on beats; at beat 24 the key goes up by three semitones and the tempo changes."""
    rng = np.random.default_rng(seed)
    lengths = [0.5] * EVENT_BEAT + [60 / tempo_after] * 44
    beats = np.concatenate([[0.0], np.cumsum(lengths)])
    samples = round(beats[-1] * RATE_HZ)
    time_N = np.arange(samples) / RATE_HZ
    event = float(beats[EVENT_BEAT])
    if pitched:
        pitch_N = np.where(time_N < event, 261.63, 311.13)
        target_N = 0.2 * np.sin(2 * np.pi * np.cumsum(pitch_N) / RATE_HZ)
        target_N += 0.02 * (1 + seed) * np.sin(2 * np.pi * 370 * time_N)
    else:
        target_N = np.zeros(samples)
        for beat in beats[:-1]:
            start = round(float(beat) * RATE_HZ)
            target_N[start : start + 600] += (
                0.3 * rng.normal(size=600)[: samples - start] * np.exp(-np.arange(600) / 150)
            )
    chords = (Chord(0.0, event, "C", (0, 4, 7)), Chord(event, float(beats[-1]), "Eb", (3, 7, 10)))
    truth = Annotations(tuple(beats.tolist()), tuple(beats[::4].tolist()), chords)
    return Happening(target_N.astype(np.float32), RATE_HZ, truth, event, pitched)


def answers(songs: list[Happening], stems: list[np.ndarray], column: str) -> tuple[int | None, float, float]:
    found = [
        curves(one, stem_N, np.array(one.annotations.beats_seconds)) for one, stem_N in zip(songs, stems, strict=True)
    ]
    answer = recovery(np.array([own[column] for own in found]))
    assert answer.songs == len(songs)
    return answer.beats, answer.before, answer.lowest


def test_who_follows_is_back_at_once_who_is_late_after_a_bar_and_who_ignores_it_never() -> None:
    songs = [song(seed, pitched=True) for seed in range(5)]
    beats, before, lowest = answers(songs, [one.target_N for one in songs], "chord_tone_share")
    assert beats == 0
    assert min(before, lowest) > 0.8
    beats, _, lowest = answers(songs, [late(one) for one in songs], "chord_tone_share")
    assert beats in (3, 4)
    assert lowest < 0.2
    beats, _, lowest = answers(songs, [ignoring(one) for one in songs], "chord_tone_share")
    assert beats is None
    assert lowest < 0.2


def test_a_drummer_who_keeps_the_old_tempo_loses_the_grid() -> None:
    songs = [song(seed, pitched=False, tempo_after=131.0) for seed in range(5)]
    _, before, lowest = answers(songs, [one.target_N for one in songs], "phase_lock")
    assert min(before, lowest) > 0.9
    _, _, lowest = answers(songs, [ignoring(one) for one in songs], "phase_lock")
    assert lowest < 0.8
    beats, before, _ = answers(songs, [one.target_N for one in songs], "beat_f1")
    assert (beats, before) == (0, 1.0)
    silent = [np.where(np.arange(len(one.target_N)) < one.event_seconds * RATE_HZ, one.target_N, 0) for one in songs]
    assert answers(songs, silent, "sounding")[0] is None


def test_what_comes_before_the_event_is_untouched() -> None:
    one = song(0, pitched=True)
    begin = round(one.event_seconds * RATE_HZ)
    for stem_N in (ignoring(one), late(one)):
        assert len(stem_N) == len(one.target_N)
        np.testing.assert_array_equal(stem_N[:begin], one.target_N[:begin])
    np.testing.assert_array_equal(late(one)[begin + 2 * RATE_HZ :], one.target_N[begin + 2 * RATE_HZ :])


def test_back_means_to_stay() -> None:
    rng = np.random.default_rng(0)
    curves_SB = 0.9 + 0.01 * rng.normal(size=(6, 1)) + np.zeros((6, len(BEATS_B)))
    curves_SB[:, (BEATS_B >= 0) & (BEATS_B < 10) & (BEATS_B != 5)] = 0.4
    answer = recovery(curves_SB)
    assert answer.beats == 10
    assert answer.lowest == pytest.approx(0.4)
    assert recovery(curves_SB[:, :] * math.nan).songs == 0
    with_gap = curves_SB.copy()
    with_gap[0] = math.nan
    assert recovery(with_gap).songs == 5
    assert np.isnan(mean_of(np.full((2, 3), math.nan))).all()
    assert (len(BEATS_B), BEATS_B[0], BEATS_B[-1]) == (BEFORE + AFTER + 1, -BEFORE, AFTER)


def test_stretches_outside_the_song_have_no_number() -> None:
    one = song(0, pitched=True)
    assert one.event_beat == EVENT_BEAT
    assert one.edges(-EVENT_BEAT - 1) is None
    assert one.edges(999) is None
    assert one.edges(0) == (12.0, 14.0)
    for first, second in itertools.pairwise(range(-4, 4)):
        assert one.edges(first)[0] < one.edges(second)[0]  # type: ignore[index]
