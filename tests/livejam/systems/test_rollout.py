"""Rollouts of a toy whose gradient can be written down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from livejam.errors import UserError
from livejam.sampling import EarlyExits, LogSNRSchedule, PingPong
from livejam.systems.rollout import Rollout, RolloutSampler, boundary_jump, rollout

SHAPE = (2, 1, 1)
BLOCKS = 4


class ToyNetwork(nn.Module):
    """v = a x + b h + g m, with what is cached of the last block, h = e · block."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.g, self.e = (nn.Parameter(torch.tensor(v).double()) for v in (0.3, -0.7, 0.4, 1.3))


@dataclass(frozen=True)
class ToyState:
    cached_BTC: Tensor
    played: int


class ToyAccompanist:
    """Plays what its network makes of the mix and of its own last block."""

    def __init__(self, network: ToyNetwork, sampler: Any) -> None:
        self.network, self.sampler = network, sampler
        self.spec: Any = None
        self.block_frames, self.anticipation_frames = 1, 0
        self.noise = torch.randn(BLOCKS, 8, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(7))

    def init_state(self, batch_size: int, controls: Any) -> ToyState:
        return ToyState(self.network.e * torch.full(SHAPE, 0.5, dtype=torch.float64), 0)

    def with_sampler(self, sampler: Any) -> ToyAccompanist:
        return ToyAccompanist(self.network, sampler)

    def generate_block(self, mix_BTC: Tensor, state: ToyState) -> tuple[Tensor, ToyState]:
        net = self.network
        velocity = lambda x, t: net.a * x + net.b * state.cached_BTC + net.g * mix_BTC  # noqa: E731
        block_BTC = self.sampler.sample(velocity, lambda number: self.noise[state.played, number])
        return block_BTC, ToyState((net.e * block_BTC).detach(), state.played + 1)


def make() -> ToyAccompanist:
    return ToyAccompanist(ToyNetwork(), PingPong())


def mix(blocks: int) -> Tensor:
    return torch.linspace(-1, 1, 2 * blocks, dtype=torch.float64).reshape(2, blocks, 1)


def roll(
    toy: ToyAccompanist, steps: tuple[int, ...], differentiable: bool = True, checkpointing: bool = False
) -> Tensor:
    with torch.no_grad():
        state = toy.init_state(2, None)
    samplers = [RolloutSampler(count, 3, differentiable, checkpointing) for count in steps]
    return rollout(toy, state, mix(len(steps)), samplers)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradient_of_two_blocks_by_hand(checkpointing: bool) -> None:
    """Two steps, then one: only the second evaluation of the first block and the one of the second block count."""
    toy = make()
    made_BTC = roll(toy, (2, 1), checkpointing=checkpointing)
    weight_BTC = torch.tensor([[[1.0], [2.0]], [[-0.5], [3.0]]], dtype=torch.float64)
    (weight_BTC * made_BTC).sum().backward()

    net, noise, m = toy.network, toy.noise, mix(2)
    a, b, g, e = (p.item() for p in (net.a, net.b, net.g, net.e))
    t = LogSNRSchedule().times(3)[1].item()
    h0 = torch.full(SHAPE, 0.5 * e, dtype=torch.float64)
    clean = noise[0, 0] - (a * noise[0, 0] + b * h0 + g * m[:, :1])
    x = (1 - t) * clean + t * noise[0, 1]
    first = x - t * (a * x + b * h0 + g * m[:, :1])
    h1 = e * first
    second = noise[1, 0] - (a * noise[1, 0] + b * h1 + g * m[:, 1:])
    assert torch.allclose(made_BTC, torch.cat((first, second), dim=1))

    w1, w2 = weight_BTC[:, :1], weight_BTC[:, 1:]
    by_hand = {
        "a": -(w1 * t * x).sum() - (w2 * noise[1, 0]).sum(),
        "b": -(w1 * t * h0).sum() - (w2 * h1).sum(),
        "g": -(w1 * t * m[:, :1]).sum() - (w2 * m[:, 1:]).sum(),
    }
    for name, expected in by_hand.items():
        assert getattr(net, name).grad.item() == pytest.approx(expected.item(), rel=1e-12), name
    assert net.e.grad is None, "nothing reaches what made the context"


def test_it_plays_what_the_live_sampler_plays() -> None:
    """With all steps the blocks are those of ping-pong sampling, and the accompanist's own output."""
    toy = make()
    made_BTC = roll(toy, (3, 3, 3, 3))
    live = ToyAccompanist(toy.network, PingPong(steps=3))
    state, played = live.init_state(2, None), []
    for mix_BTC in mix(BLOCKS).split(1, dim=1):
        block_BTC, state = live.generate_block(mix_BTC, state)
        played.append(block_BTC)
    assert torch.allclose(made_BTC, torch.cat(played, dim=1))


@pytest.mark.parametrize("block", range(BLOCKS))
def test_other_steps_change_no_earlier_block(block: int) -> None:
    toy = make()
    steps = (1, 2, 1, 2)
    other = tuple(3 - k if i == block else k for i, k in enumerate(steps))
    first, second = roll(toy, steps), roll(toy, other)
    assert torch.equal(first[:, :block], second[:, :block])
    assert (first[:, block:] != second[:, block:]).all()


def test_a_step_of_the_discriminator_has_no_graph() -> None:
    toy = make()
    differentiable, constant = roll(toy, (2, 1)), roll(toy, (2, 1), differentiable=False)
    assert differentiable.requires_grad
    assert not constant.requires_grad
    assert torch.equal(differentiable, constant)


def drawn_steps(**settings: int) -> list[int]:
    return [sampler.steps for sampler in Rollout(**settings).draw(True, torch.Generator().manual_seed(0))]


def test_drawn_steps_are_uniform_and_equal_for_equal_generators() -> None:
    drawn = drawn_steps(blocks=3000)
    assert drawn == drawn_steps(blocks=3000)
    shares = torch.bincount(torch.tensor(drawn), minlength=7) / len(drawn)
    assert shares.tolist() == pytest.approx([0, *[1 / 6] * 6], abs=0.03)
    assert set(drawn_steps(blocks=300, schedule_steps=4, fewest_steps=2)) == {2, 3, 4}
    paper = drawn_steps(blocks=300, schedule_steps=6, most_steps=5)
    assert set(paper) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ("blocks", "fewest", "most", "message"),
    [
        (0, 1, 6, r"rollout.blocks is 0"),
        (2, 1, 0, r"rollout.schedule_steps is 0; set 1 or more"),
        (2, 0, 6, r"rollout.fewest_steps is 0, but must lie in 1 … 6"),
        (2, 7, 6, r"rollout.fewest_steps is 7, but must lie in 1 … 6"),
    ],
)
def test_steps_out_of_range_are_refused(blocks: int, fewest: int, most: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Rollout(blocks, most, fewest)


@pytest.mark.parametrize("most", [0, 7])
def test_more_steps_than_the_schedule_has_are_refused(most: int) -> None:
    with pytest.raises(UserError, match=rf"rollout.most_steps is {most}, but must lie in 1 … 6"):
        Rollout(2, 6, 1, most)


def levels_with_gradient(settings: Rollout) -> set[float]:
    """The noise levels at which the network is evaluated with gradient, in many rollouts."""
    found: set[float] = set()

    def velocity(x_BTC: Tensor, time_B: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            found.update(time_B.tolist())
        return x_BTC

    rng = torch.Generator().manual_seed(1)
    for sampler in settings.draw(True, rng):
        sampler.sample(velocity, lambda number: torch.zeros(SHAPE, dtype=torch.float64))
    return found


def played_levels(sampler: PingPong) -> set[float]:
    """The noise levels from which x̂_0 is estimated in playing."""
    found: set[float] = set()

    def velocity(x_BTC: Tensor, time_B: Tensor) -> Tensor:
        found.update(time_B.tolist())
        return x_BTC

    sampler.sample(velocity, lambda number: torch.zeros(SHAPE, dtype=torch.float64))
    return found


def test_levels_that_are_trained_are_those_that_are_played() -> None:
    """What carries gradient is what 8, 4 and 2 steps estimate x̂_0 from, spread or as exits of the same schedule."""
    trained = levels_with_gradient(Rollout(200, schedule_steps=8))
    assert trained == set(Rollout(schedule_steps=8).trained_times().tolist())
    for sampler in (PingPong, lambda steps: PingPong(steps, schedule=EarlyExits(8))):
        played = [played_levels(sampler(steps)) for steps in (8, 4, 2)]
        assert sorted(set.union(*played)) == pytest.approx(sorted(trained))
        assert not any(Rollout(schedule_steps=8).untrained(sampler(s).schedule.times(s)) for s in (8, 4, 2, 1))


def test_untrained_levels_are_named() -> None:
    """With six steps and the last one left out, as in the paper's code, eight steps end where nothing was trained."""
    paper = Rollout(schedule_steps=6, fewest_steps=1, most_steps=5)
    assert levels_with_gradient(Rollout(200, 6, 1, 5)) == set(paper.trained_times().tolist())
    assert paper.untrained(PingPong().schedule.times(8))[-2:] == pytest.approx([0.5, 0.268941], abs=1e-6)
    assert paper.untrained(PingPong().schedule.times(2)) == []


def test_a_seam_shows_and_its_absence_too() -> None:
    walk_BTC = torch.randn(3, 600, 8).cumsum(dim=1)
    assert boundary_jump(walk_BTC, 6).tolist() == pytest.approx([1, 1, 1], abs=0.1)
    torn_BTC = walk_BTC + 5 * torch.randn(3, 100, 8).repeat_interleave(6, dim=1)
    assert (boundary_jump(torn_BTC, 6) > 4).all()
    assert boundary_jump(torch.tensor([[[0.0], [1.0], [4.0], [5.0]]]), 2).tolist() == pytest.approx([3.0])
