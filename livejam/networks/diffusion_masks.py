"""Attention masks of a diffusion transformer: frames first, and the token of the noise level last.

Every mask is a plain function of (query index, key index), the same for FlexAttention, which calls it on CUDA, and
for the boolean matrix of SDPA everywhere else. Index T, after the T latent frames, is the token.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from livejam.errors import UserError


class Visibility(ABC):
    """The keys that a query may attend to; equal ones compare equal."""

    @abstractmethod
    def allowed(self, query_index: Tensor, key_index: Tensor) -> Tensor:
        """Whether the query may attend to the key; broadcasts."""


class AttentionMask(Visibility):
    """What is visible in a window of frames and the token behind them."""

    @property
    @abstractmethod
    def token_position(self) -> int:
        """Rotary position of the token; that of frame i is i + 1."""

    @abstractmethod
    def check(self, frames: int) -> None:
        """Refuse windows that do not fit the mask."""


@dataclass(frozen=True)
class Bidirectional(AttentionMask):
    """Everything sees everything: the base model, and the outpainting baseline, which cannot be cached."""

    @property
    def token_position(self) -> int:
        return 0

    def allowed(self, query_index: Tensor, key_index: Tensor) -> Tensor:
        return (query_index >= 0) & (key_index >= 0)

    def check(self, frames: int) -> None:
        """Any window is fine."""


@dataclass(frozen=True)
class EncoderDecoder(AttentionMask):
    """The context sees only itself; the block and the token see everything.

    Args:
        context_frames: frames of the context, at least 1.
    """

    context_frames: int

    def __post_init__(self) -> None:
        if self.context_frames < 1:
            raise UserError(f"EncoderDecoder.context_frames is {self.context_frames}; it must be at least 1")

    @property
    def token_position(self) -> int:
        return 0

    def allowed(self, query_index: Tensor, key_index: Tensor) -> Tensor:
        return (key_index < self.context_frames) | (query_index >= self.context_frames)

    def check(self, frames: int) -> None:
        if frames <= self.context_frames:
            raise UserError(
                f"a window of {frames} frames has no block behind its {self.context_frames} context frames; "
                "give it more frames"
            )


@dataclass(frozen=True)
class BlockCausal(AttentionMask):
    """A block sees itself and the blocks before it within a sliding window; the token belongs to the last block.

    The window counts the query's own block. With the paper's window, as many blocks as there is context, the block
    that is being denoised does not see the oldest context block, except through the blocks between them.

    Args:
        block_frames: frames of a block, at least 1.
        context_blocks: blocks before the one that is denoised, at least 1.
        window_blocks: blocks that a query sees, its own included; None = `context_blocks`.
    """

    block_frames: int
    context_blocks: int
    window_blocks: int | None = None

    def __post_init__(self) -> None:
        for name in ("block_frames", "context_blocks"):
            if getattr(self, name) < 1:
                raise UserError(f"BlockCausal.{name} is {getattr(self, name)}; it must be at least 1")
        if not 1 <= self.window <= self.context_blocks + 1:
            raise UserError(
                f"BlockCausal.window_blocks is {self.window}; it must lie between 1 and context_blocks + 1 "
                f"({self.context_blocks + 1})"
            )

    @property
    def window(self) -> int:
        """Blocks that a query sees, its own included."""
        return self.context_blocks if self.window_blocks is None else self.window_blocks

    @property
    def context_frames(self) -> int:
        """Frames before the block that is denoised."""
        return self.context_blocks * self.block_frames

    @property
    def cached_blocks(self) -> int:
        """Context blocks that are worth caching: all but the oldest, which neither this block nor the next sees."""
        return self.context_blocks - min(1, self.context_blocks + 1 - self.window)

    def seen(self, block: int) -> int:
        """The oldest block that a block sees."""
        return max(0, block - self.window + 1)

    @property
    def token_position(self) -> int:
        """Zero for the paper's window; with a longer context, the same distance from the last block."""
        return max(0, self.context_blocks - self.window) * self.block_frames

    def allowed(self, query_index: Tensor, key_index: Tensor) -> Tensor:
        query = (query_index // self.block_frames).clamp(max=self.context_blocks)
        key = (key_index // self.block_frames).clamp(max=self.context_blocks)
        return (key <= query) & (key > query - self.window)

    def check(self, frames: int) -> None:
        expected = self.context_frames + self.block_frames
        if frames != expected:
            raise UserError(
                f"a window of {frames} frames does not fit BlockCausal: {self.context_blocks} context blocks and one "
                f"more of {self.block_frames} frames make {expected}"
            )


@functools.lru_cache(maxsize=32)
def dense_mask(mask: Visibility, positions: int, device: torch.device) -> Tensor | None:
    """The mask as a boolean matrix over frames and token; None if everything is allowed."""
    if isinstance(mask, Bidirectional):
        return None
    # The first caller may be a validation in inference mode; training must be able to use the result.
    with torch.inference_mode(False):
        index = torch.arange(positions, device=device)
        return mask.allowed(index[:, None], index[None, :])


@functools.lru_cache(maxsize=32)
def flex_mask(mask: Visibility, positions: int, device: torch.device) -> Any:
    """FlexAttention's block-sparse form of the same function."""
    from torch.nn.attention.flex_attention import create_block_mask

    with torch.inference_mode(False):
        return create_block_mask(lambda b, h, q, k: mask.allowed(q, k), None, None, positions, positions, device=device)


@functools.cache
def _compiled_flex_attention() -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


def attend_flex(q_BHTE: Tensor, k_BHTE: Tensor, v_BHTE: Tensor, sparse: Any, compiled: bool = True) -> Tensor:
    """Attention under a mask of `flex_mask`."""
    from torch.nn.attention.flex_attention import flex_attention

    attention: Callable[..., Any] = _compiled_flex_attention() if compiled else flex_attention
    return attention(q_BHTE, k_BHTE, v_BHTE, block_mask=sparse)
