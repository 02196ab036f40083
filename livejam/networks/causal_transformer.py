"""LiveBand's generator: a causal transformer from noise and the mix heard so far to the next frames.

Shapes: B batch, T latent frames, C latent channels, Z noise channels, D width, H heads, K cached frames,
E channels per head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from livejam.networks.attention import WindowedAttention


@dataclass(frozen=True)
class TransformerCache:
    """What a stream remembers: keys and values per block, of fixed size from the first step on.

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

    No output is ever fed back, so training is one parallel pass and `step` computes the very same numbers
    (LiveBand section 4.4). With a window shorter than the sequence, the cached hidden states still carry what
    earlier frames knew: the receptive field is `blocks` × (`window_frames` - 1) + 1 frames in both forms.

    Args:
        latent_channels: channels of a codec latent (C).
        noise_channels: channels of the Gaussian noise per frame (Z).
        width: channels of the hidden state (D).
        blocks: transformer blocks.
        heads: attention heads per block; `width` / `heads` must be even.
        window_frames: frames that a query attends to, itself included.
        sink: whether each head has a scalar attention sink.
        causal: False lets every frame see the whole window to both sides: the upper bound, which cannot stream.
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
