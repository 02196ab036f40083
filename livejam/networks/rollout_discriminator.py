"""ARC-Forcing's discriminator: a diffusion transformer's features of a whole sequence, and a head that scores its end.

Shapes: B batch, T latent frames, C latent channels, D width of the transformer, W channels of the head, M places of
the score map.
"""

from __future__ import annotations

import math
from typing import cast

from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from livejam.errors import UserError
from livejam.networks.conditioned_transformer import ConditionedTransformer
from livejam.networks.diffusion_conditions import DiffusionConditions
from livejam.networks.diffusion_masks import Bidirectional

KERNEL = 7
EXPANSION = 4


class ConvNeXtBlock(nn.Module):
    """x + W3·gelu(W2·depthwise7(x)), without normalisation of activations; the last map starts at zero.

    Args:
        channels: channels in and out (W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix_time = weight_norm(nn.Conv1d(channels, channels, KERNEL, padding=KERNEL // 2, groups=channels))
        self.expand = weight_norm(nn.Conv1d(channels, EXPANSION * channels, 1))
        reduce = nn.Conv1d(EXPANSION * channels, channels, 1)
        nn.init.zeros_(cast(Tensor, reduce.bias))
        self.reduce = weight_norm(reduce)
        # the length of the weight vectors is a separate parameter: zero length, but a direction to grow in
        nn.init.zeros_(cast(Tensor, self.reduce.parametrizations.weight.original0))
        self.activation = nn.GELU()

    def forward(self, x_BWT: Tensor) -> Tensor:
        return x_BWT + self.reduce(self.activation(self.expand(self.mix_time(x_BWT))))


class ScoreHead(nn.Module):
    """Weight-normed ConvNeXt stages from hidden states to a map of scores over time (ARC, appendix).

    Args:
        width: channels of the hidden states (D).
        channels: channels of the first stage.
        multipliers: channels after each stage, in multiples of `channels`.
        strides: stride of each stage.
        blocks: ConvNeXt blocks in each stage, before its strided convolution.

    Raises:
        UserError: the three lists differ in length.
    """

    def __init__(
        self,
        width: int,
        channels: int = 128,
        multipliers: tuple[int, ...] = (1, 2, 4),
        strides: tuple[int, ...] = (1, 2, 2),
        blocks: tuple[int, ...] = (2, 2, 2),
    ) -> None:
        super().__init__()
        if not len(multipliers) == len(strides) == len(blocks):
            raise UserError(
                f"multipliers {tuple(multipliers)}, strides {tuple(strides)} and blocks {tuple(blocks)} differ in "
                "length; give one number per stage"
            )
        self.width = width
        layers: list[nn.Module] = [weight_norm(nn.Conv1d(width, channels, KERNEL, padding=KERNEL // 2))]
        inside = channels
        for multiplier, stride, count in zip(multipliers, strides, blocks, strict=True):
            outside = multiplier * channels
            layers += [ConvNeXtBlock(inside) for _ in range(count)]
            padding = math.ceil(stride / 2)
            layers.append(weight_norm(nn.Conv1d(inside, outside, 2 * stride, stride=stride, padding=padding)))
            inside = outside
        layers.append(weight_norm(nn.Conv1d(inside, 1, 3, padding=1)))
        self.layers = nn.Sequential(*layers)
        self.stride = math.prod(strides)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        """score_BM, M = T / the product of the strides, for T a multiple of it."""
        return self.layers(hidden_BTD.transpose(1, 2)).squeeze(1)


class RolloutDiscriminator(nn.Module):
    """A discriminator that hears context, rollout, prompt and mix together, and scores the frames of the rollout.

    The context is real in real and in generated sequences, so its score would mean nothing; the rollout's does. Base
    and head are both trained.

    Args:
        base: a bidirectional transformer with its encoders, preferably trained by flow matching on sequences as long as
            context and rollout.
        layer: index of the block whose output is scored; 12 of 0 … 15 in the paper, 8 with a mix.
        head: the head, of the transformer's width; None = the paper's.

    Raises:
        UserError: the layer, the mask or the head does not fit.
    """

    def __init__(self, base: ConditionedTransformer, layer: int = 12, head: ScoreHead | None = None) -> None:
        super().__init__()
        backbone, depth = base.transformer, len(base.transformer.layers)
        if not 0 <= layer < depth:
            raise UserError(f"layer is {layer}, but the discriminator's base has the layers 0 to {depth - 1}")
        if not isinstance(backbone.mask, Bidirectional):
            raise UserError(
                f"the discriminator's base has the mask {type(backbone.mask).__name__}, but must hear sequences as a "
                "whole; give it mask: null"
            )
        if head is not None and head.width != backbone.width:
            raise UserError(
                f"the head's width is {head.width}, but its base has width {backbone.width}; make them equal"
            )
        self.base = base
        self.layer = layer
        self.head = ScoreHead(backbone.width) if head is None else head
        # later layers do not affect the score: there is nothing to train, and nothing for ranks to exchange
        for behind in (*backbone.layers[layer + 1 :], backbone.project_out, backbone.after):
            behind.requires_grad_(False)

    def forward(
        self, noisy_BTC: Tensor, time_B: Tensor, conditions: DiffusionConditions, rollout_frames: int
    ) -> Tensor:
        """score_BM of the last `rollout_frames` of the sequence.

        Args:
            noisy_BTC: context and rollout at noise level `time_B`.
            time_B: noise level in [0, 1].
            conditions: conditions of the whole sequence; the context is a part of the sequence and not a condition
                here.
            rollout_frames: frames of the rollout, 1 … T.

        Raises:
            UserError: the rollout is longer than the sequence, or not a multiple of the head's stride.
        """
        frames = noisy_BTC.shape[1]
        if not 0 < rollout_frames <= frames or rollout_frames % self.head.stride:
            raise UserError(
                f"{rollout_frames} rollout frames cannot be scored in a sequence of {frames}; let the frames of a "
                f"block be a multiple of {self.head.stride}"
            )
        hidden_BTD = self.base.transformer.features(noisy_BTC, time_B, conditions, self.layer + 1)
        return self.head(hidden_BTD[:, -rollout_frames:])
