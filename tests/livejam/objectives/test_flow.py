"""The flow-matching loss and the distributions of its times."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from livejam.errors import UserError
from livejam.objectives.flow import (
    LogitNormalTimes,
    LogSNRTimes,
    ShiftedTimes,
    SobolTimes,
    TimeDistribution,
    UniformTimes,
    flow_matching_loss,
    interpolate,
)
from livejam.sampling import length_shift


def draws(times: TimeDistribution, batch: int, seed: int = 0) -> Tensor:
    return times.draw(batch, torch.Generator().manual_seed(seed))


def test_loss_is_of_target_frames_alone() -> None:
    clean, noise, wrong = torch.randn(3, 6, 4), torch.randn(3, 6, 4), torch.randn(3, 6, 4)
    target = torch.zeros(3, 6, dtype=torch.bool)
    target[0, 2:4], target[1, :], target[2, 5] = True, True, True
    velocity = noise - clean + wrong
    expected = torch.stack([wrong[i, target[i]].square().mean() for i in range(3)])
    assert torch.allclose(flow_matching_loss(velocity, clean, noise, target), expected)
    poisoned = velocity.masked_fill(~target[..., None], torch.nan).requires_grad_()
    loss = flow_matching_loss(poisoned, clean, noise, target)
    assert torch.allclose(loss, expected)
    (gradient,) = torch.autograd.grad(loss.sum(), poisoned)
    assert torch.equal(gradient[~target], torch.zeros_like(gradient[~target]))


def test_the_path_is_straight() -> None:
    clean, noise, time = torch.randn(2, 3, 4), torch.randn(2, 3, 4), torch.tensor([0.0, 1.0])
    assert torch.equal(interpolate(clean, noise, time), torch.stack((clean[0], noise[1])))
    step = interpolate(clean, noise, torch.full((2,), 0.5)) - interpolate(clean, noise, torch.full((2,), 0.25))
    assert torch.allclose(step, 0.25 * (noise - clean), atol=1e-6), "its velocity is ε - x_0 everywhere"


ALL: list[TimeDistribution] = [UniformTimes(), SobolTimes(), LogitNormalTimes(), LogSNRTimes(), ShiftedTimes(240)]


@pytest.mark.parametrize("times", ALL, ids=lambda t: type(t).__name__)
def test_times_lie_on_the_path_and_follow_the_generator(times: TimeDistribution) -> None:
    time_B = draws(times, 512)
    assert time_B.min() >= 0
    assert time_B.max() <= 1
    assert torch.equal(time_B, draws(times, 512))
    assert not torch.equal(time_B, draws(times, 512, seed=1))


def test_distributions_are_what_they_are_called() -> None:
    quarter = torch.tensor([0.25, 0.5, 0.75])
    assert torch.allclose(torch.quantile(draws(UniformTimes(), 20_000), quarter), quarter, atol=0.02)
    logits = torch.logit(draws(LogitNormalTimes(1.0, 2.0), 20_000).double())
    assert torch.allclose(torch.stack((logits.mean(), logits.std())), torch.tensor([1.0, 2.0]).double(), atol=0.05)
    log_snr = -torch.logit(draws(LogSNRTimes(), 20_000).double())
    assert torch.allclose(torch.quantile(log_snr, quarter.double()), 8 * quarter.double() - 6, atol=0.15)
    assert torch.equal(draws(ShiftedTimes(240, UniformTimes()), 50), length_shift(draws(UniformTimes(), 50), 240))


@pytest.mark.parametrize("batch", [8, 16, 64])
def test_sobol_times_fill_every_batch_evenly(batch: int) -> None:
    """A power of two of them has exactly one point per equal part, up to the common shift."""
    times = draws(SobolTimes(), batch).sort().values
    gaps = torch.cat((times.diff(), times[:1] + 1 - times[-1:]))
    assert torch.allclose(gaps, torch.full((batch,), 1 / batch), atol=1e-5)


def test_impossible_distributions_are_refused() -> None:
    with pytest.raises(UserError, match="above 0"):
        LogitNormalTimes(deviation=0)
    with pytest.raises(UserError, match="less than high"):
        LogSNRTimes(3, 3)
