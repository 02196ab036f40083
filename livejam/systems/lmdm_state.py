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


def heard(state: LMDMState, mix_BTC: Tensor) -> LMDMState:
    """The state after more of the mix."""
    frames = mix_BTC.shape[1]
    return replace(state, mix_BTC=_appended(state.mix_BTC, mix_BTC), position_B=state.position_B + frames)


def played(state: LMDMState, block_BTC: Tensor) -> LMDMState:
    """The state after more of the accompaniment."""
    played_BTC = _appended(state.played_BTC, block_BTC)
    return replace(state, played_BTC=played_BTC, played_B=state.played_B + block_BTC.shape[1])


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


def prompts_put(rows: Tensor, old: Prompt | None, new: Prompt | None, like: Prompt | None) -> Prompt | None:
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
