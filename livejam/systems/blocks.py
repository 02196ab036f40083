"""The generation of a Live Music Diffusion Model's next block (LMDM, section 3).

`EncoderDecoderCache` encodes the context once per block; `BlockCausalCache` encodes every block once, and slides.
Without a cache, every denoising step computes the whole window (`livejam.systems.context`). Each is a velocity that a
sampler calls, and afterwards has the cache for the next block. In the cached passes every query sees a range of the
cached and new keys without holes, so no pass needs a mask, and none computes what one would hide.

Shapes: B batch, T frames, K cached frames and room for the pass in progress, C latent channels, D width, H heads,
E channels per head, P prompt tokens.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from livejam.errors import UserError
from livejam.networks.diffusion_conditions import DiffusionConditions
from livejam.networks.diffusion_layers import PromptKeys, rotate
from livejam.networks.diffusion_masks import BlockCausal, EncoderDecoder
from livejam.networks.diffusion_transformer import DiffusionTransformer


@dataclass(frozen=True)
class DiffusionCache:
    """Keys and values of the context, of constant size, and of the prompt.

    The first `frames` rows of a buffer are the cache. A pass without gradient writes its own keys into the rows after
    them, so that nothing is concatenated. So two passes must not share a cache at the same time, but may one after the
    other. Nothing in a cache carries a gradient: to train the maps of the prompt through a cached pass, give it
    `cache.with_prompt(network.prompt_keys(conditions))`.

    Args:
        key: per block, key_BKHE, oldest frame first, rotated to its position in the window.
        value: per block, value_BKHE.
        frames: number of cached frames.
        prompt: keys and values of the prompt; None without one.
        sides: what the rows of each other side of guidance lack; None = not known.
    """

    key: tuple[Tensor, ...]
    value: tuple[Tensor, ...]
    frames: int
    prompt: PromptKeys | None
    sides: tuple[frozenset[str], ...] | None = None

    @property
    def batch_size(self) -> int:
        """Rows of the network: under guidance, those of every side."""
        return len(self.key[0])

    def with_prompt(self, prompt: PromptKeys | None) -> DiffusionCache:
        """The same context under another prompt, as in a cross-fade; a bootstrap also encodes the context again."""
        return dataclasses.replace(self, prompt=prompt)

    def put(self, rows: Tensor, other: DiffusionCache) -> DiffusionCache:
        """A cache whose rows `rows` are those of another cache, with which one of several musicians starts again."""

        def changed(old: Tensor, new: Tensor) -> Tensor:
            return old.index_copy(0, rows, new)

        prompt = None
        if self.prompt is not None and other.prompt is not None:
            pairs = zip(self.prompt, other.prompt, strict=True)
            prompt = tuple((changed(k, new_k), changed(v, new_v)) for (k, v), (new_k, new_v) in pairs)
        key = tuple(map(changed, self.key, other.key))
        value = tuple(map(changed, self.value, other.value))
        return DiffusionCache(key, value, self.frames, prompt, self.sides)


class BlockVelocity(ABC):
    """(latents with noise_BTC, time_B) → velocity_BTC, for the denoising steps of one block.

    Args:
        network: the model.
        conditions: conditions of the whole window.
        frames: number of frames at the end of the window that are denoised.
        cache: the cache of the previous block; None = the context is not encoded yet.
    """

    def __init__(
        self, network: DiffusionTransformer, conditions: DiffusionConditions, frames: int, cache: DiffusionCache | None
    ) -> None:
        self.network, self.conditions, self.frames, self.cache = network, conditions, frames, cache

    @abstractmethod
    def __call__(self, noisy_BTC: Tensor, time_B: Tensor) -> Tensor:
        """One denoising step."""


class EncoderDecoderCache(BlockVelocity):
    """One pass over the context; then every step computes only the block.

    Args:
        network: the model, under the mask `EncoderDecoder`.
        conditions: conditions of the whole window, with its context.
        cache: the cache of the previous block, of which only the prompt is reused, because all of the context has
            moved.
    """

    def __init__(
        self, network: DiffusionTransformer, conditions: DiffusionConditions, cache: DiffusionCache | None = None
    ) -> None:
        prompt = None if cache is None else cache.prompt
        super().__init__(network, conditions, network.block_frames, prefill(network, conditions, prompt))

    def __call__(self, noisy_BTC: Tensor, time_B: Tensor) -> Tensor:
        assert self.cache is not None
        return denoise(self.network, noisy_BTC, time_B, self.conditions, self.cache)


class BlockCausalCache(BlockVelocity):
    """The first step also encodes the block just finished; the other steps compute only the block.

    Args:
        network: the model, under the mask `BlockCausal`.
        conditions: conditions of the whole window, with its context.
        cutoff_frames: frames of the window in which the mix is known.
        cache: the cache of the previous block; None = encode the whole context.
    """

    def __init__(
        self,
        network: DiffusionTransformer,
        conditions: DiffusionConditions,
        cutoff_frames: int,
        cache: DiffusionCache | None = None,
    ) -> None:
        super().__init__(network, conditions, network.block_frames, cache)
        self.cutoff_frames = cutoff_frames
        self._slid = False

    def __call__(self, noisy_BTC: Tensor, time_B: Tensor) -> Tensor:
        network, conditions = self.network, self.conditions
        if self.cache is None:
            velocity_BTC, self.cache = bootstrap(network, noisy_BTC, time_B, conditions)
        elif not self._slid:
            velocity_BTC, self.cache = fused(network, noisy_BTC, time_B, conditions, self.cache, self.cutoff_frames)
        else:
            velocity_BTC = denoise(network, noisy_BTC, time_B, conditions, self.cache)
        self._slid = True
        return velocity_BTC


def prefill(
    network: DiffusionTransformer, conditions: DiffusionConditions, prompt: PromptKeys | None = None
) -> DiffusionCache:
    """Encode the context once per block (Encoder-Decoder); the last layer needs keys and values only.

    Args:
        network: the model.
        conditions: conditions of the whole window.
        prompt: an earlier result of `prompt_keys` for the same prompt; None computes it.

    Raises:
        UserError: the mask is another one, or the conditions have no whole context.
    """
    if not isinstance(network.mask, EncoderDecoder):
        raise UserError(f"prefill needs the mask EncoderDecoder; {type(network.mask).__name__} has no separate encoder")
    _require_context(network, conditions)
    prompt = network.prompt_keys(conditions) if prompt is None else prompt
    context, room = network.context_frames, network.window_frames + 1
    hidden = network.embed_context(conditions.frames(0, context))
    table = network.table(0, context, token=False)
    keys, values = [], []
    for index, block in enumerate(network.layers):
        q, k, v = block.project(hidden, table)
        keys.append(_with_room(k.transpose(1, 2), room))
        values.append(_with_room(v.transpose(1, 2), room))
        if index < len(network.layers) - 1:
            attended = F.scaled_dot_product_attention(q, k, v)
            hidden = block.rest(hidden, block.attention.merge(attended), prompt[index] if prompt else None)
    return DiffusionCache(tuple(keys), tuple(values), context, _constant(prompt))


def denoise(
    network: DiffusionTransformer,
    noisy_BTC: Tensor,
    time_B: Tensor,
    conditions: DiffusionConditions,
    cache: DiffusionCache,
) -> Tensor:
    """The block's velocity_BTC: its frames and the token see the cached context and each other.

    Args:
        network: the model.
        noisy_BTC: the block with noise.
        time_B: noise level per row.
        conditions: conditions of the whole window.
        cache: the cache of this window, from `prefill`, `bootstrap` or `fused`.

    Raises:
        UserError: block or cache have another size than the network's.
    """
    _require_block(network, noisy_BTC, cache)
    hidden = network.embed_block(noisy_BTC, time_B, conditions)
    table = network.table(network.context_frames, network.window_frames)
    unseen = cache.frames - _seen_context(network)
    for index, block in enumerate(network.layers):
        q, k, v = block.project(hidden, table)
        keys = _joined(cache.key[index], cache.frames, k.transpose(1, 2))[:, unseen:]
        values = _joined(cache.value[index], cache.frames, v.transpose(1, 2))[:, unseen:]
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
    prompt: PromptKeys | None = None,
) -> tuple[Tensor, DiffusionCache]:
    """Encode the whole context and take the block's first denoising step (Block-Causal).

    This happens at the start, and when a prompt changes so much that the context must be encoded again. It equals the
    network's `forward` on the window.

    Args:
        network: the model.
        noisy_BTC: the block with noise.
        time_B: noise level per row.
        conditions: conditions of the whole window.
        prompt: an earlier result of `prompt_keys` for the same prompt; None computes it.

    Returns:
        the block's velocity_BTC, and the cache for its further steps and for the next block.

    Raises:
        UserError: the mask is another one, or the conditions have no whole context.
    """
    prompt = network.prompt_keys(conditions) if prompt is None else prompt
    return _encode_and_denoise(network, noisy_BTC, time_B, conditions, None, prompt, 0)


def fused(
    network: DiffusionTransformer,
    noisy_BTC: Tensor,
    time_B: Tensor,
    conditions: DiffusionConditions,
    cache: DiffusionCache,
    cutoff_frames: int | None = None,
) -> tuple[Tensor, DiffusionCache]:
    """Slide the window by one block: encode the block just finished, and take the first step of the next, in one pass.

    Blocks in which more of the mix has become known are encoded again, for the last time when all of their mix is
    known.

    Args:
        network: the model.
        noisy_BTC: the next block with noise.
        time_B: noise level per row.
        conditions: conditions of the window that ends with the next block; its context ends with the finished block.
        cache: the cache of the finished block; its prompt is kept (`DiffusionCache.with_prompt` cross-fades).
        cutoff_frames: frames of the window in which the mix is known. None = all of the context, or no mix.

    Returns:
        the block's velocity_BTC, and the cache for its further steps and for the next block.

    Raises:
        UserError: the mask is another one, the conditions have no whole context, or a size or the cutoff is wrong.
    """
    blocks, frames = network.context_frames // network.block_frames, network.block_frames
    cutoff = network.context_frames if cutoff_frames is None else cutoff_frames
    if not 0 <= cutoff <= network.window_frames:
        raise UserError(f"cutoff_frames is {cutoff}; it must lie in the window, 0 to {network.window_frames}")
    _require_block(network, noisy_BTC, cache)
    first = min(blocks - 1, max(0, cutoff // frames - 1))
    return _encode_and_denoise(network, noisy_BTC, time_B, conditions, cache, cache.prompt, first)


def _encode_and_denoise(
    network: DiffusionTransformer,
    noisy_BTC: Tensor,
    time_B: Tensor,
    conditions: DiffusionConditions,
    cache: DiffusionCache | None,
    prompt: PromptKeys | None,
    first: int,
) -> tuple[Tensor, DiffusionCache]:
    """Encode the context blocks from `first` on; those before come from the cache, with their keys rotated back."""
    mask, frames, context = network.mask, network.block_frames, network.context_frames
    if not isinstance(mask, BlockCausal):
        raise UserError(f"this pass needs the mask BlockCausal; the context under {type(mask).__name__} cannot slide")
    _require_context(network, conditions)
    kept, dropped = first * frames, context - mask.cached_blocks * frames
    encoded = network.embed_context(conditions.frames(kept, context))
    hidden = torch.cat((encoded, network.embed_block(noisy_BTC, time_B, conditions)), dim=1)
    table = network.table(kept, context + frames)
    turn = network.rotary.table(torch.full((1,), -frames, device=noisy_BTC.device))
    keys, values = [], []
    for index, block in enumerate(network.layers):
        q, k, v = block.project(hidden, table)
        k, v = k.transpose(1, 2), v.transpose(1, 2)
        if cache is not None and kept:
            old = slice(frames - dropped, frames - dropped + kept)
            k = torch.cat((rotate(cache.key[index][:, old, None], turn)[:, :, 0].to(k), k), dim=1)
            v = torch.cat((cache.value[index][:, old].to(v), v), dim=1)
        keys.append(_with_room(k[:, dropped:], context + frames + 1 - dropped))
        values.append(_with_room(v[:, dropped:], context + frames + 1 - dropped))
        if index == len(network.layers) - 1:
            hidden, q, first = hidden[:, context - kept : -1], q[:, :, context - kept : -1], mask.context_blocks
        attended = _attend_blocks(q, k.transpose(1, 2), v.transpose(1, 2), mask, first)
        hidden = block.rest(hidden, block.attention.merge(attended), prompt[index] if prompt else None)
    return network.velocity(hidden), DiffusionCache(tuple(keys), tuple(values), context - dropped, _constant(prompt))


def _attend_blocks(q_BHTE: Tensor, k_BHKE: Tensor, v_BHKE: Tensor, mask: BlockCausal, first: int) -> Tensor:
    """Attention of the blocks from `first` on, the token among the last, to the keys of the whole window."""
    frames, out = mask.block_frames, []
    for block in range(first, mask.context_blocks + 1):
        last = block == mask.context_blocks
        start = (block - first) * frames
        queries = slice(start, None if last else start + frames)
        keys = slice(mask.seen(block) * frames, None if last else (block + 1) * frames)
        out.append(F.scaled_dot_product_attention(q_BHTE[:, :, queries], k_BHKE[:, :, keys], v_BHKE[:, :, keys]))
    return torch.cat(out, dim=2) if len(out) > 1 else out[0]


def _seen_context(network: DiffusionTransformer) -> int:
    """Context frames that the block sees."""
    mask = network.mask
    if isinstance(mask, BlockCausal):
        return (mask.context_blocks - mask.seen(mask.context_blocks)) * mask.block_frames
    return network.context_frames


def _constant(prompt: PromptKeys | None) -> PromptKeys | None:
    """The prompt's keys and values, without gradient."""
    return prompt and tuple((k.detach(), v.detach()) for k, v in prompt)


def _with_room(x_BKHE: Tensor, frames: int) -> Tensor:
    """A buffer of `frames` rows that begins with these, without gradient."""
    buffer = x_BKHE.new_empty(x_BKHE.shape[0], frames, *x_BKHE.shape[2:])
    buffer[:, : x_BKHE.shape[1]] = x_BKHE.detach()
    return buffer


def _joined(buffer_BKHE: Tensor, cached: int, new_BTHE: Tensor) -> Tensor:
    """The cached rows followed by new ones: within the buffer, or as a new tensor if gradients flow."""
    frozen = buffer_BKHE.is_inference() and not torch.is_inference_mode_enabled()
    if torch.is_grad_enabled() or frozen or new_BTHE.dtype != buffer_BKHE.dtype:
        return torch.cat((buffer_BKHE[:, :cached].to(new_BTHE), new_BTHE), dim=1)
    stop = cached + new_BTHE.shape[1]
    buffer_BKHE[:, cached:stop] = new_BTHE
    return buffer_BKHE[:, :stop]


def _require_context(network: DiffusionTransformer, conditions: DiffusionConditions) -> None:
    """Refuse conditions without context, or with a context frame that is to be generated."""
    if conditions.context_BTC is None or conditions.context_mask_BT is None:
        raise UserError("a cached pass needs context_BTC and context_mask_BT")
    network.require_conditions(len(conditions.context_BTC), network.window_frames, conditions)
    known_BT = conditions.context_mask_BT[:, : network.context_frames] == 1
    # On another device, to look is to wait for it, in every block.
    # A graph that is being recorded has no values; they were looked at before.
    seen = known_BT.device.type == "cpu" and not torch.compiler.is_compiling()
    if seen and not bool(known_BT.all()):
        raise UserError(
            f"context_mask_BT must be 1 on all {network.context_frames} context frames; "
            "where there is no music, context_BTC is 0"
        )


def _require_block(network: DiffusionTransformer, noisy_BTC: Tensor, cache: DiffusionCache) -> None:
    """Refuse a block or a cache of another size."""
    expected = (cache.batch_size, network.block_frames, network.latent_channels)
    if tuple(noisy_BTC.shape) != expected:
        raise UserError(f"the block has shape {tuple(noisy_BTC.shape)}; the cache and the network expect {expected}")
    if len(cache.key) != len(network.layers) or cache.key[0].shape[2] != network.heads:
        raise UserError("the cache belongs to another network; make it with prefill or bootstrap of this one")
    mask = network.mask
    frames = mask.cached_blocks * mask.block_frames if isinstance(mask, BlockCausal) else network.context_frames
    if cache.frames != frames:
        raise UserError(
            f"a cache of {cache.frames} frames is not a cache of this window and mask, which keep {frames}; "
            "make it with prefill or bootstrap of this network"
        )
