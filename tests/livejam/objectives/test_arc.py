"""ARC's losses by hand, and its distributions of noise levels."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from livejam.errors import UserError
from livejam.objectives.arc import (
    TruncatedLogitNormalTimes,
    approximate_gradient_penalty,
    arc_discriminator_loss,
    arc_generator_loss,
    contrastive_loss,
)

REAL_BM = torch.tensor([[1.0, 0.0], [0.5, 2.0]])
FAKE_BM = torch.tensor([[0.0, 2.0], [0.5, -1.0]])


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_losses_are_means_over_the_places_of_the_map() -> None:
    expected = [(softplus(-1) + softplus(2)) / 2, (softplus(0) + softplus(-3)) / 2]
    assert arc_discriminator_loss(REAL_BM, FAKE_BM).tolist() == pytest.approx(expected)
    assert contrastive_loss(REAL_BM, FAKE_BM).tolist() == pytest.approx(expected)
    expected = [(softplus(1) + softplus(-2)) / 2, (softplus(0) + softplus(3)) / 2]
    assert arc_generator_loss(FAKE_BM, REAL_BM).tolist() == pytest.approx(expected)


def test_a_map_is_not_the_score_of_its_mean() -> None:
    """Places are compared one by one: a rollout that is better early and worse late is not simply as good."""
    real_BM, fake_BM = torch.tensor([[3.0, -3.0]]), torch.tensor([[-3.0, 3.0]])
    assert arc_discriminator_loss(real_BM, fake_BM).item() == pytest.approx((softplus(-6) + softplus(6)) / 2)


def test_the_penalty_sums_squared_changes_over_the_map() -> None:
    score_BM = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    perturbed_BM = torch.tensor([[1.5, 1.0], [0.0, 0.1]])
    assert approximate_gradient_penalty(score_BM, perturbed_BM).tolist() == pytest.approx([1.25, 0.01])


def test_the_penalty_grows_to_the_squared_gradient() -> None:
    """For D(x) = w·x and small noise σ n, E[penalty] is σ² ‖w‖², which is what R1 penalises."""
    weight, sigma = torch.randn(8, dtype=torch.float64), 0.05
    x_BN = torch.randn(100_000, 8, dtype=torch.float64)
    noise_BN = sigma * torch.randn_like(x_BN)
    penalty_B = approximate_gradient_penalty((x_BN @ weight)[:, None], ((x_BN + noise_BN) @ weight)[:, None])
    assert penalty_B.mean().item() == pytest.approx(sigma**2 * weight.square().sum().item(), rel=0.05)


@given(cut=st.floats(0.01, 0.9))
def test_truncated_times_have_the_distribution_they_are_named_after(cut: float) -> None:
    """P(t ≤ x) against its closed form: 1 - t is a logit-normal number above the cut, stretched to [0, 1]."""
    times_B = TruncatedLogitNormalTimes(cut).draw(4000, torch.Generator().manual_seed(1))
    assert times_B.dtype == torch.float32
    assert ((times_B >= 0) & (times_B <= 1)).all()
    place = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9], dtype=torch.float64)
    normal = torch.distributions.Normal(torch.tensor(0.0, dtype=torch.float64), 1)
    below = normal.cdf(torch.logit(torch.tensor(cut, dtype=torch.float64)))
    expected = (1 - normal.cdf(torch.logit(cut + (1 - cut) * (1 - place)))) / (1 - below)
    found = (times_B[:, None] <= place).double().mean(0)
    assert torch.allclose(found, expected, atol=0.035), (found, expected)


@pytest.mark.parametrize("cut", [0.0, 1.0, -0.1])
def test_a_cut_outside_of_the_distribution_is_refused(cut: float) -> None:
    with pytest.raises(UserError, match=r"cut is .* between 0 and 1; the paper's is 0\.075"):
        TruncatedLogitNormalTimes(cut)
