"""The cache of a diffusion transformer that plays block by block: keys and values of context and prompt.

Shapes: B batch, T new frames, K cached frames and room for the pass in progress, H heads, E channels per head.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from livejam.networks.diffusion_layers import PromptKeys


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
    """

    key: tuple[Tensor, ...]
    value: tuple[Tensor, ...]
    frames: int
    prompt: PromptKeys | None

    @property
    def batch_size(self) -> int:
        """Rows of the network: twice as many as musicians under guidance."""
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
        return DiffusionCache(key, value, self.frames, prompt)


def constant(prompt: PromptKeys | None) -> PromptKeys | None:
    """The prompt's keys and values, without gradient."""
    return prompt and tuple((k.detach(), v.detach()) for k, v in prompt)


def with_room(x_BKHE: Tensor, frames: int) -> Tensor:
    """A buffer of `frames` rows that begins with these, without gradient."""
    buffer = x_BKHE.new_empty(x_BKHE.shape[0], frames, *x_BKHE.shape[2:])
    buffer[:, : x_BKHE.shape[1]] = x_BKHE.detach()
    return buffer


def joined(buffer_BKHE: Tensor, cached: int, new_BTHE: Tensor) -> Tensor:
    """The cached rows followed by new ones: within the buffer, or as a new tensor if gradients flow."""
    frozen = buffer_BKHE.is_inference() and not torch.is_inference_mode_enabled()
    if torch.is_grad_enabled() or frozen or new_BTHE.dtype != buffer_BKHE.dtype:
        return torch.cat((buffer_BKHE[:, :cached].to(new_BTHE), new_BTHE), dim=1)
    stop = cached + new_BTHE.shape[1]
    buffer_BKHE[:, cached:stop] = new_BTHE
    return buffer_BKHE[:, :stop]
