"""What a Live Music Diffusion Model remembers from block to block.

Shapes: B batch, T latent frames, C latent channels, P numbers of a frame of a sketch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from livejam.accompanist import Controls
from livejam.batch import CATEGORIES, NULL_CATEGORY
from livejam.errors import UserError
from livejam.networks.conditioned_transformer import TAKES_NO_PROMPTS, ConditionedTransformer
from livejam.networks.conditioning import Prompt, read_words
from livejam.networks.diffusion_conditions import DiffusionConditions, Unconditional, beside
from livejam.networks.diffusion_transformer import DiffusionTransformer
from livejam.sketch import excerpt, unpacked
from livejam.systems.blocks import DiffusionCache


@dataclass(frozen=True)
class LMDMState:
    """The state of a stream; latents are normalised.

    Args:
        mix_BTC: the last mix frames, as many as the model sees; 0 where nothing was heard yet.
        position_B: mix frames heard since the stream began.
        played_BTC: the last frames that were played, as many as the context has; 0 where nothing was played.
        played_B: frames played since the stream began.
        seed_B: seed of each row's noise.
        prompt: the prompts; None if the model takes no prompts.
        cache: keys and values of the context and of the prompt; None = they are computed in the next step.
        sketch_BTP: packed curves of the window that ends with the next block, which alone follows them; None = none.
        negative: the prompts that guidance leads away from, in place of none; None = nobody has one.
    """

    mix_BTC: Tensor
    position_B: Tensor
    played_BTC: Tensor
    played_B: Tensor
    seed_B: Tensor
    prompt: Prompt | None
    cache: DiffusionCache | None
    sketch_BTP: Tensor | None = None
    negative: Prompt | None = None


def begun(generator: ConditionedTransformer, batch_size: int, controls: Controls, mix_frames: int) -> LMDMState:
    """The state before the first frame, with nothing encoded.

    Args:
        generator: network and encoders.
        batch_size: how many musicians there are.
        controls: what they are asked for.
        mix_frames: frames of the mix that the model sees.

    Raises:
        UserError: there is a prompt, but the model takes none.
    """
    network = generator.transformer
    empty = network.project_noisy.weight.new_zeros
    frames_B = torch.zeros(batch_size, dtype=torch.int64, device=network.project_noisy.weight.device)
    return LMDMState(
        mix_BTC=empty(batch_size, mix_frames, network.mix_channels),
        position_B=frames_B,
        played_BTC=empty(batch_size, network.context_frames, network.latent_channels),
        played_B=frames_B,
        seed_B=controls.seed_B.to(frames_B.device),
        prompt=prompt_of(generator, controls),
        cache=None,
        negative=negative_of(generator, controls),
    )


def heard(state: LMDMState, mix_BTC: Tensor) -> LMDMState:
    """The state after more of the mix."""
    frames = mix_BTC.shape[1]
    return replace(state, mix_BTC=_appended(state.mix_BTC, mix_BTC), position_B=state.position_B + frames)


def played(state: LMDMState, block_BTC: Tensor) -> LMDMState:
    """The state after more of the accompaniment."""
    played_BTC = _appended(state.played_BTC, block_BTC)
    return replace(state, played_BTC=played_BTC, played_B=state.played_B + block_BTC.shape[1])


def remembering(frames_B: Sequence[int], state: LMDMState) -> LMDMState:
    """The state in which each musician remembers so many of its last frames at most."""
    played_B = torch.minimum(state.played_B, torch.tensor(frames_B).to(state.played_B))
    return replace(state, played_B=played_B, cache=None)


def _appended(memory_BTC: Tensor, new_BTC: Tensor) -> Tensor:
    """The last frames of both, in the length of the memory."""
    joined_BTC = torch.cat((memory_BTC, new_BTC.to(memory_BTC)), dim=1)
    return joined_BTC[:, new_BTC.shape[1] :]


def filled(count_B: Tensor, frames: int) -> Tensor:
    """Which of the last `frames` frames exist, after `count_B` frames in all (bool)."""
    return torch.arange(frames, device=count_B.device) >= frames - count_B[:, None]


def known_mix(state: LMDMState, window_frames: int) -> tuple[Tensor, Tensor]:
    """Mix latents and mask of the window."""
    batch, frames, channels = state.mix_BTC.shape
    mask_BT = filled(state.position_B, frames).to(state.mix_BTC)
    missing = window_frames - frames
    later_BTC = state.mix_BTC.new_zeros(batch, missing, channels)
    mix_BTC = torch.cat((state.mix_BTC, later_BTC), dim=1)
    return mix_BTC, torch.cat((mask_BT, later_BTC[..., 0]), dim=1)


def known_past(state: LMDMState, sides: Sequence[frozenset[str]]) -> Tensor:
    """Frames of the context that were played (bool), in rows for every side of guidance.

    Args:
        state: what was played.
        sides: what the sides besides the conditional one lack.
    """
    known_BT = filled(state.played_B, state.played_BTC.shape[1])
    # made of tensors that are on the device already, so that nobody waits for a transfer
    others = [torch.zeros_like(known_BT) if "past" in side else known_BT for side in sides]
    return torch.cat((known_BT, *others))


def following(curves_BTP: Tensor, first_frame: int, network: DiffusionTransformer, state: LMDMState) -> LMDMState:
    """The state whose next block follows packed curves.

    Args:
        curves_BTP: the curves.
        first_frame: the row of the block's first frame.
        network: says how long the window is.
        state: the state before that.
    """
    window_BTP = excerpt(curves_BTP, first_frame - network.context_frames, network.window_frames)
    return replace(state, sketch_BTP=window_BTP.to(state.played_BTC).expand(len(state.seed_B), -1, -1))


def sides_of(
    asked: DiffusionConditions, sides: Sequence[frozenset[str]], negative: DiffusionConditions | None
) -> DiffusionConditions:
    """What is asked for, in rows for every side of guidance.

    Args:
        asked: by the conditional side.
        sides: what the others lack.
        negative: the prompt of those that lack the prompt; None = they have none.
    """
    if not sides:
        return asked
    others = []
    for side in sides:
        other = Unconditional.lacking(side).of(asked)
        if negative is not None and "prompt" in side:
            other = replace(other, prompt_BPD=negative.prompt_BPD, prompt_mask_BP=negative.prompt_mask_BP)
        others.append(other)
    return beside(asked, others)


def conditions_of(
    generator: ConditionedTransformer, state: LMDMState, seconds: float, sides: Sequence[frozenset[str]]
) -> DiffusionConditions:
    """Mix, prompt, duration and sketch of the window, in rows for every side of guidance.

    Args:
        generator: network and encoders.
        state: what is known and asked for.
        seconds: of the window.
        sides: what the sides besides the conditional one lack.
    """
    sketch = None
    if state.sketch_BTP is not None:
        curves = unpacked(state.sketch_BTP)
        sketch = curves.values_BTK, curves.mask_BTG
    mix = known_mix(state, generator.transformer.window_frames)
    asked = generator.conditions(state.prompt, seconds, mix=mix, sketch=sketch)
    negative = None if state.negative is None else generator.conditions(state.negative, seconds)
    return sides_of(asked, sides, negative)


def prompt_of(generator: ConditionedTransformer, controls: Controls) -> Prompt | None:
    """The prompt if there is one, else the instrument's name, else nothing.

    Raises:
        UserError: there is a prompt, but the model takes none.
    """
    if controls.prompt is not None:
        return generator.mixed_prompt([read_words(text) for text in controls.prompt])
    unasked_B = controls.instrument_B == NULL_CATEGORY
    prompt = generator.prompt([CATEGORIES[i] for i in controls.instrument_B.masked_fill(unasked_B, 0).tolist()])
    return None if prompt is None else prompt.without(unasked_B.to(prompt.mask_BP.device))


def negative_of(generator: ConditionedTransformer, controls: Controls) -> Prompt | None:
    """The prompts to lead away from; None if nobody has one.

    Raises:
        UserError: there is one, but the model takes none.
    """
    texts = controls.negative_prompt or ()
    if not any(texts):
        return None
    if generator.prompt_encoder is None:
        raise UserError(TAKES_NO_PROMPTS)
    some = next(text for text in texts if text)
    prompt = generator.mixed_prompt([read_words(text or some) for text in texts])
    return prompt.without(torch.tensor([not text for text in texts], device=prompt.mask_BP.device))


def rows_put(rows: Tensor, old: LMDMState, new: LMDMState) -> LMDMState:
    """The state of which some rows are others; the cache is the old one.

    Args:
        rows: their indices (int64).
        old: the state of all rows.
        new: the state of these rows.
    """
    names = ("mix_BTC", "position_B", "played_BTC", "played_B", "seed_B")
    pairs = {name: (getattr(old, name), getattr(new, name)) for name in names}
    parts = {name: before.index_copy(0, rows, after.to(before)) for name, (before, after) in pairs.items()}
    prompt = _prompts_put(rows, old.prompt, new.prompt, old.prompt)
    negative = _prompts_put(rows, old.negative, new.negative, old.prompt)
    return replace(old, **parts, prompt=prompt, negative=negative)


def _prompts_put(rows: Tensor, old: Prompt | None, new: Prompt | None, like: Prompt | None) -> Prompt | None:
    """Prompts of which some rows are others.

    Args:
        rows: their indices (int64).
        old: the prompts; None = nobody has one.
        new: those of these rows; None = none of them has one.
        like: prompts of all rows, for their shapes.
    """
    if like is None or (old is None and new is None):
        return old
    nothing = like.without(torch.ones_like(like.mask_BP[:, 0]))
    old = nothing if old is None else old
    new = Prompt(nothing.embedding_BPD[rows], nothing.mask_BP[rows]) if new is None else new
    embedding_BPD = old.embedding_BPD.index_copy(0, rows, new.embedding_BPD.to(old.embedding_BPD))
    return Prompt(embedding_BPD, old.mask_BP.index_copy(0, rows, new.mask_BP))
