"""Means that keep the number of their items.

Shapes: G groups, U songs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metrics.intervals import Floats, SongRows


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


class MeanScore(SongRows):
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

    def update(self, value: float, group: int = 0, song: str | None = None) -> None:
        """Add the score of one item; nan means undefined.

        Args:
            value: the score.
            group: index of the item's group.
            song: name of the item's song, for intervals; None leaves the item out of them.

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
            self.add_rows(song, torch.tensor([[group, value]], dtype=torch.float64))

    def compute(self) -> Summary:
        """Sums over all items and ranks."""
        return Summary(self.total_G, self.count_G, self.excluded_G)

    def keep_songs(self) -> None:
        """Keep every item's score from now on, so that songs can be left out."""
        self.keep_rows(width=2)

    def left_out(self) -> list[Floats]:
        """The mean without each of the songs that have items: means_U overall, and then of every group.

        Songs are those of all processes within `sync_context`; none unless they are kept.
        """
        keys, rows = self.rows_by_song()
        songs_U, at = np.unique(keys, return_inverse=True)
        totals_UG, items_UG = (np.zeros((len(songs_U), len(self.total_G))) for _ in range(2))
        if len(rows):
            groups = rows[:, 0].astype(np.int64)
            np.add.at(totals_UG, (at, groups), rows[:, 1])
            np.add.at(items_UG, (at, groups), 1)
        overall = without_each(totals_UG.sum(1), items_UG.sum(1))
        return [overall, *(without_each(*sums) for sums in zip(totals_UG.T, items_UG.T, strict=True))]


def without_each(totals_U: Floats, items_U: Floats) -> Floats:
    """The mean without each of the songs that have items."""
    totals_U, items_U = totals_U[items_U > 0], items_U[items_U > 0]
    if len(items_U) < 2:
        return np.full(len(items_U), math.nan)
    return np.asarray((totals_U.sum() - totals_U) / (items_U.sum() - items_U))
