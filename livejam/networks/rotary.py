"""Rotary positions on the first channels of every head, at any position, and moved from one to another.

Shapes: B batch, T frames, S queries and keys, H heads, E channels per head, R rotated channels (R ≤ E).
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


def rotate(x_BTSHE: Tensor, table: RotaryTable) -> Tensor:
    """Turn every head by its position's angle; rotations add up, so a second one moves to another position.

    Args:
        x_BTSHE: heads H of any number S of sequences, positions in the second dimension.
        table: angles of T positions, or of one, for all of them.
    """
    cosine, sine = (part[:, None, None] for part in table)
    rotated = cosine.shape[-1]
    turning = x_BTSHE[..., :rotated].to(cosine.dtype)
    swapped = turning.roll(rotated // 2, dims=-1)
    turned = torch.addcmul(turning * cosine, swapped, sine)
    return turned if rotated == x_BTSHE.shape[-1] else torch.cat((turned, x_BTSHE[..., rotated:].to(turned)), dim=-1)
