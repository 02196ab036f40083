"""One block of a diffusion transformer: self-attention, cross-attention to the prompt, gated feed-forward.

Shapes: B batch, T frames (and token), P prompt tokens, K keys, D width, H heads, E channels per head.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from livejam.networks.rotary import RotaryTable, rotate

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(q_BHTE, k_BHTE, v_BHTE) → out_BHTE: where keys are cached, and which are seen, is the caller's affair."""


class HeadNorm(nn.Module):
    """Layer normalisation over the channels of every head, in the input's own type.

    Args:
        head_channels: channels per head (E).
    """

    def __init__(self, head_channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(head_channels, eps=1e-6)

    def forward(self, x_BTHE: Tensor) -> Tensor:
        return self.norm(x_BTHE).to(x_BTHE.dtype)


class SelfAttention(nn.Module):
    """Queries, keys and values of one matrix product, with rotary positions.

    Args:
        width: channels in and out (D).
        heads: attention heads; divides `width`.
        query_key_norm: whether queries and keys are normalised per head.
    """

    def __init__(self, width: int, heads: int, query_key_norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.project_in = nn.Linear(width, 3 * width, bias=False)
        self.project_out = nn.Linear(width, width, bias=False)
        self.query_norm = HeadNorm(width // heads) if query_key_norm else nn.Identity()
        self.key_norm = HeadNorm(width // heads) if query_key_norm else nn.Identity()
        nn.init.zeros_(self.project_out.weight)

    def forward(self, x_BTD: Tensor, table: RotaryTable, attend: Attend) -> Tensor:
        q, k, v = self.project_in(x_BTD).unflatten(-1, (3, self.heads, -1)).unbind(dim=2)
        q = rotate(self.query_norm(q).transpose(1, 2), table)
        k = rotate(self.key_norm(k).transpose(1, 2), table)
        return self.project_out(attend(q, k, v.transpose(1, 2)).transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """Attention to the prompt, whose keys and values do not depend on the frames.

    Args:
        width: channels in and out (D).
        heads: attention heads; divides `width`.
        prompt_width: channels of the projected prompt; as many heads of the same size, which queries share.
        query_key_norm: whether queries and keys are normalised per head.
    """

    def __init__(self, width: int, heads: int, prompt_width: int, query_key_norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.head_channels = width // heads
        self.project_query = nn.Linear(width, width, bias=False)
        self.project_prompt = nn.Linear(prompt_width, 2 * prompt_width, bias=False)
        self.project_out = nn.Linear(width, width, bias=False)
        self.query_norm = HeadNorm(self.head_channels) if query_key_norm else nn.Identity()
        self.key_norm = HeadNorm(self.head_channels) if query_key_norm else nn.Identity()
        nn.init.zeros_(self.project_out.weight)

    def keys_values(self, prompt_BPD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the prompt, one per head of the queries."""
        k, v = self.project_prompt(prompt_BPD).unflatten(-1, (2, -1, self.head_channels)).unbind(dim=2)
        shared = self.heads // k.shape[2]
        k, v = (part.repeat_interleave(shared, dim=2).transpose(1, 2) for part in (self.key_norm(k), v))
        return k, v

    def forward(self, x_BTD: Tensor, keys_values: tuple[Tensor, Tensor]) -> Tensor:
        q_BTHE = self.query_norm(self.project_query(x_BTD).unflatten(-1, (self.heads, -1)))
        out_BHTE = F.scaled_dot_product_attention(q_BTHE.transpose(1, 2), *keys_values)
        return self.project_out(out_BHTE.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Gated feed-forward network of four times the width.

    Args:
        width: channels in and out (D).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project_in = nn.Linear(width, 8 * width)
        self.project_out = nn.Linear(4 * width, width)
        nn.init.zeros_(self.project_out.weight)
        nn.init.zeros_(self.project_out.bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        value, gate = self.project_in(x_BTD).chunk(2, dim=-1)
        return self.project_out(value * F.silu(gate))


class DiffusionBlock(nn.Module):
    """Pre-norm block; every branch starts at zero, so a new block passes its input on.

    Args:
        width: channels in and out (D).
        heads: attention heads.
        prompt_width: channels of the projected prompt; 0 = no cross-attention.
        query_key_norm: whether queries and keys are normalised per head.
    """

    def __init__(self, width: int, heads: int, prompt_width: int, query_key_norm: bool) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.attention = SelfAttention(width, heads, query_key_norm)
        self.prompt_norm = nn.LayerNorm(width, bias=False) if prompt_width else None
        self.prompt_attention = CrossAttention(width, heads, prompt_width, query_key_norm) if prompt_width else None
        self.feed_forward_norm = nn.LayerNorm(width, bias=False)
        self.feed_forward = FeedForward(width)

    def prompt_keys(self, prompt_BPD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the projected prompt."""
        assert self.prompt_attention is not None, "a network without prompt width has no prompt"
        return self.prompt_attention.keys_values(prompt_BPD)

    def forward(
        self, x_BTD: Tensor, table: RotaryTable, attend: Attend, prompt: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), table, attend)
        if prompt is not None and self.prompt_attention is not None and self.prompt_norm is not None:
            x_BTD = x_BTD + self.prompt_attention(self.prompt_norm(x_BTD), prompt)
        return x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))
