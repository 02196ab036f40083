"""Two ways of playing the same songs, compared song by song."""

from __future__ import annotations

import math

import numpy as np
import pytest

from livejam.batch import CATEGORIES, Annotations, Chord
from metrics.evaluation.clips import Audio, Clip
from metrics.musical_parity import BEAT_F1, CHORD_TONES, DISTANCE, MusicalScores, Score, compared

RATE, SECONDS = 22050, 6.0
DRUMS, PIANO = CATEGORIES.index("Percussive"), CATEGORIES.index("Piano")


def strokes(beat_seconds: float) -> Audio:
    """Noise that decays, on every beat."""
    rng = np.random.default_rng(0)
    audio_N = np.zeros(round(SECONDS * RATE), np.float32)
    for start in np.arange(0, SECONDS - 0.2, beat_seconds):
        place, stroke = round(start * RATE), np.exp(-np.arange(4000) / 600)
        audio_N[place : place + 4000] += (0.3 * rng.standard_normal(4000) * stroke).astype(np.float32)
    return audio_N


def chord(*pitches: int) -> Audio:
    """Sines that last."""
    time_N = np.arange(round(SECONDS * RATE)) / RATE
    tones = [np.sin(2 * math.pi * 440 * 2 ** ((pitch - 69) / 12) * time_N) for pitch in pitches]
    return (0.1 * np.sum(tones, axis=0)).astype(np.float32)


def clip(song: str, category: int, target_N: Audio) -> Clip:
    beats = tuple(np.arange(0, SECONDS, 0.5))
    truth = Annotations(beats, beats[::4], (Chord(0.0, SECONDS, "C", (0, 4, 7)),))
    return Clip(target_N, target_N, target_N[:0], RATE, category, song, 0.0, truth)


def test_what_is_equal_is_kept_and_what_is_worse_is_not() -> None:
    items = [(f"song {number}", DRUMS, strokes(0.5)) for number in range(5)]
    items += [(f"song {number}", PIANO, chord(48 + 12 * (number % 2), 64, 67)) for number in range(5)]
    judge = MusicalScores([clip(*item) for item in items], SECONDS, 2048)
    played = [0.8 * audio_N for _, _, audio_N in items]  # of what is equal to the true stems, the distance is nought
    reference = judge(played)
    assert reference[CHORD_TONES].value > 0.9
    assert reference[BEAT_F1].value > 0.8
    again = compared(reference, judge(played))
    assert all(one.kept and one.sure and one.difference == 0 and one.songs == 5 for one in again.values())
    wrong = judge([strokes(0.37) if category == DRUMS else chord(49, 61, 66) for _, category, _ in items])
    spoilt = compared(reference, wrong)
    assert not any(spoilt[name].kept for name in (BEAT_F1, CHORD_TONES, DISTANCE))
    assert spoilt[BEAT_F1].difference < -0.2
    assert spoilt[CHORD_TONES].difference < -0.5
    assert spoilt[DISTANCE].difference > 0.05


@pytest.mark.parametrize(
    ("left_out", "kept", "sure"),
    [
        ([0.805, 0.804, 0.806, 0.805, 0.805], True, True),
        ([0.80, 0.82, 0.80, 0.81, 0.795], True, False),
        ([0.75, 0.751, 0.749, 0.75, 0.75], False, True),
        ([0.805, 0.804, 0.806], True, False),
    ],
)
def test_how_sure_a_difference_is(left_out: list[float], kept: bool, sure: bool) -> None:
    songs = len(left_out)
    one = Score(0.8, np.full(songs, 0.8), songs)
    found = compared({BEAT_F1: one}, {BEAT_F1: Score(float(np.mean(left_out)), np.array(left_out), songs)})[BEAT_F1]
    assert (found.kept, found.sure) == (kept, sure)


def test_a_distance_is_compared_in_proportion() -> None:
    one, other = (Score(value, np.full(6, value), 6) for value in (8.0, 8.2))
    found = compared({DISTANCE: one}, {DISTANCE: other})[DISTANCE]
    assert found.difference == pytest.approx(0.025)
    assert found.kept


def test_without_a_number_nothing_is_kept() -> None:
    none = Score(math.nan, np.zeros(0), 0)
    found = compared({BEAT_F1: none}, {BEAT_F1: none})[BEAT_F1]
    assert not found.kept
    assert not found.sure
