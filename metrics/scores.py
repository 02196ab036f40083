"""Means that know how many items they stand for.

Shapes: G groups, R replicates, U songs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metrics.bootstrap import Floats, SongRows


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
        """Keep every item's score from now on, so that songs can be resampled."""
        self.keep_rows(width=2)

    def resampled(self, songs_U: Floats, counts_RU: Floats) -> Floats:
        """The mean per replicate, overall first and then per group, means_RG; nan where a replicate has no items.

        Args:
            songs_U: keys of the songs, ascending.
            counts_RU: how often every replicate draws every song.
        """
        keys, rows = self.rows_by_song()
        totals_UG, items_UG = (np.zeros((len(songs_U), len(self.total_G))) for _ in range(2))
        if len(rows):
            at = (np.searchsorted(songs_U, keys), rows[:, 0].astype(np.int64))
            np.add.at(totals_UG, at, rows[:, 1])
            np.add.at(items_UG, at, 1)
        totals_RG, items_RG = (
            counts_RU @ np.concatenate([sums_UG.sum(1, keepdims=True), sums_UG], axis=1)
            for sums_UG in (totals_UG, items_UG)
        )
        with np.errstate(invalid="ignore"):
            return np.asarray(totals_RG / items_RG)
