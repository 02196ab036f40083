"""Attention over a sliding window: rotary positions, query-key normalisation, an optional scalar sink.

One mask function of (query index, key index) feeds FlexAttention on CUDA and SDPA everywhere else, the parallel pass
and the step. A step of one frame needs no mask once its window is full.

Shapes: B batch, T frames, D width, H heads, K keys, E channels per head.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MaskFunction = Callable[[Tensor, Tensor], Tensor]
"""(query index, key index) → whether the query may attend to the key; broadcasts."""


def window_mask(window_frames: int, causal: bool) -> MaskFunction:
    """A query sees itself and the `window_frames` - 1 frames before it; if not causal, also as many after it."""

    def allowed(query: Tensor, key: Tensor) -> Tensor:
        distance = query - key
        if causal:
            return (distance >= 0) & (distance < window_frames)
        return distance.abs() < window_frames

    return allowed


def dense_mask(mask: MaskFunction, first_query: int, queries: int, keys: int, device: torch.device) -> Tensor:
    """The mask as a boolean tensor allowed_TK, for queries at key indices from `first_query` on."""
    query_T1 = torch.arange(first_query, first_query + queries, device=device)[:, None]
    return mask(query_T1, torch.arange(keys, device=device)[None, :])


def rotary_table(first: int, frames: int, head_channels: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines (frames, E/2) of the positions `first` … `first + frames - 1` (RoPE, base 10000)."""
    position = torch.arange(first, first + frames, device=device, dtype=torch.float32)
    angle = position[:, None] * rotary_frequency(head_channels, device)
    return angle.cos(), angle.sin()


def rotary_frequency(head_channels: int, device: torch.device) -> Tensor:
    """Radians per frame of every pair of channels (E/2)."""
    return 10000.0 ** -(torch.arange(0, head_channels, 2, device=device, dtype=torch.float32) / head_channels)


@functools.lru_cache(maxsize=16)
def rotary_turns(head_channels: int, device: torch.device) -> Tensor:
    """Turns per frame of every pair of channels, in units of 2^-64 (int64, E/2)."""
    turns = rotary_frequency(head_channels, torch.device("cpu")).double() / (2 * math.pi)
    return (turns * 2.0**64).long().to(device)


def rotary_clock(position_BT: Tensor, head_channels: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines (B, 1, T, E/2) of any positions (int64), however long the stream.

    Angles are counted in integers, which wrap around after one turn. So frame ten million is as exact as the first.
    """
    phase = position_BT[:, None, :, None] * rotary_turns(head_channels, position_BT.device)
    angle = phase.to(dtype) * (2 * math.pi / 2.0**64)
    return angle.cos(), angle.sin()


def rotate(x_BHTE: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate the two halves of every head against each other by the angles of their position."""
    cos_TE, sin_TE = (part.to(x_BHTE.dtype) for part in table)
    first, second = x_BHTE.chunk(2, dim=-1)
    return torch.cat((first * cos_TE - second * sin_TE, second * cos_TE + first * sin_TE), dim=-1)


def attend_dense(q_BHTE: Tensor, k_BHKE: Tensor, v_BHKE: Tensor, allowed: Tensor, sink_H: Tensor | None) -> Tensor:
    """Scaled dot-product attention; `allowed` broadcasts to (B, H, T, K).

    The sink is a key that all queries see, with logit s and value 0. It adds exp(s) to the softmax's denominator,
    which is the same as scaling the output by sigmoid(LSE - s). A constant query channel brings s into the product, so
    that it is trained with the fused kernels as well, which give a mask no gradient.
    """
    if sink_H is None:
        return F.scaled_dot_product_attention(q_BHTE, k_BHKE, v_BHKE, attn_mask=allowed)
    root = math.sqrt(q_BHTE.shape[-1])
    sink_key = F.pad((sink_H * root).to(k_BHKE.dtype).view(1, -1, 1, 1), (q_BHTE.shape[-1], 0))
    q = F.pad(q_BHTE, (0, 1), value=1.0)
    k = torch.cat((F.pad(k_BHKE, (0, 1)), sink_key.expand(len(q), -1, -1, -1)), dim=2)
    v = F.pad(v_BHKE, (0, 1, 0, 1))
    everyone = F.pad(allowed, (0, 1), value=True)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=everyone, scale=1 / root)[..., :-1]


def root_mean_square_normalised(x: Tensor) -> Tensor:
    """`F.rms_norm` over the last dimension, in float32 at least, in a third of the time for one frame on a CPU."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + torch.finfo(x.dtype).eps)


def attend_cached(
    q_BHTE: Tensor, k_BHKE: Tensor, v_BHKE: Tensor, allowed: Tensor | None, sink_H: Tensor | None
) -> Tensor:
    """The same for few queries: a sink is one more logit, and neither keys nor values are copied."""
    logits_BHTK = (q_BHTE * q_BHTE.shape[-1] ** -0.5) @ k_BHKE.transpose(-1, -2)
    if allowed is not None:
        logits_BHTK = logits_BHTK.masked_fill(~allowed, -math.inf)
    if sink_H is not None:
        sink = sink_H.to(logits_BHTK.dtype).view(-1, 1, 1).expand(*logits_BHTK.shape[:3], 1)
        return torch.cat((logits_BHTK, sink), dim=-1).softmax(dim=-1)[..., :-1] @ v_BHKE
    return logits_BHTK.softmax(dim=-1) @ v_BHKE


@functools.cache
def _compiled_flex_attention() -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


@functools.lru_cache(maxsize=16)
def flex_block_mask(window_frames: int, causal: bool, frames: int, device: str) -> Any:
    """FlexAttention's block-sparse form of `window_mask`."""
    from torch.nn.attention.flex_attention import create_block_mask

    mask = window_mask(window_frames, causal)
    return create_block_mask(lambda b, h, q, k: mask(q, k), None, None, frames, frames, device=device)


def attend_flex(
    q_BHTE: Tensor, k_BHTE: Tensor, v_BHTE: Tensor, block_mask: Any, sink_H: Tensor | None, compiled: bool = True
) -> Tensor:
    """The parallel pass through FlexAttention; the sink scales the output by sigmoid(LSE - s)."""
    from torch.nn.attention.flex_attention import AuxRequest, flex_attention

    attention: Callable[..., Any] = _compiled_flex_attention() if compiled else flex_attention
    if sink_H is None:
        return attention(q_BHTE, k_BHTE, v_BHTE, block_mask=block_mask)
    out, aux = attention(q_BHTE, k_BHTE, v_BHTE, block_mask=block_mask, return_aux=AuxRequest(lse=True))
    return out * torch.sigmoid(aux.lse - sink_H.view(-1, 1))[..., None].to(out.dtype)


class WindowedAttention(nn.Module):
    """Multi-head self-attention over a sliding window, as a parallel pass and as a step on cached frames.

    Keys are cached after their rotation by their absolute position. Only differences of positions matter, and
    `rotary_clock` keeps those exact, so a stream may last forever.

    Args:
        width: channels in and out (D).
        heads: attention heads; divides `width` into an even number of channels each.
        window_frames: frames that a query sees, itself included.
        sink: whether each head has a learned logit that can take attention away from all frames.
        causal: whether frames after the query are hidden.
    """

    def __init__(self, width: int, heads: int, window_frames: int, sink: bool, causal: bool) -> None:
        super().__init__()
        if width % (2 * heads):
            raise ValueError(f"width {width} must be divisible by twice the number of heads ({heads})")
        self.heads = heads
        self.window_frames = window_frames
        self.causal = causal
        self.project_in = nn.Linear(width, 3 * width, bias=False)
        self.project_out = nn.Linear(width, width, bias=False)
        self.query_norm = nn.RMSNorm(width // heads)
        self.key_norm = nn.RMSNorm(width // heads)
        self.sink_H = nn.Parameter(torch.zeros(heads)) if sink else None

    def forward(self, x_BTD: Tensor) -> Tensor:
        """All frames in one pass."""
        q, k, v = self._project(x_BTD)
        frames, channels = q.shape[-2:]
        table = rotary_table(0, frames, channels, q.device)
        q, k = rotate(q, table), rotate(k, table)
        if q.is_cuda:
            block_mask = flex_block_mask(self.window_frames, self.causal, frames, str(q.device))
            return self._merge(attend_flex(q, k, v, block_mask, self.sink_H))
        mask = window_mask(self.window_frames, self.causal)
        return self._merge(attend_dense(q, k, v, dense_mask(mask, 0, frames, frames, q.device), self.sink_H))

    def step(
        self,
        x_BTD: Tensor,
        streams: Sequence[tuple[Tensor, Tensor | None]],
        table: tuple[Tensor, Tensor],
    ) -> Tensor:
        """The next frames, given the keys and values of the frames before them.

        Args:
            x_BTD: new frames of one or several streams, the rows of one after those of another.
            streams: of each, seen_2BHKE: keys and values, oldest first; those of the new frames, the last T, are
                written here. And which keys every query may attend to, broadcasts to (B, H, T, K); None = all.
            table: cosines and sines of the new frames' positions.
        """
        batch, frames, _ = x_BTD.shape
        qkv_3BHTE = self.project_in(x_BTD).view(batch, frames, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weight = torch.stack((self.query_norm.weight, self.key_norm.weight)).view(2, 1, 1, 1, -1)
        query, key = rotate(root_mean_square_normalised(qkv_3BHTE[:2]) * weight, table).unbind()
        heard, start = [], 0
        for seen_2BHKE, allowed in streams:
            rows = slice(start, start := start + seen_2BHKE.shape[1])
            keys, values = seen_2BHKE.unbind()
            keys[:, :, -frames:] = key[rows]
            values[:, :, -frames:] = qkv_3BHTE[2, rows]
            heard.append(attend_cached(query[rows], keys, values, allowed, self.sink_H))
        return self._merge(heard[0] if len(heard) == 1 else torch.cat(heard))

    def _project(self, x_BTD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, frames, _ = x_BTD.shape
        qkv = self.project_in(x_BTD).view(batch, frames, 3, self.heads, -1)
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(dim=2))
        return self._normalise(q, self.query_norm), self._normalise(k, self.key_norm), v

    @staticmethod
    def _normalise(x_BHTE: Tensor, norm: nn.RMSNorm) -> Tensor:
        # In the input's own type, so that the fused kernel serves autocast too.
        return F.rms_norm(x_BHTE, x_BHTE.shape[-1:], norm.weight.to(x_BHTE.dtype))

    def _merge(self, out_BHTE: Tensor) -> Tensor:
        return self.project_out(out_BHTE.transpose(1, 2).flatten(2))
