"""Samplers against differential equations whose solutions are known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rounding import assert_same_up_to_rounding
from torch import Tensor

from livejam.errors import UserError
from livejam.sampling import (
    Euler,
    EulerPlusPlus,
    Heun,
    Noise,
    NoiseFree,
    PingPong,
    PingPongPlusPlus,
    Sampler,
    UniformSchedule,
    Velocity,
    clean_estimate,
    euler,
    euler_plus_plus,
    generator_noise,
    guided,
    heun,
    ping_pong,
    ping_pong_plus_plus,
    row_noise,
)

SHAPE = (2, 3, 4)
ALL: list[Sampler] = [Euler(4), Heun(4), PingPong(4), EulerPlusPlus(4), PingPongPlusPlus(4)]
IDS = ["euler", "heun", "ping_pong", "euler_plus_plus", "ping_pong_plus_plus"]


def noise(seed: int = 0) -> Noise:
    return generator_noise(SHAPE, torch.Generator().manual_seed(seed), torch.float64)


def towards(goal: float) -> Velocity:
    """The exact velocity of data that are all `goal`: ε - x_0 = (x_t - x_0) / t."""
    return lambda x, t: (x - goal) / t[:, None, None].clamp_min(1e-12)


def growth(x: Tensor, t: Tensor) -> Tensor:
    """dx/dt = x, so x(0) = x(1) / e."""
    return x


@pytest.mark.parametrize(("solver", "order"), [(euler, 1), (heun, 2)])
def test_order_of_convergence(solver: Callable[[Velocity, Tensor, Noise], Tensor], order: int) -> None:
    exact = noise()(0) / math.e
    errors = [(solver(growth, UniformSchedule().times(steps), noise()) - exact).abs().max() for steps in (32, 64)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


@given(goal=st.floats(-3, 3), steps=st.integers(1, 6))
def test_every_sampler_finds_data_that_are_one_point(goal: float, steps: int) -> None:
    for make in (Euler, Heun, PingPong):
        assert torch.allclose(make(steps).sample(towards(goal), noise()), torch.full(SHAPE, goal, dtype=torch.float64))
    for make_guided in (EulerPlusPlus, PingPongPlusPlus):
        found = make_guided(steps, schedule=UniformSchedule()).sample(towards(goal), noise())
        assert torch.allclose(found, torch.full(SHAPE, goal, dtype=torch.float64))


@given(goal=st.floats(-3, 3))
def test_without_noise_one_step_says_what_is_expected(goal: float) -> None:
    """At t = 1 the exact velocity is ε - E[x_0], of whatever data."""
    found = NoiseFree().sample(lambda x, t: x - goal, noise())
    assert torch.allclose(found, torch.full(SHAPE, goal, dtype=torch.float64))


def field(x: Tensor, t: Tensor) -> Tensor:
    return torch.sin(x) * (1 + t[:, None, None])


def other_field(x: Tensor, t: Tensor) -> Tensor:
    return torch.cos(2 * x) - t[:, None, None]


def both(x: Tensor, t: Tensor) -> Tensor:
    """Rows conditional, then unconditional."""
    half = len(x) // 2
    return torch.cat((field(x[:half], t[:half]), other_field(x[half:], t[half:])))


@given(weight=st.floats(0, 10))
def test_guidance_extrapolates_from_one_call(weight: float) -> None:
    calls = []

    def counted(x: Tensor, t: Tensor) -> Tensor:
        calls.append(len(x))
        return both(x, t)

    x, t = torch.randn(SHAPE, dtype=torch.float64), torch.tensor([0.3, 0.9], dtype=torch.float64)
    expected = other_field(x, t) + weight * (field(x, t) - other_field(x, t))
    assert torch.allclose(guided(counted, weight)(x, t), expected)
    assert calls == [4]


@pytest.mark.parametrize("make", [Euler, Heun, PingPong])
def test_guidance_of_one_is_the_conditional_model(make: type[Euler]) -> None:
    plain = make(4).sample(field, noise())
    solver = {Euler: euler, Heun: heun, PingPong: ping_pong}[make]
    assert torch.allclose(solver(guided(both, 1.0), make(4).schedule.times(4), noise()), plain)
    assert not torch.allclose(make(4, guidance=2.0).sample(both, noise()), plain)


def test_plus_plus_is_the_published_step() -> None:
    """One step from t to t' by hand, and what it becomes where both models agree."""
    times, weight = torch.tensor([1.0, 0.4, 0.0], dtype=torch.float64), 0.7
    draws = noise()
    draw = [draws(0), draws(1)]
    fixed: Noise = lambda number: draw[number]  # noqa: E731
    x, t = draw[0], torch.ones(2, dtype=torch.float64)
    conditional, unconditional = field(x, t), other_field(x, t)
    steered = unconditional + weight * (conditional - unconditional)
    first = x - steered + 0.4 * unconditional
    assert torch.allclose(euler_plus_plus(both, (weight,), times[:2], fixed), first)
    first = x - steered + 0.4 * (draw[1] - (x - unconditional))
    assert torch.allclose(ping_pong_plus_plus(both, (weight,), times[:2], fixed), first)
    same: Velocity = lambda x, t: torch.cat((field(*_half(x, t)),) * 2)  # noqa: E731
    assert torch.allclose(euler_plus_plus(same, (weight,), times, fixed), euler(field, times, fixed))
    assert torch.allclose(ping_pong_plus_plus(same, (weight,), times, fixed), ping_pong(field, times, fixed))


def _half(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    return x[: len(x) // 2], t[: len(t) // 2]


@pytest.mark.parametrize("sampler", ALL, ids=IDS)
def test_randomness_is_the_noise_alone(sampler: Sampler) -> None:
    velocity = both if sampler.needs_unconditional else field
    assert torch.equal(sampler.sample(velocity, noise(3)), sampler.sample(velocity, noise(3)))
    assert not torch.allclose(sampler.sample(velocity, noise(3)), sampler.sample(velocity, noise(4)))


@pytest.mark.parametrize("sampler", ALL, ids=IDS)
def test_rows_do_not_depend_on_their_company(sampler: Sampler) -> None:
    velocity = both if sampler.needs_unconditional else field
    seed_B, position_BT = torch.tensor([7, 8, 9]), torch.arange(5).expand(3, -1) + torch.tensor([[0], [40], [3]])
    together = sampler.sample(velocity, row_noise(seed_B, position_BT, 4, torch.float64))
    alone = sampler.sample(velocity, row_noise(seed_B[1:2], position_BT[1:2], 4, torch.float64))
    assert_same_up_to_rounding(together[1], alone[0])


def test_draws_of_a_row_are_different_noise() -> None:
    draw = row_noise(torch.tensor([1]), torch.arange(2000)[None], 4, torch.float32)
    numbers = torch.stack([draw(k).flatten() for k in range(4)])
    assert torch.allclose(torch.corrcoef(numbers), torch.eye(4), atol=0.05)
    assert torch.allclose(numbers.std(dim=1), torch.ones(4), atol=0.05)


@pytest.mark.parametrize("sampler", ALL, ids=IDS)
def test_gradients_flow_on_request(sampler: Sampler) -> None:
    scale = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    velocity: Velocity = lambda x, t: scale * (both if sampler.needs_unconditional else field)(x, t)  # noqa: E731
    (gradient,) = torch.autograd.grad(sampler.sample(velocity, noise()).sum(), scale)
    step = 1e-6
    with torch.no_grad():
        ends = []
        for value in (1 + step, 1 - step):
            scale.fill_(value)
            ends.append(sampler.sample(velocity, noise()).sum())
        assert not ends[0].requires_grad
    assert gradient == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=1e-5)


def test_clean_estimate_undoes_the_path() -> None:
    clean, noisy, t = (torch.randn(SHAPE), torch.randn(SHAPE), torch.rand(2))
    path = (1 - t[:, None, None]) * clean + t[:, None, None] * noisy
    assert torch.allclose(clean_estimate(path, t, noisy - clean), clean, atol=1e-6)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(UserError, match="at least 1 step"):
        Euler(0)
    with pytest.raises(UserError, match="0 or more"):
        PingPong(4, guidance=-1)
    with pytest.raises(UserError, match="between 0 and 1"):
        EulerPlusPlus(4, guidance=7)
