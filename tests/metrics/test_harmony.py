"""The chord-tone share: 1 for chord tones, 0 for others, chance for noise, blind to level and to transposition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livejam.batch import Chord
from metrics import harmony

RATE_HZ = 22_050


def chord_tone_share(audio_N: np.ndarray, rate: int, chords: list[Chord]) -> float:
    """Of a stem that sounds where the true one does."""
    return harmony.chord_tone_share(audio_N, audio_N, rate, chords)


def _tones(pitches: list[int], seconds: float = 1.0) -> np.ndarray:
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return 0.1 * np.sum([np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time) for pitch in pitches], axis=0)


def _chord(pitch_classes: tuple[int, ...], start: float = 0.0, end: float = 1.0) -> Chord:
    return Chord(start, end, "", tuple(pitch % 12 for pitch in pitch_classes))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(28, 80), min_size=1, max_size=1), st.floats(0.05, 5.0))
def test_a_tone_belongs_to_its_pitch_class_down_to_low_bass(pitches: list[int], gain: float) -> None:
    audio = gain * _tones(pitches)
    inside, outside = _chord((pitches[0], pitches[0] + 7)), _chord((pitches[0] + 1, pitches[0] - 1))
    assert chord_tone_share(audio, RATE_HZ, [inside]) > 0.99
    assert chord_tone_share(audio, RATE_HZ, [outside]) < 0.01


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 11), st.integers(48, 59))
def test_share_counts_energy_and_ignores_transposition(shift: int, base: int) -> None:
    """Up to 1047 Hz: what lies above 1.1 kHz is not counted."""
    pitches = [base + shift, base + shift + 4, base + shift + 9, base + shift + 14]
    triad = _chord((base + shift, base + shift + 4, base + shift + 7))
    assert chord_tone_share(_tones(pitches), RATE_HZ, [triad]) == pytest.approx(0.5, abs=0.03)


def test_share_and_complement_add_up_to_one() -> None:
    audio = np.random.default_rng(0).normal(0, 0.1, RATE_HZ)
    chord = _chord((0, 3, 7))
    rest = _chord(tuple(set(range(12)) - {0, 3, 7}))
    assert chord_tone_share(audio, RATE_HZ, [chord]) + chord_tone_share(audio, RATE_HZ, [rest]) == pytest.approx(1)


def test_noise_scores_chance() -> None:
    audio = np.random.default_rng(0).normal(0, 0.1, 20 * RATE_HZ)
    shares = [chord_tone_share(audio, RATE_HZ, [_chord((root, root + 4, root + 7), 0, 20)]) for root in range(12)]
    assert np.mean(shares) == pytest.approx(0.25, abs=0.001)
    assert max(shares) < 0.4


def test_every_chord_is_heard_in_its_own_time() -> None:
    audio = np.concatenate([_tones([60, 64, 67], 0.7), _tones([62, 65, 69], 0.7)])
    first, second = (0, 4, 7), (2, 5, 9)
    right = [_chord(first, 0, 0.7), _chord(second, 0.7, 1.4)]
    wrong = [_chord(second, 0, 0.7), _chord(first, 0.7, 1.4)]
    assert chord_tone_share(audio, RATE_HZ, right) > 0.98
    assert chord_tone_share(audio, RATE_HZ, wrong) < 0.02


@settings(max_examples=20, deadline=None)
@given(st.floats(0.1, 0.9), st.sampled_from([0.4, 1.0, 3.0]))
def test_every_moment_weighs_alike_however_loud(part: float, chord_seconds: float) -> None:
    """Chord tones for a part of the time and then nothing, or something else twenty decibels softer."""
    length = 8 * RATE_HZ
    full, other = _tones([60, 64, 67], 8.0), 0.1 * _tones([61, 66, 68], 8.0)
    chords = [_chord((0, 4, 7), start, start + chord_seconds) for start in np.arange(0, 7.9, chord_seconds)]
    begins = np.arange(length) < part * length
    for rest in (np.zeros(length), other):
        share = harmony.chord_tone_share(np.where(begins, full, rest), full, RATE_HZ, chords)
        assert share == pytest.approx(part, abs=0.1), "up to a second"


def test_where_the_true_stem_rests_nothing_need_sound_but_what_sounds_is_heard() -> None:
    chord, silence = [_chord((0, 4, 7), 0, 4)], np.zeros(2 * RATE_HZ)
    right, wrong = _tones([60, 64, 67], 2.0), _tones([61, 66, 68], 2.0)
    true = np.concatenate([right, silence])
    scores = {}
    for name, rest in (("rests", silence), ("right", right), ("wrong", wrong)):
        scores[name] = harmony.chord_tone_share(np.concatenate([right, rest]), true, RATE_HZ, chord)
    assert scores["rests"] == pytest.approx(1, abs=0.02)
    assert scores["right"] == pytest.approx(1, abs=0.02)
    assert scores["wrong"] == pytest.approx(0.5, abs=0.05)


def test_silence_scores_nothing_where_something_ought_to_sound() -> None:
    chord = [_chord((0, 4, 7))]
    assert harmony.chord_tone_share(np.zeros(RATE_HZ), _tones([60]), RATE_HZ, chord) == 0
    assert harmony.chord_tone_share(1e-4 * _tones([60]), _tones([60]), RATE_HZ, chord) == 0


def test_undefined_is_nan() -> None:
    assert math.isnan(chord_tone_share(np.zeros(RATE_HZ), RATE_HZ, [_chord((0, 4, 7))]))
    assert math.isnan(chord_tone_share(_tones([60]), RATE_HZ, []))
    assert math.isnan(chord_tone_share(_tones([60]), RATE_HZ, [_chord((0, 4, 7), 5, 6)]))


def test_only_mono_is_taken() -> None:
    with pytest.raises(ValueError, match="mono"):
        chord_tone_share(np.zeros((2, RATE_HZ)), RATE_HZ, [_chord((0,))])
    with pytest.raises(ValueError, match="one length"):
        harmony.chord_tone_share(np.zeros(RATE_HZ), np.zeros(9), RATE_HZ, [_chord((0,))])
