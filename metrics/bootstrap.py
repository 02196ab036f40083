"""How sure a number is: intervals from resampled songs.

Items of one song are not independent of each other, so whole songs are drawn, with replacement.

Shapes: R replicates, U songs, K columns of a row.
"""

from __future__ import annotations

import math
import zlib
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

Floats = NDArray[np.floating[Any]]

LEVEL = 0.95
"""Share of replicates that an interval holds."""

SEED = 0


class Interval(NamedTuple):
    """Where a number would lie, had other songs been drawn; nan where that cannot be said."""

    low: float
    high: float


UNKNOWN = Interval(math.nan, math.nan)


def multiplicities(songs: int, replicates: int) -> NDArray[np.int64]:
    """How often each replicate draws each song, counts_RU; every call gives the same numbers.

    Args:
        songs: number of songs (≥ 1), of which every replicate draws as many.
        replicates: number of replicates.
    """
    return np.random.default_rng(SEED).multinomial(songs, np.full(songs, 1 / songs), size=replicates)


def percentile_interval(value: float, replicates_R: Floats) -> Interval:
    """Quantiles of the replicates (Efron 1979), for means.

    Args:
        value: the number itself, which only decides whether there is one.
        replicates_R: the number of every replicate; undefined ones (nan) are left out.

    Returns:
        Both ends, nan if the number or more than half of its replicates are undefined.
    """
    defined = _defined(value, replicates_R)
    if not len(defined):
        return UNKNOWN
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def normal_interval(value: float, replicates_R: Floats) -> Interval:
    """The number ± 1.96 standard deviations of its replicates, for distances.

    A replicate has fewer distinct songs than the sample and hence a larger Fréchet distance, so quantiles would lie
    beside the number. Their spread is what other songs would change; the bias that comes from few items it does not
    show. A few dozen replicates are enough for it.

    Args:
        value: the number itself.
        replicates_R: the number of every replicate; undefined ones (nan) are left out.
    """
    defined = _defined(value, replicates_R)
    if len(defined) < 2:
        return UNKNOWN
    half_width = 1.96 * float(np.std(defined, ddof=1))
    return Interval(value - half_width, value + half_width)


def _defined(value: float, replicates_R: Floats) -> Floats:
    """The replicates that have a number; none if the sample has none, or most of them have none."""
    defined = replicates_R[np.isfinite(replicates_R)]
    return defined if math.isfinite(value) and 2 * len(defined) >= len(replicates_R) else defined[:0]


class SongRows(Metric):
    """A metric that, if asked, also keeps rows of numbers per song, from which replicates are made.

    Rows grow with the number of items, sums do not: a test keeps them, a validation need not.
    """

    rows: list[Tensor]

    def keep_rows(self, width: int) -> None:
        """From now on rows are kept.

        Args:
            width: columns of a row, without the song.
        """
        self.add_state("rows", [], dist_reduce_fx="cat")
        # Processes gather rows of equal width, also from one that has none.
        self.rows.append(torch.zeros(0, 1 + width, dtype=torch.float64))

    def add_rows(self, song: str | None, rows_K: Tensor) -> None:
        """Keep rows, if they are wanted.

        Args:
            song: name of the song they come from; rows of unknown songs cannot be resampled and are dropped.
            rows_K: one row per line.
        """
        if hasattr(self, "rows") and song is not None:
            key = torch.full((len(rows_K), 1), float(zlib.crc32(song.encode())), dtype=torch.float64)
            self.rows.append(torch.cat([key, rows_K.detach().double().cpu()], dim=1).to(self.rows[0].device))

    def rows_by_song(self) -> tuple[Floats, Floats]:
        """The keys of all rows' songs, and the rows; of all processes within `sync_context`."""
        if not hasattr(self, "rows"):
            return np.zeros(0), np.zeros((0, 0))
        rows = torch.cat(self.rows) if isinstance(self.rows, list) else self.rows
        table = rows.cpu().numpy()
        return table[:, 0], table[:, 1:]
