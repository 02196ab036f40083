"""The rings between a sound card's thread and a worker."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from livejam.streaming.rings import HeardRing, TimedRing


def numbered(start: int, samples: int) -> np.ndarray:
    """Samples that are their positions, from 1 on."""
    return np.arange(start + 1, start + samples + 1, dtype=np.float32)[None]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 20)), max_size=40))
def test_what_is_taken_is_what_was_written_or_silence(steps: list[tuple[int, int]]) -> None:
    ring = HeardRing(1, 16)
    written, taken_AN, lost_before = 0, [np.zeros((1, 0), np.float32)], 0
    for write, limit in steps:
        ring.write(numbered(written, write))
        written += write
        audio_AN, lost = ring.take(limit)
        assert audio_AN.shape[1] <= limit
        assert not audio_AN[:, :lost].any()
        lost_before += lost
        taken_AN.append(audio_AN)
    heard_AN = np.concatenate(taken_AN, axis=1)
    assert heard_AN.shape[1] + ring.waiting_samples == written
    assert np.isin(heard_AN - numbered(0, heard_AN.shape[1]), 0).sum() + lost_before == heard_AN.shape[1]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 8)), max_size=40), st.integers(0, 10))
def test_output_is_read_at_its_position(steps: list[tuple[int, int]], known: int) -> None:
    """The writer is at most half a ring ahead, as an engine's is; the reader may be as far ahead as it likes."""
    ring, position = TimedRing(1, 64, known), 0
    for append, read in steps:
        append = min(append, max(0, position + 32 - ring.known_samples))
        ring.append(numbered(ring.known_samples, append))
        out_AN = np.full((1, read), np.nan, dtype=np.float32)
        count = ring.read(position, out_AN)
        assert count == min(read, max(0, ring.known_samples - position))
        expected_AN = np.where(numbered(position, count) > known, numbered(position, count), 0)
        np.testing.assert_array_equal(out_AN[:, :count], expected_AN)
        position += read


def test_of_more_than_a_ring_the_last_part_is_kept() -> None:
    ring = TimedRing(1, 16, 0)
    ring.append(numbered(0, 100))
    out_AN = np.zeros((1, 16), dtype=np.float32)
    assert ring.read(84, out_AN) == 16
    np.testing.assert_array_equal(out_AN, numbered(84, 16))
