"""The cached passes of a diffusion transformer: context once, then only the block that is being denoised.

Every query sees a range of the cached and new keys without holes, so no pass needs a mask, and none computes what
one would hide.

Shapes: B batch, T frames, K keys, C latent channels, D width, H heads, E channels per head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from livejam.errors import UserError
from livejam.networks.diffusion_cache import DiffusionCache, PromptKeys, detached, joined, with_room
from livejam.networks.diffusion_checks import check_block, check_context
from livejam.networks.diffusion_conditions import DiffusionConditions
from livejam.networks.diffusion_masks import BlockCausal, EncoderDecoder
from livejam.networks.rotary import rotate

if TYPE_CHECKING:
    from livejam.networks.diffusion_transformer import DiffusionTransformer


def prefill(
    network: DiffusionTransformer, conditions: DiffusionConditions, prompt: PromptKeys | None
) -> DiffusionCache:
    """One pass over the context; the last block needs keys and values only."""
    if not isinstance(network.mask, EncoderDecoder):
        raise UserError(f"prefill needs the mask EncoderDecoder; {type(network.mask).__name__} has no separate encoder")
    check_context(network, conditions)
    context, room = network.context_frames, network.window_frames + 1
    hidden = network.embed_context(conditions.frames(0, context))
    table = network.table(0, context, token=False)
    keys, values = [], []
    for index, block in enumerate(network.layers):
        q, k, v = block.project(hidden, table)
        keys.append(with_room(k.transpose(1, 2), room))
        values.append(with_room(v.transpose(1, 2), room))
        if index < len(network.layers) - 1:
            attended = F.scaled_dot_product_attention(q, k, v)
            hidden = block.rest(hidden, block.attention.merge(attended), prompt[index] if prompt else None)
    return DiffusionCache(tuple(keys), tuple(values), context, detached(prompt))


def denoise(
    network: DiffusionTransformer,
    noisy_BTC: Tensor,
    time_B: Tensor,
    conditions: DiffusionConditions,
    cache: DiffusionCache,
) -> Tensor:
    """One step of the block: its frames and the token see the cached context and each other."""
    check_block(network, noisy_BTC, cache)
    hidden = network.embed_block(noisy_BTC, time_B, conditions)
    table = network.table(network.context_frames, network.window_frames)
    unseen = cache.frames - seen_context(network)
    for index, block in enumerate(network.layers):
        q, k, v = block.project(hidden, table)
        keys = joined(cache.key[index], cache.frames, k.transpose(1, 2))[:, unseen:]
        values = joined(cache.value[index], cache.frames, v.transpose(1, 2))[:, unseen:]
        if index == len(network.layers) - 1:
            q, hidden = q[:, :, :-1], hidden[:, :-1]
        attended = F.scaled_dot_product_attention(q, keys.transpose(1, 2), values.transpose(1, 2))
        hidden = block.rest(hidden, block.attention.merge(attended), cache.prompt[index] if cache.prompt else None)
    return network.velocity(hidden)


def bootstrap(
    network: DiffusionTransformer,
    noisy_BTC: Tensor,
    time_B: Tensor,
    conditions: DiffusionConditions,
    prompt: PromptKeys | None,
) -> tuple[Tensor, DiffusionCache]:
    """Encode the whole context and take the block's first step."""
    return encode_and_denoise(network, noisy_BTC, time_B, conditions, None, prompt, 0)


def fused(
    network: DiffusionTransformer,
    noisy_BTC: Tensor,
    time_B: Tensor,
    conditions: DiffusionConditions,
    cache: DiffusionCache,
    cutoff_frames: int | None,
) -> tuple[Tensor, DiffusionCache]:
    """Encode the newest context block, and those into which newly heard mix has slid, and take the first step.

    A block is encoded for the last time where all of its mix is heard.
    """
    blocks, frames = network.context_frames // network.block_frames, network.block_frames
    cutoff = network.context_frames if cutoff_frames is None else cutoff_frames
    if not 0 <= cutoff <= network.window_frames:
        raise UserError(f"cutoff_frames is {cutoff}; it must lie in the window, 0 to {network.window_frames}")
    check_block(network, noisy_BTC, cache)
    first = min(blocks - 1, max(0, cutoff // frames - 1))
    return encode_and_denoise(network, noisy_BTC, time_B, conditions, cache, cache.prompt, first)


def encode_and_denoise(
    network: DiffusionTransformer,
    noisy_BTC: Tensor,
    time_B: Tensor,
    conditions: DiffusionConditions,
    cache: DiffusionCache | None,
    prompt: PromptKeys | None,
    first: int,
) -> tuple[Tensor, DiffusionCache]:
    """Encode the context blocks from `first` on; those before slide here from the cache, by turning their keys back."""
    mask, frames, context = network.mask, network.block_frames, network.context_frames
    if not isinstance(mask, BlockCausal):
        raise UserError(f"this pass needs the mask BlockCausal; the context under {type(mask).__name__} cannot slide")
    check_context(network, conditions)
    kept, dropped = first * frames, context - mask.cached_blocks * frames
    encoded = network.embed_context(conditions.frames(kept, context))
    hidden = torch.cat((encoded, network.embed_block(noisy_BTC, time_B, conditions)), dim=1)
    table = network.table(kept, context + frames)
    turn = network.rotary.table(torch.tensor([-frames], device=noisy_BTC.device))
    keys, values = [], []
    for index, block in enumerate(network.layers):
        q, k, v = block.project(hidden, table)
        k, v = k.transpose(1, 2), v.transpose(1, 2)
        if cache is not None and kept:
            old = slice(frames - dropped, frames - dropped + kept)
            k = torch.cat((rotate(cache.key[index][:, old, None], turn)[:, :, 0].to(k), k), dim=1)
            v = torch.cat((cache.value[index][:, old].to(v), v), dim=1)
        keys.append(with_room(k[:, dropped:], context + frames + 1 - dropped))
        values.append(with_room(v[:, dropped:], context + frames + 1 - dropped))
        if index == len(network.layers) - 1:
            hidden, q, first = hidden[:, context - kept : -1], q[:, :, context - kept : -1], mask.context_blocks
        attended = attend_blocks(q, k.transpose(1, 2), v.transpose(1, 2), mask, first)
        hidden = block.rest(hidden, block.attention.merge(attended), prompt[index] if prompt else None)
    return network.velocity(hidden), DiffusionCache(tuple(keys), tuple(values), context - dropped, detached(prompt))


def attend_blocks(q_BHTE: Tensor, k_BHKE: Tensor, v_BHKE: Tensor, mask: BlockCausal, first: int) -> Tensor:
    """Attention of the blocks from `first` on, the token among the last, to the keys of the whole window."""
    frames, out = mask.block_frames, []
    for block in range(first, mask.context_blocks + 1):
        last = block == mask.context_blocks
        start = (block - first) * frames
        queries = slice(start, None if last else start + frames)
        keys = slice(mask.seen(block) * frames, None if last else (block + 1) * frames)
        out.append(F.scaled_dot_product_attention(q_BHTE[:, :, queries], k_BHKE[:, :, keys], v_BHKE[:, :, keys]))
    return torch.cat(out, dim=2) if len(out) > 1 else out[0]


def seen_context(network: DiffusionTransformer) -> int:
    """Context frames that the block sees."""
    mask = network.mask
    if isinstance(mask, BlockCausal):
        return (mask.context_blocks - mask.seen(mask.context_blocks)) * mask.block_frames
    return network.context_frames
