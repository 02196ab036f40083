"""Learning rates that rise at the start."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def linear_warmup(optimizer: Optimizer, steps: float) -> LambdaLR:
    """The optimiser's own rate after so many of its steps, a linear rise from 0 until then.

    Args:
        optimizer: of one network.
        steps: of the optimiser; 0 = no rise.
    """
    return LambdaLR(optimizer, lambda done: min(1.0, (done + 1) / max(1, steps)))
