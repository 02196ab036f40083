"""Blocks in any order come out in order, at their positions, and nothing is heard twice."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from livejam.serving.reordering import JUMP_SECONDS, LONGEST_PATIENCE, SHORTEST_PATIENCE, Ordered, Reordering

RATE, BLOCK = 8000, 80
SECONDS = BLOCK / RATE


def blocks(count: int, start: int = 0) -> list[tuple[int, np.ndarray]]:
    """Blocks whose samples are their own positions, plus one."""
    at = range(start, start + count * BLOCK, BLOCK)
    return [(position, 1 + np.arange(position, position + BLOCK, dtype=np.float32)[None]) for position in at]


def together(ordered: list[Ordered]) -> np.ndarray:
    return np.concatenate([piece.audio_AN for piece in ordered], axis=1)[0]


@settings(max_examples=60, deadline=None)
@given(
    delays=st.lists(st.floats(0, 0.2), min_size=40, max_size=40),
    lost=st.sets(st.integers(1, 38), max_size=8),
    doubled=st.sets(st.integers(0, 39), max_size=8),
)
def test_every_sample_is_at_its_position_or_silence(delays: list[float], lost: set[int], doubled: set[int]) -> None:
    reordering = Reordering(1, RATE)
    sent = blocks(40)
    arriving = [(i * SECONDS + delays[i], *sent[i]) for i in range(40) if i not in lost]
    arriving += [(i * SECONDS + delays[i] + 0.005, *sent[i]) for i in doubled - lost]
    ordered: list[Ordered] = []
    for now, position, audio_AN in sorted(arriving, key=lambda entry: entry[0]):
        ordered += reordering.put(position, audio_AN, now)
    # what a musician plays afterwards ends every wait
    for i, (position, audio_AN) in enumerate(blocks(40, start=40 * BLOCK), 40):
        ordered += reordering.put(position, audio_AN, i * SECONDS + LONGEST_PATIENCE)
    heard_N = together(ordered)
    first = ordered[0].beginning
    assert first is not None
    positions_N = 1 + np.arange(first, first + len(heard_N), dtype=np.float32)
    silent_N = heard_N == 0
    assert np.array_equal(heard_N[~silent_N], positions_N[~silent_N])
    assert silent_N.sum() == reordering.arrivals.lost_samples
    assert silent_N.sum() >= BLOCK * len(lost - set(range(first // BLOCK)))
    assert len(heard_N) == 80 * BLOCK - first


def test_blocks_in_order_go_on_at_once() -> None:
    reordering = Reordering(1, RATE)
    for i, (position, audio_AN) in enumerate(blocks(1100)):
        (ordered,) = reordering.put(position, audio_AN, i * SECONDS)
        assert np.array_equal(ordered.audio_AN, audio_AN)
    assert reordering.patience_seconds == SHORTEST_PATIENCE


def test_a_gap_waits_as_long_as_blocks_were_late_recently() -> None:
    reordering = Reordering(1, RATE)
    sent = blocks(1200)
    for i in range(1100):  # every fifth takes 20 ms longer
        reordering.put(*sent[i], i * SECONDS + (0.02 if i % 5 == 4 else 0))
    patience = reordering.patience_seconds
    assert 0.02 < patience < 0.03
    silence_at = None
    for i in range(1101, 1120):  # block 1100 is lost
        now = i * SECONDS
        if reordering.put(*sent[i], now) and silence_at is None:
            silence_at = now
    assert silence_at is not None
    assert 0 <= silence_at - (1101 * SECONDS + patience) < SECONDS + 1e-9
    assert reordering.arrivals.lost_samples == BLOCK
    reordering.put(*sent[1100], 1120 * SECONDS)
    assert reordering.arrivals.late == 1
    reordering.put(*sent[1099], 1120 * SECONDS)
    assert reordering.arrivals.duplicates == 1


def test_the_patience_rises_at_once_and_falls_after_ten_seconds() -> None:
    reordering = Reordering(1, RATE)
    sent = blocks(2500)
    patiences = [
        (reordering.put(*block, i * SECONDS + (0.1 if i == 1200 else 0)), reordering.patience_seconds)[1]
        for i, block in enumerate(sent)
    ]
    assert patiences[1199] == SHORTEST_PATIENCE < 0.1 < patiences[1200] == patiences[2100]
    assert patiences[2300] == SHORTEST_PATIENCE


def test_one_wild_position_is_no_beginning_and_two_are() -> None:
    reordering = Reordering(1, RATE)
    for i, block in enumerate(blocks(10)):
        reordering.put(*block, i * SECONDS)
    wild = 10 * BLOCK + round(5 * JUMP_SECONDS * RATE)
    assert reordering.put(wild, np.ones((1, BLOCK), dtype=np.float32), 0.1) == []
    (after,) = reordering.put(*blocks(1, 10 * BLOCK)[0], 0.1)
    assert after.beginning is None
    first, second = blocks(2, -7 * BLOCK - round(5 * JUMP_SECONDS * RATE))
    assert reordering.put(*first, 0.11) == []
    ordered = reordering.put(*second, 0.12)
    assert [piece.beginning for piece in ordered] == [first[0], None]
    assert (reordering.arrivals.strays, reordering.arrivals.beginnings) == (1, 1)
    assert np.array_equal(together(ordered), np.concatenate((first[1], second[1]), axis=1)[0])


def test_overlapping_blocks_of_other_lengths_are_heard_once() -> None:
    reordering = Reordering(1, RATE)
    line_N = 1 + np.arange(1000, dtype=np.float32)
    ordered: list[Ordered] = []
    for i, (start, end) in enumerate([(0, 100), (50, 130), (200, 300), (120, 220), (130, 140), (290, 400)]):
        ordered += reordering.put(start, line_N[None, start:end], i / 1000)
    assert np.array_equal(together(ordered), line_N[:400])
