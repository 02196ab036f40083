"""Two channels as sum and difference, and as the encoder hears them.

Shapes: B batch, A audio channels, V views, N audio samples.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mid_side(audio: Tensor, dim: int = 1) -> Tensor:
    """Left and right to mid and side and back (its own inverse, energy preserving); mono stays as it is."""
    if audio.shape[dim] == 1:
        return audio
    left, right = audio.unbind(dim)
    return torch.stack([left + right, left - right], dim=dim) * 0.5**0.5


def views(audio_BAN: Tensor) -> Tensor:
    """The signals BVN whose magnitudes are taken: left, right and their difference; mono as it is.

    The magnitudes of left and right locate a sound. Those of mid and side cannot, because they are the same for a
    sound on the left and on the right. The magnitude of the difference says how wide the sound is; the energies of
    sum and difference add up to those of left and right.
    """
    return torch.cat([audio_BAN, mid_side(audio_BAN)[:, 1:]], dim=1)


def view_count(audio_channels: int) -> int:
    """V of `views` for a number of channels."""
    return 1 if audio_channels == 1 else 3
