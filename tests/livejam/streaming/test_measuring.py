"""Deadlines follow from times by arithmetic, and what a bench measures is what a session does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from players import liveband, lmdm, pocket

from livejam.networks import Bidirectional, BlockCausal, EncoderDecoder
from livejam.networks.diffusion_masks import AttentionMask
from livejam.streaming import Session, Timing
from livejam.streaming.block_lengths import block_lengths
from livejam.streaming.measuring import Measured, latencies, measure, misses, smallest_anticipation

BLOCK = 2048 / 22_050
TIMES = st.lists(st.floats(0.001, 0.3), min_size=1, max_size=40)


def measured(seconds: list[float], lead_samples: int = 1281) -> Measured:
    timing = Timing(22_050, 2048, 2048, 768, 0, lead_samples)
    total = np.array(seconds)
    return Measured(timing, 0 * total, total, 0 * total, total)


@given(seconds=TIMES)
def test_a_step_waits_for_the_one_before(seconds: list[float]) -> None:
    """As by the clock: blocks arrive at fixed times, and one worker takes them in turn."""
    free, expected = 0.0, []
    for number, taken in enumerate(seconds):
        free = max(number * BLOCK, free) + taken
        expected.append(free - number * BLOCK)
    assert np.allclose(latencies(np.array(seconds), BLOCK), expected, atol=1e-9)


@settings(max_examples=60)
@given(seconds=TIMES, buffer=st.floats(0, 0.2))
def test_the_smallest_anticipation_is_enough_and_no_less_is(seconds: list[float], buffer: float) -> None:
    here = measured(seconds)
    frames = smallest_anticipation(here, 1, 1, BLOCK, buffer)
    if frames is None:
        assert np.mean(seconds) >= here.block_seconds
        return

    def missed(anticipation: int) -> int:
        return misses(measured(seconds, 1281 + 2048 * (anticipation - 1)), buffer)

    assert missed(frames) == 0
    assert frames == 0 or missed(frames - 1) > 0


def test_blocks_are_anticipated_as_a_whole() -> None:
    here = Measured(Timing(22_050, 8 * 2048, 7 * 2048, 768, 0, -768), *[np.full(9, 0.2)] * 4)
    assert smallest_anticipation(here, 7, 8, BLOCK, 0.0) == 15


def test_a_session_is_measured_step_by_step() -> None:
    ticks: list[int] = []
    result = measure(lambda listener: Session(liveband(pocket()), on_step=listener), 12, lambda: ticks.append(1))
    assert len(result.total) == len(result.encode) == 12
    assert (result.total >= result.encode + result.generate + result.decode).all()
    assert result.real_time_factor > 0
    assert len(ticks) >= 12


def test_any_rate_gives_one_time_per_step() -> None:
    result = measure(lambda listener: Session(liveband(pocket()), sample_rate_hz=48_000, on_step=listener), 15)
    assert len(result.total) == len(result.generate) == 15


@pytest.mark.parametrize("mask", [Bidirectional(), EncoderDecoder(12), BlockCausal(4, 3)])
def test_block_lengths_leave_the_model_alone(mask: AttentionMask) -> None:
    accompanist = lmdm(pocket(), mask, block=4).accompanist
    network = accompanist.generator.transformer  # type: ignore[attr-defined]
    rows = list(block_lengths(accompanist))  # type: ignore[arg-type]
    assert [row.block_frames for row in rows] == [2, 4, 8]
    assert all(row.latency_seconds > 0 for row in rows)
    assert (network.block_frames, network.context_frames, network.mask) == (4, 12, mask)
