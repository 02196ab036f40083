"""Rotary positions on the first channels of every head, at any position, and moved from one to another.

Shapes: B batch, H heads, T frames, E channels per head, R rotated channels (R ≤ E).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

RotaryTable = tuple[Tensor, Tensor]
"""Cosines and sines (T, R) of the positions' angles; the sines of the first half are negative."""


class Rotary(nn.Module):
    """Frequencies of partial rotary positions, kept in the weights, as published checkpoints have them.

    Args:
        head_channels: channels per head (E).
        base: the slowest channel turns by 1 / base of the fastest, about.
    """

    inverse_frequency: Tensor

    def __init__(self, head_channels: int, base: float) -> None:
        super().__init__()
        rotated = min(head_channels, max(head_channels // 2, 32))
        exponent = torch.arange(0, rotated, 2).float() / rotated
        self.register_buffer("inverse_frequency", base**-exponent)

    def table(self, position_T: Tensor) -> RotaryTable:
        """The angles of some positions, which may be any integers, negative ones included."""
        frequency = self.inverse_frequency
        precision = torch.promote_types(frequency.dtype, torch.float32)
        angle = position_T.to(precision)[:, None] * frequency.to(precision)
        cosine, sine = angle.cos(), angle.sin()
        return torch.cat((cosine, cosine), dim=-1), torch.cat((-sine, sine), dim=-1)


def rotate(x_BHTE: Tensor, table: RotaryTable) -> Tensor:
    """Turn every head by its position's angle; rotations add up, so a second one moves to another position."""
    cosine_TR, sine_TR = table
    rotated = cosine_TR.shape[-1]
    turning = x_BHTE[..., :rotated].to(cosine_TR.dtype)
    swapped = turning.roll(rotated // 2, dims=-1)
    turned = torch.addcmul(turning * cosine_TR, swapped, sine_TR).to(x_BHTE.dtype)
    return turned if rotated == x_BHTE.shape[-1] else torch.cat((turned, x_BHTE[..., rotated:]), dim=-1)
