"""Onsets, clicks and pitch classes of sounds that are made so that the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.chroma import chroma, chroma_agreement, key_agreement
from metrics.clicks import click_db
from metrics.onsets import onset_seconds

RATE_HZ = 22_050
HOP = 2048


def tones(pitches: list[int], seconds: float = 2.0, level: float = 0.1) -> np.ndarray:
    time_N = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return np.sum([level * np.sin(2 * np.pi * 440 * 2 ** ((p - 69) / 12) * time_N) for p in pitches], axis=0)


def hits(times_seconds: list[float], seconds: float, level: float = 0.3) -> np.ndarray:
    rng, sound_N = np.random.default_rng(0), np.zeros(int(seconds * RATE_HZ))
    for start in (int(time * RATE_HZ) for time in times_seconds):
        sound_N[start : start + 1500] += level * rng.normal(size=1500) * np.exp(-np.arange(1500) / 300)
    return sound_N


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 30), st.floats(0.02, 0.5))
def test_every_hit_is_one_onset(count: int, level: float) -> None:
    times = [0.1 + 0.2 * i for i in range(count)]
    found = onset_seconds(hits(times, 0.2 * count + 0.5, level), RATE_HZ)
    assert len(found) == count
    assert np.abs(found - times).max() < 0.03


def test_steady_sounds_and_silence_have_no_onsets() -> None:
    assert not len(onset_seconds(np.zeros(RATE_HZ), RATE_HZ))
    assert not len(onset_seconds(tones([60, 64], 3.0), RATE_HZ))


@pytest.mark.parametrize("first_join", [0, 777])
def test_jumps_at_joins_are_heard_and_only_there(first_join: int) -> None:
    smooth_N = tones([45, 52, 57], 10.0)
    jumping_N = smooth_N.copy()
    for k, start in enumerate(range(first_join, len(jumping_N), HOP)):
        jumping_N[start : start + HOP] *= 1.03 if k % 2 else 0.97
    assert abs(click_db(smooth_N, HOP, first_join)) < 2
    assert click_db(jumping_N, HOP, first_join) > 8
    assert abs(click_db(jumping_N, HOP, (first_join + HOP // 2) % HOP)) < 2
    assert click_db(0.1 * jumping_N, HOP, first_join) == pytest.approx(click_db(jumping_N, HOP, first_join), abs=0.5), (
        "the level does not matter"
    )


def test_noise_and_drums_do_not_click() -> None:
    noise_N = 0.1 * np.random.default_rng(0).normal(size=10 * RATE_HZ)
    assert abs(click_db(noise_N, HOP)) < 2
    # Every eighth join has a hit: music on the codec's grid is no click.
    on_grid_N = hits([8 * HOP * k / RATE_HZ for k in range(1, 12)], 10.0) + 0.01 * noise_N
    assert abs(click_db(on_grid_N, HOP)) < 4
    assert math.isnan(click_db(np.zeros(10 * RATE_HZ), HOP))
    assert math.isnan(click_db(noise_N[: 5 * HOP], HOP))
    assert math.isnan(click_db(noise_N[:0], HOP))


def agreement(stem_N: np.ndarray, mix_N: np.ndarray) -> float:
    """Of a stem that sounds where the true one does."""
    stem_WP = chroma(stem_N, RATE_HZ)
    return chroma_agreement(stem_WP, chroma(mix_N, RATE_HZ), stem_WP)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([45, 48, 52, 57]), st.integers(0, 2), st.floats(0.01, 0.3))
def test_octaves_and_levels_do_not_matter(root: int, octaves: int, level: float) -> None:
    assert agreement(tones([root + 12 * octaves], level=level), tones([root])) == pytest.approx(1, abs=0.02)


def test_what_has_no_pitch_class_in_common_does_not_agree() -> None:
    assert agreement(tones([50]), tones([51, 57, 60])) < 0.1
    # Sines of equal level: the correlation of one pitch class with three of twelve, itself among them.
    assert agreement(tones([57]), tones([57, 61, 64])) == pytest.approx(0.75 / (11 / 12 * 2.25) ** 0.5, abs=0.03)
    assert math.isnan(agreement(np.zeros(RATE_HZ), tones([57], 1.0)))
    assert math.isnan(agreement(np.zeros(0), np.zeros(0)))
    assert chroma(tones([57], 2.6), RATE_HZ).shape == (3, 12)
    assert chroma(tones([57], 2.4), RATE_HZ).shape == (2, 12)
    assert not chroma(np.zeros(RATE_HZ), RATE_HZ).any()


def test_chords_are_compared_second_by_second_and_keys_as_a_whole() -> None:
    """The same four notes in another order: the key is the same, the chords never are."""
    notes = [45, 48, 52, 55]
    orders = (notes, notes[::-1])
    forwards, backwards = (chroma(np.concatenate([tones([n], 1.0) for n in o]), RATE_HZ) for o in orders)
    assert key_agreement(forwards, backwards, forwards) > 0.95
    assert chroma_agreement(forwards, backwards, forwards) < 0.2


def test_one_second_and_then_silence_agrees_for_one_second() -> None:
    mix_WP = chroma(tones([57, 61, 64], 8.0), RATE_HZ)
    short_WP = chroma(np.concatenate([tones([57, 61, 64], 1.0), np.zeros(7 * RATE_HZ)]), RATE_HZ)
    for agrees in (chroma_agreement, key_agreement):
        assert agrees(mix_WP, mix_WP, mix_WP) == pytest.approx(1)
        assert agrees(short_WP, mix_WP, mix_WP) == pytest.approx(1 / 8, abs=0.01)
        assert agrees(short_WP, mix_WP, short_WP) == pytest.approx(1, abs=0.01), "the true stem rests as well"
        assert agrees(0 * mix_WP, mix_WP, mix_WP) == 0
        assert math.isnan(agrees(mix_WP, 0 * mix_WP, mix_WP))
        assert math.isnan(agrees(0 * mix_WP, mix_WP, 0 * mix_WP))
