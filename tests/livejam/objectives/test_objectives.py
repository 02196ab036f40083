"""Objectives against hand-computed values, against their definition, and against each other."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from livejam.objectives import (
    adapt_penalty_weight,
    discriminator_loss,
    generator_loss,
    lazy_penalty_scale,
    zero_centred_penalty,
)

FINITE = st.floats(-30, 30)


@given(real=FINITE, fake=FINITE)
def test_relativistic_losses_by_definition(real: float, fake: float) -> None:
    real_B, fake_B = torch.tensor([real], dtype=torch.float64), torch.tensor([fake], dtype=torch.float64)
    assert discriminator_loss(real_B, fake_B).item() == pytest.approx(math.log1p(math.exp(fake - real)), rel=1e-9)
    assert generator_loss(fake_B, real_B).item() == pytest.approx(math.log1p(math.exp(real - fake)), rel=1e-9)


def test_losses_pair_samples_one_to_one() -> None:
    real_B, fake_B = torch.tensor([2.0, -1.0, 0.0]), torch.tensor([1.0, 1.0, 0.0])
    expected = torch.tensor([math.log1p(math.exp(-1)), math.log1p(math.exp(2)), math.log(2)])
    assert torch.allclose(discriminator_loss(real_B, fake_B), expected)
    assert discriminator_loss(torch.tensor([1e4]), torch.tensor([-1e4])).item() == 0.0
    assert generator_loss(torch.tensor([-1e4]), torch.tensor([1e4])).item() == 2e4


def test_generator_and_discriminator_pull_the_fake_score_apart() -> None:
    fake_B, real_B = torch.zeros(4, requires_grad=True), torch.ones(4)
    (up,) = torch.autograd.grad(generator_loss(fake_B, real_B).sum(), fake_B)
    (down,) = torch.autograd.grad(discriminator_loss(real_B, fake_B).sum(), fake_B)
    assert torch.allclose(up, torch.full((4,), -1 / (1 + math.exp(-1))))
    assert torch.allclose(down, torch.full((4,), 1 / (1 + math.exp(1))))


def test_penalty_of_a_quadratic_form() -> None:
    """D(x) = ½ Σ w x² has the gradient w x, the penalty Σ w² x² and its derivative 2 w x² by w."""
    x = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(4, 5, dtype=torch.float64, requires_grad=True)
    penalty_B = zero_centred_penalty(x, 0.5 * (weight * x.square()).sum(dim=(1, 2)))
    assert torch.allclose(penalty_B, (weight.square() * x.square()).sum(dim=(1, 2)))
    (by_weight,) = torch.autograd.grad(penalty_B.sum(), weight)
    assert torch.allclose(by_weight, 2 * weight * x.square().sum(dim=0))


@pytest.mark.parametrize("shape", [(2, 7), (2, 4, 3), (2, 3, 2, 2)])
def test_penalty_reduces_over_all_but_the_batch(shape: tuple[int, ...]) -> None:
    """Each sample's own gradient, computed alone by finite differences in float64."""
    torch.manual_seed(0)
    size = math.prod(shape[1:])
    network = nn.Sequential(nn.Flatten(), nn.Linear(size, 6), nn.Tanh(), nn.Linear(6, 1)).double()
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    penalty_B = zero_centred_penalty(x, network(x).squeeze(1))
    basis = torch.eye(size, dtype=torch.float64).view(size, *shape[1:]) * 1e-6
    with torch.no_grad():
        slopes = [(network(sample + basis) - network(sample - basis)).squeeze(1) / 2e-6 for sample in x]
    assert torch.allclose(penalty_B, torch.stack([slope.square().sum() for slope in slopes]), rtol=1e-6)


@settings(max_examples=30)
@given(every=st.integers(1, 16), cycles=st.integers(1, 3))
def test_lazy_schedule_has_the_expectation_of_every_step(every: int, cycles: int) -> None:
    scales = [lazy_penalty_scale(i, every) for i in range(2 * every * cycles)]
    steps = len(scales)
    always = [lazy_penalty_scale(i, 1) for i in range(2)]
    for side in ("r1", "r2"):
        assert sum(getattr(s, side) for s in scales) / steps == sum(getattr(s, side) for s in always) / 2 == 0.5
    used = [(i, s) for i, s in enumerate(scales) if s.r1 or s.r2]
    assert [i for i, _ in used] == list(range(0, steps, every))
    assert all((s.r1 > 0) != (s.r2 > 0) for _, s in used), "one side at a time"
    assert all((a.r1 > 0) != (b.r1 > 0) for (_, a), (_, b) in itertools.pairwise(used)), "in turn"


@given(weight=st.floats(0, 20), advantage=st.floats(-5, 5), step=st.floats(0, 1))
def test_adagp_moves_towards_the_target_and_never_below_zero(weight: float, advantage: float, step: float) -> None:
    new = adapt_penalty_weight(
        torch.tensor(weight, dtype=torch.float64), torch.tensor(advantage, dtype=torch.float64), 1.0, step
    ).item()
    if advantage > 1:
        assert new == weight + step
    elif advantage < 1:
        assert new == max(0.0, weight - step)
    else:
        assert new == weight
    assert new >= 0


def test_adagp_finds_the_weight_that_gives_the_target() -> None:
    """With an advantage that falls in λ as 10 / (1 + λ), a* = 1 is reached at λ = 9 from either side."""
    for start in (0.0, 20.0):
        weight = torch.tensor(start)
        for _ in range(2000):
            weight = adapt_penalty_weight(weight, 10 / (1 + weight), target_advantage=1.0, step_size=0.01)
        assert weight.item() == pytest.approx(9.0, abs=0.03)
