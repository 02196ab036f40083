"""Consistency distillation's parts by hand and against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from livejam.errors import UserError
from livejam.objectives.consistency import KarrasTimes, consistency_loss, denoising_loss, solve
from livejam.sampling import clean_estimate, heun_step
from livejam.sampling.karras import KarrasSchedule

SHAPE = (3, 4, 2)
DEVIATION = 0.7


def velocity_of_a_gaussian(x_BTC: Tensor, time_B: Tensor) -> Tensor:
    """E[ε - x_0 | x_t] for x_0 ~ N(0, DEVIATION²), in closed form."""
    t = time_B[:, None, None]
    variance = (1 - t).square() * DEVIATION**2 + t.square()
    return x_BTC * (t - (1 - t) * DEVIATION**2) / variance


def end_of_the_curve(x_BTC: Tensor, time_B: Tensor, end_B: Tensor) -> Tensor:
    """Curves of a Gaussian keep their place in units of the deviation at each time."""
    deviation = lambda t: ((1 - t).square() * DEVIATION**2 + t.square()).sqrt()[:, None, None]  # noqa: E731
    return x_BTC * deviation(end_B) / deviation(time_B)


def test_boundary() -> None:
    x_BTC, velocity_BTC = torch.randn(SHAPE), torch.randn(SHAPE)
    assert torch.equal(clean_estimate(x_BTC, torch.zeros(3), velocity_BTC), x_BTC)
    times_B = torch.tensor([1.0, 0.5, 0.25])
    assert torch.allclose(clean_estimate(x_BTC, times_B, velocity_BTC)[1], x_BTC[1] - 0.5 * velocity_BTC[1])


def test_heun_by_hand() -> None:
    """v(x, t) = x + t from x = 2 at t = 1 to 0.5: slopes 3 and 1, so x = 2 - 0.5 · (3 + 1) / 2 = 1."""
    x_BTC = torch.full((1, 1, 1), 2.0)
    after = heun_step(lambda x, t: x + t[:, None, None], x_BTC, torch.tensor([1.0]), torch.tensor([0.5]))
    assert after.item() == pytest.approx(2 - 0.25 * (3 + (2 - 0.5 * 3) + 0.5))


def test_heun_is_of_second_order_along_the_curve() -> None:
    x_BTC = torch.randn(SHAPE, dtype=torch.float64)
    start_B, end_B = (torch.tensor(t, dtype=torch.float64) for t in ([1.0, 0.9, 0.8], [0.5, 0.3, 0.0]))

    def error(steps: int) -> float:
        times = [torch.lerp(start_B, end_B, i / steps) for i in range(steps + 1)]
        made = solve(velocity_of_a_gaussian, x_BTC, times)
        return (made - end_of_the_curve(x_BTC, start_B, end_B)).abs().max().item()

    assert error(64) < 1e-3
    assert 3.5 < error(64) / error(128) < 4.5


def test_scales_are_the_schedule_of_the_paper() -> None:
    times_K = KarrasTimes().levels(18).float()
    sigma_K = times_K.double() / (1 - times_K.double())
    assert len(times_K) == 18
    assert (times_K[:-1] > times_K[1:]).all()
    assert times_K[0] == 1, "80 times as much noise as music is noise"
    assert sigma_K[-1].item() == pytest.approx(1e-4, rel=1e-4)
    roots = sigma_K[1:] ** (1 / 9)
    step = (80 ** (1 / 9) - 1e-4 ** (1 / 9)) / 17
    assert torch.allclose(roots.diff(), roots.new_tensor(-step), rtol=1e-3)
    assert roots[0].item() == pytest.approx(80 ** (1 / 9) - step, rel=1e-4)


def test_two_steps_of_sampling() -> None:
    """The middle of the schedule is σ = ((80^(1/9) + 0.0001^(1/9)) / 2)^9."""
    sigma = ((80 ** (1 / 9) + 1e-4 ** (1 / 9)) / 2) ** 9
    assert KarrasSchedule().times(2).tolist() == pytest.approx([1, sigma / (1 + sigma), 0])
    assert KarrasSchedule().times(1).tolist() == [1, 0]
    with pytest.raises(UserError, match="at least 1 step"):
        KarrasSchedule().times(0)
    with pytest.raises(UserError, match="no schedule; set"):
        KarrasSchedule(rho=0.0)


def test_solver_steps_are_likelier_the_more_there_are() -> None:
    """P(n) = n / (1 + … + 4) for five scales, and every start leaves room for the steps."""
    scales, rng = KarrasTimes(number=5), torch.Generator().manual_seed(0)
    drawn = torch.tensor([scales.draw_steps(rng) for _ in range(4000)])
    shares = torch.bincount(drawn, minlength=5).double() / len(drawn)
    assert shares.tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=0.03)
    for steps in (1, 3, 4):
        starts = scales.draw_starts(steps, 500, rng)
        assert set(starts.tolist()) == set(range(5 - steps))


def test_denoising_times_come_from_both_halves() -> None:
    times_B = KarrasTimes().denoising_times(20_000, torch.Generator().manual_seed(0))
    assert ((times_B > 0) & (times_B < 1)).all()
    log_sigma_B = torch.logit(times_B.double())
    high, low = 80 ** (1 / 9), 1e-4 ** (1 / 9)
    for bound in (-4.0, -2.5, -1.2, 0.0, 2.0):
        normal = 0.5 * math.erfc((bound + 1.2) / 1.2 / math.sqrt(2))
        schedule = min((high - math.exp(bound / 9)) / (high - low) / 0.7, 1.0)
        assert (log_sigma_B > bound).double().mean().item() == pytest.approx((normal + schedule) / 2, abs=0.015)


ALL_BT = torch.ones(3, 4, dtype=torch.bool)


def test_losses_by_hand() -> None:
    estimate_BTC, other_BTC = torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[[0.0], [1.0], [0.0]]])
    target_BT = torch.tensor([[True, True, False]])
    assert consistency_loss(estimate_BTC, other_BTC, target_BT).tolist() == [2.5]
    # σ = 1/3 at t = 1/4: weight (1/9 + 1) / (1/9) = 10
    assert denoising_loss(estimate_BTC, other_BTC, torch.tensor([0.25]), target_BT).tolist() == pytest.approx([25.0])


def test_the_target_is_a_constant() -> None:
    student, target = torch.ones(SHAPE, requires_grad=True), torch.zeros(SHAPE, requires_grad=True)
    consistency_loss(student, target, ALL_BT).sum().backward()
    assert target.grad is None
    assert student.grad is not None


def test_denoising_loss_is_a_weighted_flow_matching_loss() -> None:
    clean, noise, velocity = (torch.randn(SHAPE, dtype=torch.float64) for _ in range(3))
    time_B = torch.tensor([0.1, 0.6, 1.0], dtype=torch.float64)
    noisy = (1 - time_B)[:, None, None] * clean + time_B[:, None, None] * noise
    expected = (time_B**2 + (1 - time_B) ** 2) * (velocity - (noise - clean)).square().mean((1, 2))
    assert torch.allclose(denoising_loss(clean_estimate(noisy, time_B, velocity), clean, time_B, ALL_BT), expected)


@pytest.mark.parametrize("wrong", [{"number": 1}, {"lowest_sigma": 0.0}, {"highest_sigma": 1e-5}, {"rho": 0.0}])
def test_scales_that_are_none_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"paper's is 18|no schedule; set"):
        KarrasTimes(**wrong)  # type: ignore[arg-type]
