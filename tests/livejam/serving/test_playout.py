"""A player of answers plays every sample at its position, or as little later as the line allows, without clicks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livejam.serving.playout import MARGIN_SECONDS, SLACK_SECONDS, Playout

RATE, CHUNK, BLOCK = 8000, 64, 512
PEAK = 0.5
FIRST = 5 * BLOCK
"""Position of the first answer."""

FADED = FIRST + 40


def tone(start: int, samples: int) -> np.ndarray:
    """100 Hz, so that its own steps are small against a click."""
    position_N = np.arange(start, start + samples)
    return (PEAK * np.sin(2 * np.pi * 100 * position_N / RATE)).astype(np.float32)[None]


def played(lateness: list[float], chunk: int = CHUNK) -> tuple[np.ndarray, Playout, list[int]]:
    """Answers of `BLOCK` samples, each so many seconds after its position; also the delay after every chunk."""
    playout = Playout(1, RATE)
    positions = range(FIRST, FIRST + len(lateness) * BLOCK, BLOCK)
    arriving = sorted((round(at + late * RATE), at) for at, late in zip(positions, lateness, strict=True))
    pieces, delays = [], []
    for now in range(0, positions.stop - chunk + 1, chunk):
        while arriving and arriving[0][0] <= now:
            _, position = arriving.pop(0)
            playout.put(position, tone(position, BLOCK))
        pieces.append(playout.read(chunk).copy())
        delays.append(playout.delay_samples)
    return np.concatenate(pieces, axis=1)[0], playout, delays


@pytest.mark.parametrize("chunk", [1, 64, 100, 1000])
def test_early_answers_sound_at_their_positions(chunk: int) -> None:
    out_N, playout, _ = played([-0.2] * 100 if chunk > 1 else [-0.2] * 10, chunk)
    np.testing.assert_array_equal(out_N[FADED:], tone(0, len(out_N))[0, FADED:])
    assert not out_N[:FIRST].any()
    assert (playout.gaps, playout.delay_samples, playout.too_late, playout.moves) == (0, 0, 0, 0)


def test_late_answers_sound_later_by_as_much_as_they_are_late() -> None:
    out_N, playout, _ = played([0.02] * 100)
    delay = playout.delay_samples
    assert 0.02 + MARGIN_SECONDS <= delay / RATE <= 0.02 + MARGIN_SECONDS + CHUNK / RATE
    np.testing.assert_array_equal(out_N[RATE:], tone(-delay, len(out_N))[0, RATE:])
    assert playout.moves <= 2


def test_the_delay_rises_at_once_and_falls_after_ten_seconds() -> None:
    late = [-0.05] * 400
    late[100] = 0.05
    _, playout, delays = played(late)
    seconds = np.arange(len(delays)) * CHUNK / RATE
    risen = seconds[np.flatnonzero(delays)]
    assert risen.min() == pytest.approx((FIRST + 100 * BLOCK) / RATE + 0.05, abs=2 * CHUNK / RATE)
    assert risen.max() == pytest.approx(risen.min() + 10, abs=0.6)
    assert playout.moves == 2
    assert SLACK_SECONDS > MARGIN_SECONDS


@settings(max_examples=40, deadline=None)
@given(
    late=st.lists(st.floats(-0.3, 0.3), min_size=30, max_size=60),
    lost=st.sets(st.integers(0, 59), max_size=10),
    chunk=st.sampled_from([17, 64, 500]),
)
def test_nothing_clicks(late: list[float], lost: set[int], chunk: int) -> None:
    out_N, _, _ = played([1e6 if i in lost else seconds for i, seconds in enumerate(late)], chunk)
    fade = 40
    assert np.abs(np.diff(out_N)).max() <= np.abs(np.diff(tone(0, RATE))).max() + 3 * PEAK * np.pi / 2 / fade


def test_wild_positions_are_not_kept() -> None:
    playout = Playout(1, RATE)
    for position in (10**9, -(10**9)):
        playout.put(position, tone(0, BLOCK))
    assert playout.unplaced == 2
    assert not playout.read(1000).any()
    assert playout.gaps == 0
