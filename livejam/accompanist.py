"""The interface of every trained system when it plays: explicit state in, explicit state out.

Shapes: B batch, T latent frames, C latent channels, P numbers of a frame of a sketch, E channels of a
reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

import torch
from torch import Tensor

from livejam.errors import UserError
from livejam.spec import CodecSpec

State = TypeVar("State")

Weights: TypeAlias = float | Mapping[str, float]
"""One weight of guidance, or that of each of mix, past, prompt and sketch."""

FOLLOWS_NONE = "this model follows no sketch; train one that does, as configs/lmdm/sketch_pocket.yaml, or leave it out"

TAKES_NONE = (
    "this model takes no reference; train one that does, as configs/liveband/reference_pocket.yaml, or leave it out"
)
"""What is said of a reference to a model that has no use for one."""


@dataclass(frozen=True)
class Controls:
    """The settings of an accompanist before it plays.

    Args:
        instrument_B: class index per row, 0–17 into `livejam.batch.CATEGORIES`, 18 = null (int64).
        seed_B: seed of each row's noise (int64). Equal seeds and equal mixes give equal notes, whatever the
            other rows of the batch are.
        prompt: a description in words per row, one prompt or several with weights (`read_words`), for models that take
            prompts; None = the instrument's name.
        reference_BE: embeddings of what each row shall sound like, for models that take references
            (`livejam.reference`); a row of zeros, or None = nothing.
        negative_prompt: for models whose prompts are guided, what guidance leads away from in place of no prompt, or
            nothing (""), per row; None = nothing for all.
    """

    instrument_B: Tensor
    seed_B: Tensor
    prompt: tuple[str, ...] | None = None
    reference_BE: Tensor | None = None
    negative_prompt: tuple[str, ...] | None = None


class Accompanist(Protocol, Generic[State]):
    """A model that hears codec latents of the mix and plays codec latents of its own stem.

    At step t it has heard mix frames ≤ t and emits frame t + 1 + `anticipation_frames`; its compute budget is
    `anticipation_frames` frames. Latents are the codec's own (not normalised). The state is a dataclass of
    tensors, returned and never hidden, which makes snapshots, undo, export and differentiable rollouts simple.
    """

    @property
    def spec(self) -> CodecSpec: ...

    @property
    def block_frames(self) -> int:
        """Frames heard and emitted per step."""

    @property
    def anticipation_frames(self) -> int:
        """Frames between hearing and playing (δ)."""

    @property
    def anticipations(self) -> range:
        """All δ that it can be asked for."""

    def init_state(self, batch_size: int, controls: Controls) -> State: ...

    def step(self, mix_BTC: Tensor, state: State) -> tuple[Tensor, State]: ...

    def with_controls(self, controls: Controls, state: State) -> State:
        """The state in which it plays what these controls ask for, from the next step on; its memory stays.

        Raises:
            UserError: the model takes no prompts, or does not understand these.
        """

    def with_guidance(self, guidance: Weights) -> Accompanist[State]:
        """The same model under another weight of guidance, or other weights of some controls; its states remain valid.

        Raises:
            UserError: the model has no guidance, or a weight is out of range.
        """

    def with_anticipation(self, frames: int) -> Accompanist[State]:
        """The same model further ahead or less far; `with_controls` takes its states there.

        Raises:
            UserError: the model cannot play at this anticipation.
        """


@runtime_checkable
class FollowsSketches(Protocol[State]):
    """What an accompanist has besides, if it follows a sketch."""

    def sketched(self, curves_BTP: Tensor, first_frame: int, state: State) -> State:
        """The state whose next step follows these curves; the one after it follows none, unless it is told so again.

        Args:
            curves_BTP: packed curves (`livejam.sketch`) of the accompaniment from its beginning, for each row or one
                for all; NaN, or an end, where nothing is asked.
            first_frame: the frame of them that the next step emits first.
            state: the state before that.

        Raises:
            UserError: it was never trained to follow one, or the curves have another form.
        """


def follow(accompanist: Accompanist[State], curves_BTP: Tensor, first_frame: int, state: State) -> State:
    """`FollowsSketches.sketched` of an accompanist that follows sketches.

    Raises:
        UserError: it follows none.
    """
    if not isinstance(accompanist, FollowsSketches):
        raise UserError(FOLLOWS_NONE)
    followed: State = accompanist.sketched(curves_BTP, first_frame, state)
    return followed


def accompany(
    accompanist: Accompanist[State],
    mix_BTC: Tensor,
    controls: Controls,
    silence_C: Tensor,
    curves_BTP: Tensor | None = None,
) -> Tensor:
    """Play along with a whole mix, step by step, exactly as a server would.

    Args:
        accompanist: the model that plays.
        mix_BTC: mix latents, T a multiple of `block_frames`.
        controls: instrument and seed per row.
        silence_C: the codec's latent of silence, played until the first emitted frame is due.
        curves_BTP: packed curves that it follows, aligned with the mix; None = no sketch.

    Returns:
        accompaniment_BTC, aligned with the mix: frame t is what sounds while mix frame t sounds. The first
        1 + δ frames are silence, the frames that the last steps emit beyond the end of the mix are dropped.

    Raises:
        UserError: there are curves, but the accompanist follows none.
        ValueError: T is no multiple of the accompanist's block.
    """
    block, offset = accompanist.block_frames, 1 + accompanist.anticipation_frames
    batch, frames, _ = mix_BTC.shape
    if frames % block:
        raise ValueError(f"{frames} mix frames are no multiple of the accompanist's block of {block}")
    state = accompanist.init_state(batch, controls)
    played = [silence_C.expand(batch, offset, -1).to(mix_BTC)]
    for start in range(0, frames, block):
        if curves_BTP is not None:
            state = follow(accompanist, curves_BTP, start + offset, state)
        accompaniment_BTC, state = accompanist.step(mix_BTC[:, start : start + block], state)
        played.append(accompaniment_BTC)
    return torch.cat(played, dim=1)[:, :frames]
