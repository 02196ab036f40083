"""EfficientNet-B0 (Tan & Le 2019) without its classifier, as published COCOLA weights expect it.

Names of parameters, and the padding that makes output sizes of strided convolutions round up, are those of the
`efficientnet_pytorch` package: that is what the weights were saved from.

Shapes: B batch, C channels, H height (mel bands), W width (frames).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, kernel, stride of the first block, expansion, channels."""

STEM_CHANNELS, HEAD_CHANNELS = 32, 1280
DROP_PATH = 0.2
"""Probability that a training item skips the last block; it rises from 0 at the first."""


class PaddedConv2d(nn.Conv2d):
    """A convolution without bias, padded as for images of even size: a stride of 2 pads less at the beginning."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)
        total = kernel - stride
        before, after = total // 2, total - total // 2
        self.margins = (before, after, before, after)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Pad, convolve."""
        return super().forward(F.pad(x_BCHW, self.margins))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class MBConv(nn.Module):
    """Expand, convolve every channel alone, weight channels by the content of the whole image, project back.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: kernel of the depthwise convolution.
        stride: stride of the depthwise convolution.
        expansion: how many times more channels inside.
        drop_path: probability that a training item skips the block.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, drop_path: float) -> None:
        super().__init__()
        inner, squeezed = inputs * expansion, max(1, inputs // 4)
        if expansion > 1:
            self._expand_conv = PaddedConv2d(inputs, inner, 1)
            self._bn0 = _norm(inner)
        self._depthwise_conv = PaddedConv2d(inner, inner, kernel, stride, groups=inner)
        self._bn1 = _norm(inner)
        self._se_reduce = nn.Conv2d(inner, squeezed, 1)
        self._se_expand = nn.Conv2d(squeezed, inner, 1)
        self._project_conv = PaddedConv2d(inner, outputs, 1)
        self._bn2 = _norm(outputs)
        self.expands, self.drop_path = expansion > 1, drop_path
        self.has_skip = stride == 1 and inputs == outputs

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The block's output, added to its input where both have the same shape."""
        h = F.silu(self._bn0(self._expand_conv(x_BCHW))) if self.expands else x_BCHW
        h = F.silu(self._bn1(self._depthwise_conv(h)))
        squeezed = F.silu(self._se_reduce(h.mean((2, 3), keepdim=True)))
        h = self._bn2(self._project_conv(h * torch.sigmoid(self._se_expand(squeezed))))
        return x_BCHW + self._dropped(h) if self.has_skip else h

    def _dropped(self, h_BCHW: Tensor) -> Tensor:
        """The block's output, 0 for some of the training items and larger for the others."""
        if not self.training or not self.drop_path:
            return h_BCHW
        keep = 1 - self.drop_path
        kept_B = torch.rand(len(h_BCHW), 1, 1, 1, device=h_BCHW.device) < keep
        return h_BCHW * kept_B / keep


class EfficientNetB0(nn.Module):
    """Images BCHW to 1280 averages over the image, shape (B, 1280).

    Args:
        inputs: channels of the image.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self._conv_stem = PaddedConv2d(inputs, STEM_CHANNELS, 3, 2)
        self._bn0 = _norm(STEM_CHANNELS)
        blocks, channels, depth = list[MBConv](), STEM_CHANNELS, sum(stage[0] for stage in STAGES)
        for repeats, kernel, stride, expansion, outputs in STAGES:
            for repeat in range(repeats):
                path = DROP_PATH * len(blocks) / depth
                blocks.append(MBConv(channels, outputs, kernel, 1 if repeat else stride, expansion, path))
                channels = outputs
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = PaddedConv2d(channels, HEAD_CHANNELS, 1)
        self._bn1 = _norm(HEAD_CHANNELS)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Stem, blocks, head, average."""
        h = F.silu(self._bn0(self._conv_stem(x_BCHW)))
        for block in self._blocks:
            h = block(h)
        return F.silu(self._bn1(self._conv_head(h))).mean((2, 3))
