"""Rollouts: blocks generated in a row, as in live playing, through which a loss can reach the network.

Every block stops at a random one of the sampler's steps, and only its last evaluation of the network carries gradient
(LMDM section 3.3, after Self-Forcing). The input of a block, the context and all caches, is a constant: no
gradient flows from block to block, and memory grows by the activations of one evaluation per block.

Shapes: B batch, T latent frames, C latent channels, K steps of the schedule.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from livejam.errors import UserError
from livejam.sampling import EarlyExits, LogSNRSchedule, Noise, Sampler, Schedule, Velocity, ping_pong

State = TypeVar("State")


@dataclass(frozen=True)
class RolloutSampler(Sampler):
    """Ping-pong sampling that stops after some of its steps, with gradient through its last evaluation only.

    The estimate at the last step is the block, as if the schedule went to 0 from there.

    Args:
        steps: steps taken, 1 … `schedule_steps`.
        schedule_steps: steps of the whole schedule, K_max.
        differentiable: whether the last evaluation carries gradient.
        checkpointing: whether the backward pass computes the activations of the last evaluation again, which trades
            time for memory.
        schedule: the noise levels.
    """

    steps: int
    schedule_steps: int = 6
    differentiable: bool = True
    checkpointing: bool = False
    schedule: Schedule = field(default_factory=LogSNRSchedule)

    @property
    def needs_unconditional(self) -> bool:
        """ARC-Forcing needs no guidance."""
        return False

    def sample(self, velocity: Velocity, noise: Noise) -> Tensor:
        """The block."""
        times_K1 = EarlyExits(self.schedule_steps, self.schedule).times(self.steps)
        with torch.set_grad_enabled(self.differentiable):
            return ping_pong(self._constant_but_last(velocity), times_K1, noise)

    def _constant_but_last(self, velocity: Velocity) -> Velocity:
        """The velocity, without gradient except in its last call."""
        calls = itertools.count(1)

        def stopping(x_BTC: Tensor, time_B: Tensor) -> Tensor:
            if next(calls) < self.steps:
                with torch.no_grad():
                    return velocity(x_BTC, time_B)
            return self._last(velocity, x_BTC, time_B)

        return stopping

    def _last(self, velocity: Velocity, x_BTC: Tensor, time_B: Tensor) -> Tensor:
        if not (self.checkpointing and self.differentiable):
            return velocity(x_BTC, time_B)
        # A velocity may slide its cache in its first call; when it is computed again, it must be as it was.
        untouched, calls = copy.copy(velocity), iter([velocity])

        def repeatable(x_BTC: Tensor, time_B: Tensor) -> Tensor:
            return next(calls, copy.copy(untouched))(x_BTC, time_B)

        made_BTC: Tensor = checkpoint(repeatable, x_BTC, time_B, use_reentrant=False)
        return made_BTC


@dataclass(frozen=True)
class Rollout:
    """The length of a rollout, and the steps of its blocks (LMDM section 3.3).

    A block of k steps trains the k-th level of the schedule. The paper has k ~ U[2, K_max], its code
    k = 1 … K_max - 1 (`randint(1, 6)`): probably the same five values, counted from 2 and from 1. Neither trains the
    last level, from which a model plays that takes all steps; here the last one is trained by default.

    Args:
        blocks: blocks of a rollout (B), 1 or more.
        schedule_steps: steps of the whole schedule (K_max), 1 or more. All levels of K_max / 2, K_max / 4, … steps are
            among its levels, so that one training serves them all.
        fewest_steps: each block takes `fewest_steps` … `most_steps` of them.
        most_steps: the most; None = `schedule_steps`.
        checkpointing: whether to compute the activations of rollouts again in the backward pass: less memory, more
            time.

    Raises:
        UserError: a number is out of its range.
    """

    blocks: int = 12
    schedule_steps: int = 6
    fewest_steps: int = 1
    most_steps: int | None = None
    checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.blocks < 1:
            raise UserError(f"rollout.blocks is {self.blocks}, but a rollout has 1 or more; the paper's is 12")
        if self.schedule_steps < 1:
            raise UserError(f"rollout.schedule_steps is {self.schedule_steps}; set 1 or more (paper: 6)")
        if not 1 <= self._most <= self.schedule_steps:
            raise UserError(f"rollout.most_steps is {self.most_steps}, but must lie in 1 … {self.schedule_steps}")
        if not 1 <= self.fewest_steps <= self._most:
            raise UserError(f"rollout.fewest_steps is {self.fewest_steps}, but must lie in 1 … {self._most}")

    @property
    def _most(self) -> int:
        return self.schedule_steps if self.most_steps is None else self.most_steps

    def trained_times(self) -> Tensor:
        """The noise levels that carry gradient, falling (float64)."""
        return LogSNRSchedule().times(self.schedule_steps)[self.fewest_steps - 1 : self._most]

    def untrained(self, times_K1: Tensor) -> list[float]:
        """The levels of a sampler's schedule (t_0 = 1 … t_K = 0) from which it asks for x̂_0, but none that is trained.

        Its answer there would be what fine-tuning has left, judged by nobody.
        """
        trained = self.trained_times()
        return [time for time in times_K1[:-1].tolist() if (trained - time).abs().min() > 1e-9]

    def draw(self, differentiable: bool, rng: torch.Generator) -> list[RolloutSampler]:
        """A sampler per block, whose steps are independent and uniform in `fewest_steps` … `most_steps`.

        All ranks must draw from equal generators, because the others would have to wait for a rank with more steps.

        Args:
            differentiable: whether the last evaluation of each block carries gradient.
            rng: the source of randomness.
        """
        steps = torch.randint(self.fewest_steps, self._most + 1, (self.blocks,), generator=rng, device=rng.device)
        parts = self.schedule_steps, differentiable, self.checkpointing
        return [RolloutSampler(count, *parts) for count in steps.tolist()]


class BlockGenerator(Protocol, Generic[State]):
    """An accompanist that generates blocks from explicit state, as `LMDMAccompanist` does."""

    @property
    def block_frames(self) -> int: ...

    def with_sampler(self, sampler: Sampler) -> BlockGenerator[State]: ...

    def generate_block(self, mix_BTC: Tensor, state: State) -> tuple[Tensor, State]: ...


def rollout(player: BlockGenerator[State], state: State, mix_BTC: Tensor, samplers: Sequence[RolloutSampler]) -> Tensor:
    """The blocks that a model plays in a row, exactly as in live playing.

    Args:
        player: the accompanist that generates the blocks.
        state: the state at the start, primed with the context; a constant.
        mix_BTC: what the player hears from then on (codec latents), a block per sampler.
        samplers: one per block.

    Returns:
        rollout_BTC, as many blocks as `samplers`, as the network made them (normalised).
    """
    blocks = []
    for mix_block_BTC, sampler in zip(mix_BTC.split(player.block_frames, dim=1), samplers, strict=True):
        block_BTC, state = player.with_sampler(sampler).generate_block(mix_block_BTC, state)
        blocks.append(block_BTC)
    return torch.cat(blocks, dim=1)


def boundary_jump(latents_BTC: Tensor, block_frames: int) -> Tensor:
    """The jump of latents between blocks, relative to their movement within blocks, per sample; 1 = no seam.

    Args:
        latents_BTC: T a multiple of `block_frames`, two blocks or more.
        block_frames: frames of a block, two or more.
    """
    moves_BT = latents_BTC.diff(dim=1).square().mean(dim=2).sqrt()
    joins_BM = moves_BT[:, block_frames - 1 :: block_frames]
    within_BT = F.pad(moves_BT, (0, 1)).unflatten(1, (-1, block_frames))[..., :-1].flatten(1)
    return joins_BM.mean(1) / (within_BT.mean(1) + 1e-9)
