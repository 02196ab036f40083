"""Loudness, silence and phase lock: invariances and degenerate audio."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics import phase_lock as locks
from metrics.loudness import gated_level_dbfs, relative_level_db, silence_rate
from metrics.scores import MeanScore

SAMPLE_RATE_HZ = 22_050


def noise(seconds: float, seed: int = 0, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(seed).normal(size=int(seconds * SAMPLE_RATE_HZ))).astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(st.floats(-30, 15), st.floats(0.1, 2.0))
def test_level_follows_gain_and_ignores_rests(gain_db: float, rest_seconds: float) -> None:
    true_N = noise(1.0)
    stem_N = true_N * 10 ** (gain_db / 20)
    assert relative_level_db(stem_N, true_N, SAMPLE_RATE_HZ) == pytest.approx(gain_db, abs=1e-3)
    rest_N = np.zeros(round(rest_seconds * 10) * SAMPLE_RATE_HZ // 10, np.float32)
    assert relative_level_db(np.concatenate([stem_N, rest_N]), true_N, SAMPLE_RATE_HZ) == pytest.approx(gain_db, abs=1)


def test_level_of_silence() -> None:
    true_N, silence_N = noise(1.0), np.zeros(SAMPLE_RATE_HZ, np.float32)
    assert gated_level_dbfs(true_N, SAMPLE_RATE_HZ) == pytest.approx(-20, abs=0.2)
    assert relative_level_db(silence_N, true_N, SAMPLE_RATE_HZ) == pytest.approx(-40, abs=0.2)
    assert math.isnan(relative_level_db(true_N, silence_N, SAMPLE_RATE_HZ))
    assert math.isnan(gated_level_dbfs(np.zeros(0), SAMPLE_RATE_HZ))
    with pytest.raises(ValueError, match="not finite"):
        gated_level_dbfs(np.array([np.nan, 0.1]), SAMPLE_RATE_HZ)


def test_silence_rate() -> None:
    half_N = np.concatenate([noise(1.0), np.zeros(SAMPLE_RATE_HZ)])
    assert silence_rate(half_N, SAMPLE_RATE_HZ) == pytest.approx(0.5, abs=0.06)
    assert silence_rate(noise(1.0), SAMPLE_RATE_HZ) == 0
    assert silence_rate(np.zeros(50), SAMPLE_RATE_HZ) == 1
    assert math.isnan(silence_rate(np.zeros(0), SAMPLE_RATE_HZ))


def bursts(times: np.ndarray, seconds: float = 8.0) -> np.ndarray:
    audio_N = noise(seconds, level=1e-4)
    for i, time in enumerate(times):
        start = int(time * SAMPLE_RATE_HZ)
        piece_N = noise(0.1, seed=i) * np.exp(-np.arange(2205) / 400)
        audio_N[start : start + 2205] += piece_N[: len(audio_N) - start]
    return audio_N


def phase_lock(audio_N: np.ndarray, rate: int, beats: np.ndarray, true_N: np.ndarray | None = None) -> float:
    """Of a stem that begins something wherever the true one does, unless another one is given."""
    stems = (audio_N, audio_N if true_N is None else true_N)
    return locks.phase_lock(*(locks.onset_strength(torch.from_numpy(s), rate).numpy() for s in stems), beats)


@pytest.mark.parametrize("per_beat", [1, 2, 3, 4])
def test_onsets_on_the_grid_lock_and_others_do_not(per_beat: int) -> None:
    beats = np.arange(0.2, 8.0, 0.5)
    on_grid = phase_lock(bursts(np.arange(0.2, 7.8, 0.5 / per_beat)), SAMPLE_RATE_HZ, beats)
    late = phase_lock(bursts(np.arange(0.27, 7.8, 0.5 / per_beat)), SAMPLE_RATE_HZ, beats)
    other_tempo = phase_lock(bursts(np.arange(0.2, 7.8, 0.437 / per_beat)), SAMPLE_RATE_HZ, beats)
    assert on_grid > 0.6
    # A constant delay is a phase of its own: the lock measures steadiness against the grid.
    assert late == pytest.approx(on_grid, abs=0.15)
    assert other_tempo < 0.35


def test_phase_lock_ignores_level_and_knows_nothing_of_silence() -> None:
    beats = np.arange(0.2, 8.0, 0.5)
    audio_N = bursts(beats[:-1])
    assert phase_lock(0.5 * audio_N, SAMPLE_RATE_HZ, beats) == pytest.approx(
        phase_lock(audio_N, SAMPLE_RATE_HZ, beats), abs=0.1
    )
    assert math.isnan(phase_lock(np.zeros(8 * SAMPLE_RATE_HZ, np.float32), SAMPLE_RATE_HZ, beats))
    assert math.isnan(phase_lock(audio_N, SAMPLE_RATE_HZ, beats[:1]))


@pytest.mark.parametrize("stretches", [1, 2, 4])
def test_the_lock_counts_for_as_long_as_onsets_go_on(stretches: int) -> None:
    """Sixteen beats, of which the stem plays the first four, eight or all."""
    beats = 0.2 + 0.45 * np.arange(17)
    true_N, stem_N = bursts(beats[:16]), bursts(beats[: 4 * stretches])
    whole = phase_lock(true_N, SAMPLE_RATE_HZ, beats)
    assert phase_lock(stem_N, SAMPLE_RATE_HZ, beats, true_N) == pytest.approx(whole * stretches / 4, abs=0.05)
    assert phase_lock(bursts(beats[:1]), SAMPLE_RATE_HZ, beats, true_N) < 0.27, "a single onset locks to any grid"
    once_a_bar_N = bursts(beats[:16:4])
    assert phase_lock(once_a_bar_N, SAMPLE_RATE_HZ, beats, true_N) > 0.9 * whole, "to play less is no fault"
    silence_N = np.zeros_like(true_N)
    assert phase_lock(silence_N, SAMPLE_RATE_HZ, beats, true_N) == 0


def test_mean_score_counts_what_it_excludes() -> None:
    score = MeanScore(groups=3)
    for value, group in ((1.0, 0), (3.0, 2), (math.nan, 2)):
        score.update(value, group)
    summary = score.compute()
    assert (summary.mean, summary.items, summary.excluded) == (2.0, 2, 1)
    assert (summary.group(2).mean, summary.group(2).excluded) == (3.0, 1)
    assert math.isnan(summary.group(1).mean)
    with pytest.raises(ValueError, match="infinite"):
        score.update(math.inf)
