"""Losses of streaming distillation.

Shapes: B batch, T latent frames, C latent channels, A audio channels, N audio samples.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from livejam.objectives.streaming import (
    StreamingObjective,
    latent_error,
    spectral_error,
    temporal_difference_error,
)

LATENT = (latent_error, temporal_difference_error)


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def block(seed: int, frames: int = 5) -> Tensor:
    return noise(seed, 3, frames, 4)


@given(seed=st.integers(0, 99), frames=st.integers(1, 9))
def test_equal_blocks_cost_nothing_and_others_something(seed: int, frames: int) -> None:
    teacher_BTC = block(seed, frames)
    for error in LATENT:
        assert torch.equal(error(teacher_BTC, teacher_BTC), torch.zeros(3, dtype=torch.float64))
        assert (error(block(seed + 100, frames), teacher_BTC) > 0).all()


@given(seed=st.integers(0, 99))
def test_samples_do_not_touch_each_other(seed: int) -> None:
    student_BTC, teacher_BTC = block(seed), block(seed + 1)
    for error in LATENT:
        alone = torch.cat([error(student_BTC[i : i + 1], teacher_BTC[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(error(student_BTC, teacher_BTC), alone)


@given(offset=st.floats(-3, 3), frames=st.integers(1, 9))
def test_what_is_wrong_throughout_moves_once(offset: float, frames: int) -> None:
    """The temporal difference of a constant error is that of its first frame, after a past that both share."""
    teacher_BTC = block(1, frames)
    student_BTC = teacher_BTC + offset
    expected_B = torch.full((3,), offset**2, dtype=torch.float64)
    torch.testing.assert_close(latent_error(student_BTC, teacher_BTC), expected_B)
    torch.testing.assert_close(temporal_difference_error(student_BTC, teacher_BTC), expected_B / frames)


def test_an_onset_a_frame_late_moves_twice() -> None:
    teacher_BTC, student_BTC = torch.zeros(1, 8, 1), torch.zeros(1, 8, 1)
    teacher_BTC[:, 3:], student_BTC[:, 4:] = 1.0, 1.0
    assert latent_error(student_BTC, teacher_BTC).item() == pytest.approx(1 / 8)
    assert temporal_difference_error(student_BTC, teacher_BTC).item() == pytest.approx(2 / 8)


def test_spectra_hear_timbre_and_not_a_turned_phase() -> None:
    """Equal sounds cost nothing, an inverted one neither, another pitch does; channels are averaged."""
    time_N = torch.arange(4096, dtype=torch.float64) / 22050
    low_N, high_N = (0.3 * torch.sin(2 * math.pi * pitch * time_N) for pitch in (220.0, 660.0))
    teacher_BAN = torch.stack([low_N, low_N]).expand(2, 2, -1)
    windows, floor = (256, 1024), 1e-3
    assert spectral_error(teacher_BAN, teacher_BAN, windows, floor).abs().max() < 1e-5
    assert spectral_error(-teacher_BAN, teacher_BAN, windows, floor).abs().max() < 1e-5
    both_B = spectral_error(torch.stack([high_N, high_N]).expand(2, 2, -1), teacher_BAN, windows, floor)
    one_B = spectral_error(torch.stack([high_N, low_N]).expand(2, 2, -1), teacher_BAN, windows, floor)
    assert both_B.shape == (2,)
    assert (both_B > 0.5).all()
    torch.testing.assert_close(one_B, both_B / 2, atol=1e-5, rtol=0)


@given(weights=st.tuples(*[st.floats(0, 3)] * 3))
def test_the_total_is_the_weighted_sum(weights: tuple[float, float, float]) -> None:
    latent, temporal, spectral = weights
    objective = StreamingObjective(latent_weight=latent, temporal_weight=temporal, spectral_weight=spectral)
    losses = objective.latent_losses(block(1), block(2))
    assert objective.total(losses).item() == pytest.approx(
        latent * losses["latent"].item() + temporal * losses["temporal"].item()
    )
    losses["spectral"] = torch.tensor(2.0, dtype=torch.float64)
    assert objective.total(losses).item() == pytest.approx(
        latent * losses["latent"].item() + temporal * losses["temporal"].item() + 2 * spectral
    )
