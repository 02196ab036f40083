"""The parts of a diffusion transformer: rotary positions, embeddings, attention, gated feed-forward, the block.

Shapes: B batch, T frames (and token), S queries and keys, P prompt tokens, C latent channels, D width, H heads,
E channels per head, R rotated channels (R ≤ E), F frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RotaryTable = tuple[Tensor, Tensor]
"""Cosines and sines (T, R) of the positions' angles; the sines of the first half are negative."""

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(q_BHTE, k_BHTE, v_BHTE) → out_BHTE: caching and masking of keys is up to the caller."""

PromptKeys = tuple[tuple[Tensor, Tensor], ...]
"""Per block, the keys and values (B, H, P, E) of the prompt."""

HEAD_EPS = 1e-6
"""Of the normalisation of queries and keys."""


class Rotary(nn.Module):
    """Frequencies of partial rotary positions, stored in the weights, as in published checkpoints.

    Args:
        head_channels: channels per head (E).
        base: approximate ratio of the fastest to the slowest rotation.
    """

    inverse_frequency: Tensor

    def __init__(self, head_channels: int, base: float) -> None:
        super().__init__()
        rotated = min(head_channels, max(head_channels // 2, 32))
        exponent = torch.arange(0, rotated, 2).float() / rotated
        self.register_buffer("inverse_frequency", base**-exponent)

    def table(self, position_T: Tensor) -> RotaryTable:
        """The angles of positions, which may be any integers, including negative ones."""
        frequency = self.inverse_frequency
        precision = torch.promote_types(frequency.dtype, torch.float32)
        angle = position_T.to(precision)[:, None] * frequency.to(precision)
        cosine, sine = angle.cos(), angle.sin()
        return torch.cat((cosine, cosine), dim=-1), torch.cat((-sine, sine), dim=-1)


def rotate(x_BTSHE: Tensor, table: RotaryTable) -> Tensor:
    """Rotate every head by its position's angle; rotations add up, so a second one moves to another position.

    Args:
        x_BTSHE: heads H of any number S of sequences, positions in the second dimension.
        table: angles of T positions, or of one position for all of them.
    """
    cosine, sine = (part[:, None, None] for part in table)
    rotated = cosine.shape[-1]
    turning = x_BTSHE[..., :rotated].to(cosine.dtype)
    swapped = turning.roll(rotated // 2, dims=-1)
    turned = torch.addcmul(turning * cosine, swapped, sine)
    return turned if rotated == x_BTSHE.shape[-1] else torch.cat((turned, x_BTSHE[..., rotated:].to(turned)), dim=-1)


class FourierFeatures(nn.Module):
    """Cosines and sines of a number at random frequencies.

    Args:
        features: number of features; even.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.frequency_F = nn.Parameter(torch.randn(features // 2))

    def forward(self, x_B: Tensor) -> Tensor:
        angle_BF = 2 * math.pi * x_B[:, None] * self.frequency_F
        return torch.cat((angle_BF.cos(), angle_BF.sin()), dim=-1)


def two_layers(channels_in: int, channels_out: int, bias: bool) -> nn.Sequential:
    """The embedding of a condition."""
    return nn.Sequential(
        nn.Linear(channels_in, channels_out, bias=bias),
        nn.SiLU(),
        nn.Linear(channels_out, channels_out, bias=bias),
    )


class ResidualPointwise(nn.Module):
    """x + W x with W = 0 at first: Stable Audio's 1×1 convolution before and after the transformer.

    Args:
        channels: channels in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, x_BTC: Tensor) -> Tensor:
        return x_BTC + self.linear(x_BTC)


class SelfAttention(nn.Module):
    """Queries, keys and values from one matrix product, with rotary positions.

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
        self.query_norm = nn.LayerNorm(width // heads, eps=HEAD_EPS) if query_key_norm else None
        self.key_norm = nn.LayerNorm(width // heads, eps=HEAD_EPS) if query_key_norm else None
        nn.init.zeros_(self.project_out.weight)

    def forward(self, x_BTD: Tensor, table: RotaryTable, attend: Attend) -> Tensor:
        return self.merge(attend(*self.project(x_BTD, table)))

    def project(self, x_BTD: Tensor, table: RotaryTable) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, H, T, E), rotated to their positions."""
        qkv = self.project_in(x_BTD).unflatten(-1, (3, self.heads, -1))
        query_key = rotate(self._normalise(qkv[:, :, :2]), table).to(qkv.dtype)
        q, k, v = (part.transpose(1, 2) for part in (query_key[:, :, 0], query_key[:, :, 1], qkv[:, :, 2]))
        return q, k, v

    def merge(self, out_BHTE: Tensor) -> Tensor:
        """The branch's output from the attended values."""
        return self.project_out(out_BHTE.transpose(1, 2).flatten(2))

    def _normalise(self, query_key: Tensor) -> Tensor:
        """Queries and keys (B, T, 2, H, E) with their own weights, at once."""
        if self.query_norm is None or self.key_norm is None:
            return query_key
        query, key = self.query_norm, self.key_norm
        weight = torch.stack((query.weight, key.weight))[:, None]
        bias = torch.stack((query.bias, key.bias))[:, None]
        return torch.addcmul(bias, F.layer_norm(query_key, query.normalized_shape, eps=query.eps), weight)


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
        self.query_norm = nn.LayerNorm(self.head_channels, eps=HEAD_EPS) if query_key_norm else nn.Identity()
        self.key_norm = nn.LayerNorm(self.head_channels, eps=HEAD_EPS) if query_key_norm else nn.Identity()
        nn.init.zeros_(self.project_out.weight)

    def keys_values(self, prompt_BPD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the prompt, one per head of the queries."""
        k, v = self.project_prompt(prompt_BPD).unflatten(-1, (2, -1, self.head_channels)).unbind(dim=2)
        shared = self.heads // k.shape[2]
        k, v = (part.repeat_interleave(shared, dim=2).transpose(1, 2) for part in (self.key_norm(k).to(v), v))
        return k, v

    def forward(self, x_BTD: Tensor, keys_values: tuple[Tensor, Tensor]) -> Tensor:
        key_BHPE, value_BHPE = keys_values
        q_BTHE = self.query_norm(self.project_query(x_BTD).unflatten(-1, (self.heads, -1))).to(value_BHPE)
        out_BHTE = F.scaled_dot_product_attention(q_BTHE.transpose(1, 2), key_BHPE, value_BHPE)
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
    """Pre-norm block; every branch starts at zero, so a new block is the identity.

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
        return self.rest(x_BTD, self.attention(self.attention_norm(x_BTD), table, attend), prompt)

    def project(self, x_BTD: Tensor, table: RotaryTable) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of the self-attention."""
        return self.attention.project(self.attention_norm(x_BTD), table)

    def rest(self, x_BTD: Tensor, attended_BTD: Tensor, prompt: tuple[Tensor, Tensor] | None) -> Tensor:
        """What follows self-attention."""
        x_BTD = x_BTD + attended_BTD
        if prompt is not None and self.prompt_attention is not None and self.prompt_norm is not None:
            x_BTD = x_BTD + self.prompt_attention(self.prompt_norm(x_BTD), prompt)
        return x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))
