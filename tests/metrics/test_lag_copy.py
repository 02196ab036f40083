"""The stem one repeat of the mix ago: it finds the repeat, and never looks ahead."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livejam.spec import CodecSpec
from metrics.lag_copy import MEMORY_SECONDS, Audio, Horizon, best_lag, horizon_of, lag_copy

RATE, SECONDS = 16_000, 12
BLOCK = 3_200


def song(period: int, rng: np.random.Generator) -> Audio:
    """A bar of four different strokes, again and again; its length is a multiple of 10 ms."""
    bar_N = np.zeros(period)
    for place, level in zip((0, period // 4, period // 2, 3 * period // 4), (1.0, 0.3, 0.6, 0.2), strict=True):
        length = min(600, period - place)
        bar_N[place : place + length] += level * rng.normal(size=length) * np.exp(-np.arange(length) / 150)
    stem_N: Audio = np.resize(bar_N, SECONDS * RATE).astype(np.float32)
    return stem_N


@given(frames=st.integers(60, 190), seed=st.integers(0, 99), cutoff=st.sampled_from([1, 0, -1]))
@settings(max_examples=15, deadline=None)
def test_a_song_that_repeats_is_played_exactly(frames: int, seed: int, cutoff: int) -> None:
    rng = np.random.default_rng(seed)
    mix_N, stem_N = song(160 * frames, rng), song(160 * frames, rng)
    played_N = lag_copy(mix_N, stem_N, RATE, Horizon(BLOCK, (1 - cutoff) * BLOCK))
    begun = int(np.flatnonzero(played_N)[0])
    assert begun < (MEMORY_SECONDS + 1) * RATE
    late = round(MEMORY_SECONDS + 1) * RATE
    assert np.array_equal(played_N[late:], stem_N[late:])


@given(cut=st.integers(0, SECONDS * RATE), cutoff=st.sampled_from([1, 0, -1, -3]), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_what_comes_later_changes_nothing(cut: int, cutoff: int, seed: int) -> None:
    """Blocks that were begun before a cut, and heard nothing beyond it, are the same without what comes after it."""
    rng = np.random.default_rng(seed)
    mix_N, stem_N = (0.3 * rng.normal(size=SECONDS * RATE).astype(np.float32) for _ in range(2))
    mix_N *= 1 + np.sin(np.arange(len(mix_N)) / 2000).astype(np.float32)
    horizon = Horizon(BLOCK, (1 - cutoff) * BLOCK)
    whole_N = lag_copy(mix_N, stem_N, RATE, horizon)
    short_N = lag_copy(mix_N[:cut], stem_N[:cut], RATE, horizon)
    changed_N = mix_N.copy()
    changed_N[cut:] = rng.normal(size=len(mix_N) - cut)
    other_N = lag_copy(changed_N, np.where(np.arange(len(stem_N)) < cut, stem_N, 0).astype(np.float32), RATE, horizon)
    blocks = [s for s in range(horizon.first_samples, cut, BLOCK) if max(s, horizon.heard(s)) <= cut]
    stop = min(cut, blocks[-1] + BLOCK) if blocks else 0
    assert np.array_equal(whole_N[:stop], short_N[:stop])
    assert np.array_equal(whole_N[:stop], other_N[:stop])


def test_no_repeat_is_silence() -> None:
    horizon, nothing_N = Horizon(BLOCK, BLOCK), np.zeros(SECONDS * RATE, np.float32)
    assert not lag_copy(nothing_N, np.ones_like(nothing_N), RATE, horizon).any()
    assert best_lag(np.zeros(600), 20, 400) is None
    assert best_lag(np.random.default_rng(0).random(110), 20, 400) is None, "the memory is too short for a comparison"


@pytest.mark.parametrize(
    ("frames", "ahead", "expected"), [(2, 1, (2, 2)), (2, 3, (2, 4)), (8, -1, (8, 0)), (60, 59, None), (1, 1, None)]
)
def test_the_horizon_is_that_of_blocks_and_cutoff(frames: int, ahead: int, expected: tuple[int, int] | None) -> None:
    """Blocks of more than five seconds are longer than any lag that can be told; frame by frame there is no block."""
    spec = CodecSpec("toy", RATE, 1, 1600, 4, 0)
    player: Any = SimpleNamespace(spec=spec, block_frames=frames, anticipation_frames=ahead)
    found = horizon_of(player)
    assert found == (None if expected is None else Horizon(*(1600 * frames for frames in expected)))
