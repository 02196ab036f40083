"""The average of weights: an exponential mean that forgets its start."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lightning_modules.training import update_average


def scalar(value: float) -> nn.Module:
    module = nn.Linear(1, 1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)
    return module


@settings(max_examples=5, deadline=None)
@given(decay=st.floats(0, 0.95), values=st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_it_stays_within_what_was_seen_and_converges(decay: float, values: list[float]) -> None:
    averaged = scalar(100.0)
    for iteration, value in enumerate(values):
        update_average(averaged, scalar(value), decay, iteration)
    assert min(values) - 1e-5 <= float(averaged.weight) <= max(100.0, *values)
    for iteration in range(len(values), 900):
        update_average(averaged, scalar(values[-1]), decay, iteration)
    assert abs(float(averaged.weight) - values[-1]) < 1e-3


@settings(max_examples=10, deadline=None)
@given(iteration=st.integers(1000, 10**6), decay=st.floats(0, 0.99))
def test_late_in_training_it_is_the_textbook_average(iteration: int, decay: float) -> None:
    averaged = scalar(1.0)
    update_average(averaged, scalar(0.0), decay, iteration)
    assert abs(float(averaged.weight) - decay) < 1e-6
