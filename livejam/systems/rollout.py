"""Rollouts: blocks generated in a row, as they are live, through which a loss can reach the network.

Every block stops at a random one of the sampler's steps, and only its last evaluation of the network carries gradient
(LMDM section 3.3, after Self-Forcing). What a block is generated from, the context and all caches, is a constant: no
gradient runs from block to block, and memory grows by one evaluation's activations per block.

Shapes: B batch, T latent frames, C latent channels, K steps of the schedule.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from livejam.accompanist import Accompanist
from livejam.errors import UserError
from livejam.sampling import LogSNRSchedule, Noise, Sampler, Schedule, Velocity, clean_estimate, ping_pong

State = TypeVar("State")


def draw_rollout_steps(blocks: int, fewest: int, schedule_steps: int, rng: torch.Generator) -> tuple[int, ...]:
    """Sampling steps of every block of a rollout, independent and uniform in `fewest` … `schedule_steps` - 1.

    All ranks must draw from equal generators: a rank with more steps would keep the others waiting.

    Args:
        blocks: of the rollout.
        fewest: steps of a block, 1 or more.
        schedule_steps: of the whole schedule, K_max.
        rng: where the randomness comes from.

    Raises:
        UserError: no number lies in that range.
    """
    if blocks < 1:
        raise UserError(f"rollout_blocks is {blocks}, but a rollout has 1 or more; the paper's is 12")
    if schedule_steps < 2:
        raise UserError(f"schedule_steps is {schedule_steps}, but a rollout stops early; set 2 or more (paper: 6)")
    if not 1 <= fewest < schedule_steps:
        raise UserError(f"fewest_steps is {fewest}, but must lie in 1 … {schedule_steps - 1}, below schedule_steps")
    return tuple(torch.randint(fewest, schedule_steps, (blocks,), generator=rng, device=rng.device).tolist())


class RolloutSampler(Sampler):
    """Ping-pong sampling that stops after some of its steps, with gradient through its last evaluation alone.

    An accompanist generates with it just as it does live. The estimate at the
    last step is the block, as if the schedule went to 0 from there. `made_BTC` is that block with its gradient;
    whatever the accompanist does with the block is none of the loss's business.

    Args:
        schedule_steps: steps of the whole schedule, K_max.
        schedule: the noise levels.
        checkpointing: whether the backward pass computes the activations of the last evaluation anew, which trades time
            for memory.
    """

    def __init__(self, schedule_steps: int = 6, schedule: Schedule | None = None, checkpointing: bool = False) -> None:
        self.times_K1 = (LogSNRSchedule() if schedule is None else schedule).times(schedule_steps)
        self.checkpointing = checkpointing
        self.steps = schedule_steps
        self.differentiable = False
        self.made_BTC: Tensor | None = None

    @property
    def needs_unconditional(self) -> bool:
        """ARC-Forcing needs no guidance."""
        return False

    def sample(self, velocity: Velocity, noise: Noise) -> Tensor:
        """The block, as a constant."""
        times_K1 = torch.cat((self.times_K1[: self.steps], self.times_K1.new_zeros(1)))
        return ping_pong(self._stopping(velocity), times_K1, noise)

    def _stopping(self, velocity: Velocity) -> Velocity:
        """The velocity, without gradient but for its last call."""
        calls = itertools.count(1)

        def stopping(x_BTC: Tensor, time_B: Tensor) -> Tensor:
            if next(calls) < self.steps:
                with torch.no_grad():
                    return velocity(x_BTC, time_B)
            with torch.set_grad_enabled(self.differentiable):
                last_BTC = self._evaluated(velocity, x_BTC.detach(), time_B)
                self.made_BTC = clean_estimate(x_BTC.detach(), time_B, last_BTC)
            return last_BTC.detach()

        return stopping

    def _evaluated(self, velocity: Velocity, x_BTC: Tensor, time_B: Tensor) -> Tensor:
        if not (self.checkpointing and self.differentiable):
            return velocity(x_BTC, time_B)
        # A velocity may slide its cache in its first call; when it is computed anew, it must be found as it was.
        untouched, calls = copy.copy(velocity), iter([velocity])

        def repeatable(x_BTC: Tensor, time_B: Tensor) -> Tensor:
            return next(calls, copy.copy(untouched))(x_BTC, time_B)

        made_BTC: Tensor = checkpoint(repeatable, x_BTC, time_B, use_reentrant=False)
        return made_BTC


def rollout(
    accompanist: Accompanist[State],
    sampler: RolloutSampler,
    state: State,
    mix_BTC: Tensor,
    steps: tuple[int, ...],
    differentiable: bool,
) -> Tensor:
    """The blocks that an accompanist plays in a row, with gradient to its network where that is asked for.

    Args:
        accompanist: generates with `sampler`.
        sampler: the one that the accompanist was given.
        state: where the rollout starts, primed with its context.
        mix_BTC: what the accompanist hears from then on (codec latents), a block per step.
        steps: sampling steps per block.
        differentiable: whether the last evaluation of each block carries gradient.

    Returns:
        rollout_BTC, as many blocks as `steps`, as the network made them (normalised).
    """
    sampler.differentiable, blocks = differentiable, []
    for count, mix_block_BTC in zip(steps, mix_BTC.split(accompanist.block_frames, dim=1), strict=True):
        sampler.steps = count
        # Outside of the last evaluation nothing has a graph: not the encoding of the context, not what is cached.
        with torch.no_grad():
            _, state = accompanist.step(mix_block_BTC, state)
        state = detached(state)
        assert sampler.made_BTC is not None, "the accompanist generates with another sampler"
        blocks.append(sampler.made_BTC[:, -accompanist.block_frames :])
        sampler.made_BTC = None
    return torch.cat(blocks, dim=1)


def boundary_jump(latents_BTC: Tensor, block_frames: int) -> Tensor:
    """How far latents jump where blocks are joined, relative to how they move within blocks, per sample; 1 = no seam.

    Args:
        latents_BTC: T a multiple of `block_frames`, two blocks or more.
        block_frames: frames of a block, two or more.
    """
    moves_BT = latents_BTC.diff(dim=1).square().mean(dim=2).sqrt()
    joins = torch.arange(1, latents_BTC.shape[1], device=latents_BTC.device) % block_frames == 0
    return moves_BT[:, joins].mean(1) / (moves_BT[:, ~joins].mean(1) + 1e-9)


def detached(state: Any) -> Any:
    """A state with all its tensors as constants: nested dataclasses, tuples, lists and dictionaries."""
    if isinstance(state, Tensor):
        return state.detach()
    if dataclasses.is_dataclass(state) and not isinstance(state, type):
        values = {field.name: detached(getattr(state, field.name)) for field in dataclasses.fields(state)}
        return dataclasses.replace(state, **values)
    if isinstance(state, (tuple, list)):
        parts = [detached(part) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
    if isinstance(state, dict):
        return {name: detached(part) for name, part in state.items()}
    return state
