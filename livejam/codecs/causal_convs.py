"""Causal convolutions over time with explicit state.

Shapes: B batch, which may be missing, T latent frames, M = 8 T sub-frames, C latent channels, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from livejam.codecs.features import SUBFRAMES

KERNEL = 3


class CausalConv(nn.Module):
    """Convolution of kernel 3 over the present and the two frames before it.

    Args:
        inputs: channels in.
        outputs: channels out.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.linear = nn.Linear(KERNEL * inputs, outputs)

    def initial_past(self, batch_size: int, like: Tensor) -> Tensor:
        """The two frames before the first, of the type and on the device of a tensor."""
        return like.new_zeros(batch_size, KERNEL - 1, self.inputs)

    def forward(self, x_BTD: Tensor, past_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Output for every frame, and the past of the next call."""
        padded_BTD = torch.cat([past_BTD, x_BTD], dim=-2)
        frames = x_BTD.shape[-2]
        if frames == 1:  # the one window is all there is, in order
            windows = padded_BTD.reshape(*padded_BTD.shape[:-2], 1, -1)
        else:
            windows = torch.cat([padded_BTD[..., i : i + frames, :] for i in range(KERNEL)], dim=-1)
        return self.linear(windows), padded_BTD[..., frames:, :]


class ResidualBlock(nn.Module):
    """x + linear(SiLU(conv(norm(x)))), normalised per frame, so that no statistic spans time or batch.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = CausalConv(width, width)
        self.out = nn.Linear(width, width)
        with torch.no_grad():
            self.out.weight.mul_(0.3)
            self.out.bias.zero_()

    def forward(self, x_BTD: Tensor, past_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Output for every frame, and the past of the next call."""
        hidden_BTD, past_BTD = self.conv(self.norm(x_BTD), past_BTD)
        return x_BTD + self.out(nn.functional.silu(hidden_BTD)), past_BTD


class CausalConvs(nn.Module):
    """Latents to a description of every sub-frame: blocks at the latent rate, then at eight times that rate.

    Args:
        latent_channels: channels in.
        width: channels at the latent rate.
        subframe_width: channels at the sub-frame rate.
        blocks: residual blocks at the latent rate.
        subframe_blocks: residual blocks at the sub-frame rate.
    """

    def __init__(
        self, latent_channels: int, width: int, subframe_width: int, blocks: int, subframe_blocks: int
    ) -> None:
        super().__init__()
        self.first = CausalConv(latent_channels, width)
        self.slow = nn.ModuleList(ResidualBlock(width) for _ in range(blocks))
        self.up = nn.Linear(width, SUBFRAMES * subframe_width)
        self.fast = nn.ModuleList(ResidualBlock(subframe_width) for _ in range(subframe_blocks))
        self.norm = nn.LayerNorm(subframe_width)

    def initial_pasts(self, batch_size: int) -> tuple[Tensor, ...]:
        """The state before the first frame: one tensor per convolution."""
        convs = [module for module in self.modules() if isinstance(module, CausalConv)]
        return tuple(conv.initial_past(batch_size, self.norm.weight) for conv in convs)

    def forward(self, latents_BTC: Tensor, pasts: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Hidden sub-frames BMD, and the pasts of the next call."""
        hidden, past = self.first(latents_BTC, pasts[0])
        new_pasts = [past]
        for block, past in zip(self.slow, pasts[1:], strict=False):
            hidden, past = block(hidden, past)
            new_pasts.append(past)
        hidden = self.up(hidden).unflatten(-1, (SUBFRAMES, -1)).flatten(-3, -2)
        for block, past in zip(self.fast, pasts[1 + len(self.slow) :], strict=True):
            hidden, past = block(hidden, past)
            new_pasts.append(past)
        return self.norm(hidden), tuple(new_pasts)
