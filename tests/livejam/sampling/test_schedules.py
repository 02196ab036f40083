"""Schedules: the published numbers, and what holds for all of them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from livejam.errors import UserError
from livejam.sampling import EarlyExits, LogSNRSchedule, Schedule, ShiftedSchedule, UniformSchedule, length_shift


def test_the_papers_six_steps() -> None:
    expected = [1, 0.9907, 0.9656, 0.8808, 0.6608, 0.3392, 0]
    assert LogSNRSchedule().times(6).tolist() == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("schedule", [UniformSchedule(), LogSNRSchedule(), ShiftedSchedule(240), EarlyExits(60)])
@given(steps=st.integers(1, 60))
def test_from_noise_to_clean(schedule: Schedule, steps: int) -> None:
    times = schedule.times(steps)
    assert len(times) == steps + 1
    assert (times[0], times[-1]) == (1, 0)
    assert (times.diff() < 0).all()


@given(time=st.floats(0, 0.999), frames=st.integers(1, 10_000))
def test_shift_is_the_published_formula(time: float, frames: int) -> None:
    mu = -(0.5 + 0.65 * (min(max(frames, 256), 4096) - 256) / 3840)
    expected = 1 - math.exp(mu) / (math.exp(mu) + (1 / (1 - time) - 1))
    assert float(length_shift(torch.tensor(time, dtype=torch.float64), frames)) == pytest.approx(expected, abs=1e-9)
    assert expected >= time - 1e-12, "towards noise"


def test_what_makes_no_schedule_is_refused() -> None:
    with pytest.raises(UserError, match="at least 1 step"):
        UniformSchedule().times(0)
    with pytest.raises(UserError, match="less than its high"):
        LogSNRSchedule(2, -6)


@given(full=st.integers(1, 40), data=st.data())
def test_early_exits_are_the_first_levels(full: int, data: st.DataObject) -> None:
    steps, schedule = data.draw(st.integers(1, full)), EarlyExits(full)
    assert schedule.times(steps).tolist() == [*LogSNRSchedule().times(full)[:steps].tolist(), 0]
    assert schedule.times(full).equal(LogSNRSchedule().times(full))
    with pytest.raises(UserError, match=f"are more than the {full} of the schedule that they leave early"):
        schedule.times(full + 1)
