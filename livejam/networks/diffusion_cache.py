"""What a streaming diffusion transformer remembers of its context: keys and values, outside of any module.

Shapes: B batch, K cached frames and room for the pass in progress, H heads, E channels per head, P prompt tokens.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

PromptKeys = tuple[tuple[Tensor, Tensor], ...]
"""Per block, the keys and values (B, H, P, E) of the prompt."""


@dataclass(frozen=True)
class DiffusionCache:
    """Keys and values of the context, of constant size, and of the prompt.

    The first `frames` rows of a buffer are the cache; the rows behind them are room in which a pass without
    gradient lays its own keys, so that nothing is concatenated. Therefore two passes must not share a cache at the
    same time; one after the other they may. Nothing that a pass leaves here carries a gradient: to train the maps of
    the prompt through a cached pass, hand it `cache.with_prompt(network.prompt_keys(conditions))`.

    Args:
        key: per block, key_BKHE, oldest frame first, rotated to its position in the window.
        value: per block, value_BKHE.
        frames: how many frames are cached.
        prompt: keys and values of the prompt; None without one.
    """

    key: tuple[Tensor, ...]
    value: tuple[Tensor, ...]
    frames: int
    prompt: PromptKeys | None

    @property
    def batch_size(self) -> int:
        return len(self.key[0])

    @property
    def size_bytes(self) -> int:
        """Memory of the context's keys and values."""
        return sum(tensor.nbytes for tensor in (*self.key, *self.value))

    def with_prompt(self, prompt: PromptKeys | None) -> DiffusionCache:
        """The same context under another prompt, as in a cross-fade; a bootstrap re-encodes the context, too."""
        return dataclasses.replace(self, prompt=prompt)

    def take(self, rows: Tensor) -> DiffusionCache:
        """A cache of some rows only.

        Args:
            rows: their indices (int64).
        """
        prompt = self.prompt and tuple((k[rows], v[rows]) for k, v in self.prompt)
        key, value = (tuple(x[rows] for x in part) for part in (self.key, self.value))
        return DiffusionCache(key, value, self.frames, prompt)

    def put(self, rows: Tensor, other: DiffusionCache) -> DiffusionCache:
        """A cache whose rows `rows` are those of another cache: how one musician of many starts anew."""

        def changed(old: Tensor, new: Tensor) -> Tensor:
            return old.index_copy(0, rows, new)

        prompt = None
        if self.prompt is not None and other.prompt is not None:
            pairs = zip(self.prompt, other.prompt, strict=True)
            prompt = tuple((changed(k, new_k), changed(v, new_v)) for (k, v), (new_k, new_v) in pairs)
        key = tuple(map(changed, self.key, other.key))
        value = tuple(map(changed, self.value, other.value))
        return DiffusionCache(key, value, self.frames, prompt)


def detached(prompt: PromptKeys | None) -> PromptKeys | None:
    """The prompt's keys and values, whose gradient ends here."""
    return prompt and tuple((k.detach(), v.detach()) for k, v in prompt)


def with_room(x_BKHE: Tensor, frames: int) -> Tensor:
    """A buffer of `frames` rows that begins with these; their gradient ends here."""
    buffer = x_BKHE.new_empty(x_BKHE.shape[0], frames, *x_BKHE.shape[2:])
    buffer[:, : x_BKHE.shape[1]] = x_BKHE.detach()
    return buffer


def joined(buffer_BKHE: Tensor, cached: int, new_BTHE: Tensor) -> Tensor:
    """The cached rows followed by new ones: in the buffer's room, or as a new tensor where gradients flow."""
    frozen = buffer_BKHE.is_inference() and not torch.is_inference_mode_enabled()
    if torch.is_grad_enabled() or frozen or new_BTHE.dtype != buffer_BKHE.dtype:
        return torch.cat((buffer_BKHE[:, :cached].to(new_BTHE), new_BTHE), dim=1)
    stop = cached + new_BTHE.shape[1]
    buffer_BKHE[:, cached:stop] = new_BTHE
    return buffer_BKHE[:, :stop]
