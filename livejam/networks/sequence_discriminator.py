"""LiveBand's discriminator: R3GAN's residual blocks over time, one logit per sequence.

Everything stays channels-last: 1×1 convolutions are matrix products and the grouped convolution reads the
same memory as a one-row image, which is the fastest layout on CPUs and GPUs alike.

Shapes: B batch, T latent frames, C latent channels, W width, E channels of a reference, F features of one.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from livejam.networks.reference_features import ReferenceFeatures, silent_projection

LEAK = 0.2
ACTIVATION_GAIN = math.sqrt(2 / (1 + LEAK**2))


def _normal(fan_in: int, *shape: int, gain: float) -> nn.Parameter:
    """Normal weights that scale a signal's variance by gain²."""
    return nn.Parameter(torch.randn(*shape) * (gain / math.sqrt(fan_in)))


class ResidualBlock(nn.Module):
    """x + W3·lrelu(b2 + grouped3(lrelu(b1 + W1·(x·scale[class])))), without normalisation (R3GAN section 3).

    The first two maps are initialised with gain · L^(-1/4) for L blocks (Fixup), the last one with
    `residual_gain`, so that depth does not change the variance at the start.

    Args:
        width: channels in and out (W).
        hidden: channels of the two inner maps.
        groups: groups of the width-3 convolution; divides `hidden`.
        classes: instrument classes, the null class included.
        total_blocks: residual blocks in the whole network (L).
        residual_gain: gain of the last map at the start; 0 is R3GAN's own setting.
        anticipations: how many anticipations have a scale of their own, as classes have; 0 = none has.
        references: whether the features of a reference change the scale.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        groups: int,
        classes: int,
        total_blocks: int,
        residual_gain: float,
        anticipations: int = 0,
        references: bool = False,
    ) -> None:
        super().__init__()
        gain = ACTIVATION_GAIN * total_blocks**-0.25
        self.groups = groups
        self.class_scale = nn.Embedding(classes, width)
        nn.init.ones_(self.class_scale.weight)
        self.expand = _normal(width, hidden, width, gain=gain)
        self.expand_bias = nn.Parameter(torch.zeros(hidden))
        self.mix_time = _normal(3 * hidden // groups, hidden, hidden // groups, 1, 3, gain=gain)
        self.mix_time_bias = nn.Parameter(torch.zeros(hidden))
        self.reduce = _normal(hidden, width, hidden, gain=residual_gain)
        self.anticipation_scale = nn.Embedding(anticipations, width) if anticipations else None
        if self.anticipation_scale is not None:
            nn.init.ones_(self.anticipation_scale.weight)
        self.reference_scale = silent_projection(width) if references else None

    def forward(
        self,
        x_BTW: Tensor,
        instrument_B: Tensor,
        anticipation_B: Tensor | None = None,
        features_BF: Tensor | None = None,
    ) -> Tensor:
        scale_BW = self.class_scale(instrument_B)
        if self.reference_scale is not None and features_BF is not None:
            scale_BW = scale_BW * (1 + self.reference_scale(features_BF))
        if self.anticipation_scale is not None:
            scale_BW = scale_BW * self.anticipation_scale(anticipation_B)
        y = F.linear(x_BTW * scale_BW[:, None], self.expand, self.expand_bias)
        y = F.leaky_relu(y, LEAK)
        image = y.unsqueeze(1).permute(0, 3, 1, 2)
        kernel = self.mix_time.contiguous(memory_format=torch.channels_last)
        image = F.conv2d(image, kernel, self.mix_time_bias, padding=(0, 1), groups=self.groups)
        y = F.leaky_relu(image.permute(0, 2, 3, 1).squeeze(1), LEAK)
        return x_BTW + F.linear(y, self.reduce)


def halve(x_BTW: Tensor) -> Tensor:
    """Half the frame rate: the mean of neighbours (a stride-2 box filter)."""
    batch, frames, width = x_BTW.shape
    return x_BTW.view(batch, frames // 2, 2, width).mean(dim=2)


class SequenceDiscriminator(nn.Module):
    """A network that scores how well a whole accompaniment sounds like music that fits a whole mix.

    It is not causal, because it is used in training only, where it may hear the future of both.

    Args:
        latent_channels: channels of a codec latent (C); accompaniment and mix are concatenated to 2C.
        width: channels at every level (W).
        levels: temporal resolutions; each has half the frames of the one before.
        blocks_per_level: residual blocks at each level.
        expansion: inner channels of a block, in widths.
        groups: groups of the width-3 convolution; divides `width` · `expansion`.
        classes: instrument classes, the null class included.
        residual_gain: gain of each block's last map at the start, ≥ 0; 0 as in R3GAN leaves the network linear at
            first, and the discriminator learns nothing for hundreds of iterations; with 0.3 it starts within about 100.
        anticipations: how many anticipations δ = 0, 1, … it tells apart, as it does classes; 0 = it is not told how far
            ahead what it judges was played.
        reference_channels: channels of the embedding of a reference that it is told, as the generator; 0 = it is not.
    """

    def __init__(
        self,
        latent_channels: int,
        width: int = 1792,
        levels: int = 5,
        blocks_per_level: int = 2,
        expansion: int = 2,
        groups: int = 16,
        classes: int = 19,
        residual_gain: float = 0.0,
        anticipations: int = 0,
        reference_channels: int = 0,
    ) -> None:
        super().__init__()
        self.latent_channels, self.classes, self.anticipations = latent_channels, classes, anticipations
        self.reference_channels, references = reference_channels, reference_channels > 0
        if width * expansion % groups:
            raise ValueError(f"width × expansion ({width} × {expansion}) must be divisible by groups ({groups})")
        total = levels * blocks_per_level
        self.frame_multiple = 2 ** (levels - 1)
        self.project_in = _normal(2 * latent_channels, width, 2 * latent_channels, gain=1.0)
        self.blocks_per_level = blocks_per_level
        self.blocks = nn.ModuleList(
            ResidualBlock(width, width * expansion, groups, classes, total, residual_gain, anticipations, references)
            for _ in range(total)
        )
        self.head = nn.Linear(width, 1)
        self.reference_features = ReferenceFeatures(reference_channels) if references else None

    def forward(
        self,
        accompaniment_BTC: Tensor,
        mix_BTC: Tensor,
        instrument_B: Tensor,
        anticipation_B: Tensor | None = None,
        reference_BE: Tensor | None = None,
    ) -> Tensor:
        """One logit per sequence, logit_B.

        Args:
            accompaniment_BTC: what is judged.
            mix_BTC: the mix that sounds with it.
            instrument_B: class index per row.
            anticipation_B: δ per row, for a network with `anticipations`; others ignore it.
            reference_BE: embeddings of references, for a network with `reference_channels`; others ignore them. None,
                or a row of zeros = no reference.

        Raises:
            ValueError: T is no multiple of 2^(levels - 1), or the network needs to know δ and is not told.
        """
        if self.anticipations and anticipation_B is None:
            raise ValueError("this network judges several anticipations; say which")
        frames = accompaniment_BTC.shape[1]
        if frames % self.frame_multiple:
            raise ValueError(f"{frames} frames are no multiple of {self.frame_multiple} (2^(levels - 1))")
        x_BTW = F.linear(torch.cat((accompaniment_BTC, mix_BTC), dim=-1), self.project_in)
        features_BF = None
        if self.reference_features is not None and reference_BE is not None:
            features_BF = self.reference_features(reference_BE)
        for index, block in enumerate(self.blocks):
            starts_level = index > 0 and index % self.blocks_per_level == 0
            x_BTW = block(halve(x_BTW) if starts_level else x_BTW, instrument_B, anticipation_B, features_BF)
        return self.head(x_BTW.mean(dim=1)).squeeze(-1)
