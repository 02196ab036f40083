"""Means that know how many items they stand for.

Shapes: G groups.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric


class Summary(NamedTuple):
    """Sums of scores per group; the mean of no items is nan."""

    total_G: Tensor
    count_G: Tensor
    excluded_G: Tensor

    @property
    def mean(self) -> float:
        """Mean over all items."""
        return float(self.total_G.sum()) / self.items if self.items else math.nan

    @property
    def items(self) -> int:
        """Items that have a value."""
        return int(self.count_G.sum())

    @property
    def excluded(self) -> int:
        """Items whose score is undefined (nan)."""
        return int(self.excluded_G.sum())

    def group(self, index: int) -> Summary:
        """The summary of one group alone."""
        return Summary(*(sums.reshape(-1)[index] for sums in self))


class MeanScore(Metric):
    """Mean of one score per item, overall and per group; undefined items are excluded and counted.

    Args:
        groups: number of groups that items fall into (≥ 1), for instance instrument categories.
    """

    full_state_update = False
    total_G: Tensor
    count_G: Tensor
    excluded_G: Tensor

    def __init__(self, groups: int = 1) -> None:
        super().__init__()
        for name, dtype in (("total_G", torch.float64), ("count_G", torch.int64), ("excluded_G", torch.int64)):
            self.add_state(name, torch.zeros(groups, dtype=dtype), dist_reduce_fx="sum")

    def update(self, value: float, group: int = 0) -> None:
        """Add the score of one item; nan means undefined.

        Args:
            value: the score.
            group: index of the item's group.

        Raises:
            ValueError: the score is infinite.
        """
        if math.isinf(value):
            raise ValueError("a score is infinite; give nan where it is undefined")
        if math.isnan(value):
            self.excluded_G[group] += 1
        else:
            self.total_G[group] += value
            self.count_G[group] += 1

    def compute(self) -> Summary:
        """Sums over all items and ranks."""
        return Summary(self.total_G, self.count_G, self.excluded_G)
