"""Exponential moving averages of weights."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def update_average(averaged: nn.Module, trained: nn.Module, decay: float, iteration: int) -> None:
    """Move averaged weights towards trained ones.

    Args:
        averaged: same parameters as `trained`; changed in place.
        trained: the network that an optimiser has just changed.
        decay: in [0, 1), reached as training goes on.
        iteration: iterations done before this one, 0 or more. The average's memory grows with the run, so that it
            forgets the untrained start.
    """
    decay = min(decay, (1 + iteration) / (10 + iteration))
    torch._foreach_lerp_(list(averaged.parameters()), list(trained.parameters()), 1 - decay)
