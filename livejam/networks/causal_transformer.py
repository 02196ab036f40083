"""LiveBand's generator: a causal transformer from noise and the mix heard so far to the next frames.

Its attention is windowed, with rotary positions, query-key normalisation and an optional scalar sink. One mask function
of (query index, key index) feeds FlexAttention on CUDA and SDPA everywhere else, the parallel pass and the step.

Shapes: B batch, T latent frames, C latent channels, Z noise channels, D width, H heads, K cached frames,
E channels per head.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
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
    exponent = torch.arange(0, head_channels, 2, device=device, dtype=torch.float32) / head_channels
    position = torch.arange(first, first + frames, device=device, dtype=torch.float32)
    angle = position[:, None] * 10000.0**-exponent
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

    Keys are cached before their rotation and rotated by their index within the window, so positions are
    relative by construction, and a stream may last forever.

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
        self, x_BTD: Tensor, key_BHKE: Tensor, value_BHKE: Tensor, position_B: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The next frames, given the keys and values of the last `window_frames` - 1 frames.

        Args:
            x_BTD: new frames.
            key_BHKE: cached keys, oldest first; slots that no frame has filled yet are ignored.
            value_BHKE: cached values.
            position_B: frames heard before these, per row.

        Returns:
            the output of the new frames, and the cache that includes them, of unchanged size.
        """
        q, k_new, v_new = self._project(x_BTD)
        k, v = torch.cat((key_BHKE, k_new), dim=2), torch.cat((value_BHKE, v_new), dim=2)
        new, keys, cached = q.shape[2], k.shape[2], key_BHKE.shape[2]
        cos, sin = rotary_table(0, keys, q.shape[-1], q.device)
        allowed_TK = dense_mask(window_mask(self.window_frames, True), cached, new, keys, q.device)
        filled_BK = torch.arange(keys, device=q.device) >= cached - position_B[:, None]
        allowed_B1TK = (allowed_TK & filled_BK[:, None])[:, None]
        out = attend_dense(rotate(q, (cos[cached:], sin[cached:])), rotate(k, (cos, sin)), v, allowed_B1TK, self.sink_H)
        return self._merge(out), k[:, :, new:], v[:, :, new:]

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


@dataclass(frozen=True)
class TransformerCache:
    """The state of a stream: keys and values per block, of constant size from the first step on.

    Args:
        key: per block, key_BHKE of the last K = window - 1 frames, oldest first.
        value: per block, value_BHKE likewise.
        position_B: frames heard so far (int64); slots before the first frame are ignored.
    """

    key: tuple[Tensor, ...]
    value: tuple[Tensor, ...]
    position_B: Tensor


class AdaptiveLayerNorm(nn.Module):
    """Layer normalisation whose scale and shift are a linear map of the condition (AdaLN).

    Args:
        width: channels that are normalised (D).
        condition_channels: channels of the condition.
    """

    def __init__(self, width: int, condition_channels: int) -> None:
        super().__init__()
        self.width = width
        self.modulation = nn.Linear(condition_channels, 2 * width)
        nn.init.normal_(self.modulation.weight, std=0.02)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x_BTD: Tensor, condition: Tensor) -> Tensor:
        scale_B1D, shift_B1D = self.modulation(condition)[:, None].chunk(2, dim=-1)
        return torch.addcmul(shift_B1D, F.layer_norm(x_BTD, (self.width,)).to(shift_B1D), 1 + scale_B1D)


class SwiGLU(nn.Module):
    """Gated feed-forward network; both input maps are one matrix product.

    Args:
        width: channels in and out (D).
        hidden: channels of the gated layer.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.project_in = nn.Linear(width, 2 * hidden, bias=False)
        self.project_out = nn.Linear(hidden, width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        gate, value = self.project_in(x_BTD).chunk(2, dim=-1)
        return self.project_out(F.silu(gate) * value)


class TransformerBlock(nn.Module):
    """Pre-norm block: AdaLN → attention, AdaLN → SwiGLU, each added to its input."""

    def __init__(self, width: int, hidden: int, condition_channels: int, attention: WindowedAttention) -> None:
        super().__init__()
        self.attention_norm = AdaptiveLayerNorm(width, condition_channels)
        self.attention = attention
        self.feed_forward_norm = AdaptiveLayerNorm(width, condition_channels)
        self.feed_forward = SwiGLU(width, hidden)

    def forward(self, x_BTD: Tensor, condition: Tensor) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD, condition))
        return x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD, condition))

    def step(
        self, x_BTD: Tensor, condition: Tensor, key_BHKE: Tensor, value_BHKE: Tensor, position_B: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        normed = self.attention_norm(x_BTD, condition)
        attended, key_BHKE, value_BHKE = self.attention.step(normed, key_BHKE, value_BHKE, position_B)
        x_BTD = x_BTD + attended
        return x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD, condition)), key_BHKE, value_BHKE


class CausalTransformer(nn.Module):
    """Noise and mix latents in, accompaniment latents out, frame by frame or all frames at once.

    No output is ever fed back, so training is one parallel pass, and `step` computes the same numbers (LiveBand
    section 4.4). With a window shorter than the sequence, cached hidden states still carry information from earlier
    frames: the receptive field is `blocks` × (`window_frames` - 1) + 1 frames in both cases.

    Args:
        latent_channels: channels of a codec latent (C).
        noise_channels: channels of the Gaussian noise per frame (Z).
        width: channels of the hidden state (D).
        blocks: transformer blocks.
        heads: attention heads per block; `width` / `heads` must be even.
        window_frames: frames that a query attends to, itself included.
        sink: whether each head has a scalar attention sink.
        causal: whether frames after the query are hidden; False is the upper bound, which sees the window to both sides
            and cannot stream.
        classes: instrument classes, the null class included.
        class_channels: channels of the class embedding.
        hidden: channels of the feed-forward layer; None = 8/3 of `width`, rounded up to a multiple of 32.
    """

    def __init__(
        self,
        latent_channels: int,
        noise_channels: int = 64,
        width: int = 1024,
        blocks: int = 12,
        heads: int = 8,
        window_frames: int = 128,
        sink: bool = True,
        causal: bool = True,
        classes: int = 19,
        class_channels: int = 128,
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        self.latent_channels, self.classes = latent_channels, classes
        self.noise_channels = noise_channels
        self.heads = heads
        self.window_frames = window_frames
        self.causal = causal
        hidden = hidden or 32 * -(-8 * width // 96)
        self.class_embedding = nn.Embedding(classes, class_channels)
        self.project_in = nn.Linear(noise_channels + latent_channels, width)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                width, hidden, class_channels, WindowedAttention(width, heads, window_frames, sink, causal)
            )
            for _ in range(blocks)
        )
        self.norm = AdaptiveLayerNorm(width, class_channels)
        self.project_out = nn.Linear(width, latent_channels)

    def forward(self, noise_BTZ: Tensor, mix_BTC: Tensor, instrument_B: Tensor) -> Tensor:
        """Accompaniment latents of all frames in one pass (what training runs)."""
        condition = self.class_embedding(instrument_B)
        x_BTD = self.project_in(torch.cat((noise_BTZ, mix_BTC), dim=-1))
        for block in self.blocks:
            x_BTD = block(x_BTD, condition)
        return self.project_out(self.norm(x_BTD, condition))

    def init_cache(self, batch_size: int) -> TransformerCache:
        """The cache before the first frame."""
        weight = self.project_in.weight
        shape = (batch_size, self.heads, self.window_frames - 1, weight.shape[0] // self.heads)
        empty = tuple(weight.new_zeros(shape) for _ in self.blocks)
        return TransformerCache(empty, empty, torch.zeros(batch_size, dtype=torch.int64, device=weight.device))

    def step(
        self, noise_BTZ: Tensor, mix_BTC: Tensor, instrument_B: Tensor, cache: TransformerCache
    ) -> tuple[Tensor, TransformerCache]:
        """Accompaniment latents of the next one or more frames, equal to `forward` on the whole sequence.

        Raises:
            ValueError: the network is not causal.
        """
        if not self.causal:
            raise ValueError("a bidirectional transformer hears the future and cannot stream; use its parallel pass")
        condition = self.class_embedding(instrument_B)
        x_BTD = self.project_in(torch.cat((noise_BTZ, mix_BTC), dim=-1))
        keys, values = [], []
        for block, old_key, old_value in zip(self.blocks, cache.key, cache.value, strict=True):
            assert isinstance(block, TransformerBlock)
            x_BTD, key, value = block.step(x_BTD, condition, old_key, old_value, cache.position_B)
            keys.append(key)
            values.append(value)
        position_B = cache.position_B + x_BTD.shape[1]
        return self.project_out(self.norm(x_BTD, condition)), TransformerCache(tuple(keys), tuple(values), position_B)
