"""When two results are the same: bit for bit where the same kernel ran on the same shapes, else up to rounding."""

from __future__ import annotations

import torch
from torch import Tensor

SESSION = 64
"""Roundings of what sessions play: one of the codec's or of the network's goes through many layers, and guidance."""


def assert_same_up_to_rounding(ours: Tensor, theirs: Tensor, roundings: int = 8) -> None:
    """Two ways to one result differ by no more than a few roundings of its largest value.

    A batch and its items, a stream and the whole, with a cache and without, one thread and two: shapes, threads and
    the width of the processor's vectors decide in which order a kernel adds, and whether a value is computed in the
    vector loop or in the loop for what is left over, which may round otherwise. Bits that agree on one machine differ
    on the next. `torch.equal` is right where the same kernel gets the same shapes (resumed runs, copies, snapshots,
    data that are only moved) and for integers.

    Args:
        ours: one way's result.
        theirs: the other's: the same shape and type.
        roundings: the tolerance in units of the type's `eps` at the largest value of `theirs`.
    """
    assert theirs.isfinite().all(), "what is not finite has no size to compare with"
    tolerance = roundings * torch.finfo(theirs.dtype).eps * float(theirs.abs().max())
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)
