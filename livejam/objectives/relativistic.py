"""Relativistic pairing losses of R3GAN (LiveBand equations 5 and 6).

Real and generated sequences are paired one to one with the same mix; B is the batch.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(real_B: Tensor, fake_B: Tensor) -> Tensor:
    """softplus(-(D(x) - D(x̂))) per pair: the real sequence should score above the generated one (equation 5)."""
    return F.softplus(fake_B - real_B)


def generator_loss(fake_B: Tensor, real_B: Tensor) -> Tensor:
    """softplus(-(D(x̂) - D(x))) per pair: the mirror image of `discriminator_loss` (equation 6).

    Gradient reaches the generator through D(x̂) alone; D(x) is a constant to it.
    """
    return F.softplus(real_B - fake_B)
