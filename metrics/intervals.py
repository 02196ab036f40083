"""Intervals of uncertainty, from leaving songs out.

Items of one song are not independent of each other, so whole songs are left out, one at a time.

Shapes: U songs, or groups of songs; K columns of a row; S runs with seeds of their own.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit
from torch import Tensor
from torchmetrics import Metric

Floats = NDArray[np.floating[Any]]

LEVEL = 0.95
"""The share of intervals that should contain the true value."""

FEWEST_SONGS = 5
"""With fewer songs there is no interval, because it would mean nothing."""


MOST_GROUPS = 50
"""With more songs than this, they are left out of a distance in groups, because it costs more than a mean."""


class Interval(NamedTuple):
    """Where a number would lie for other songs; nan where that is not known."""

    low: float
    high: float


UNKNOWN = Interval(math.nan, math.nan)


def groups_of(songs_U: Floats) -> list[Floats]:
    """Songs that are left out together: each alone, or fifty groups of equal size.

    Args:
        songs_U: a number for every song.
    """
    return [songs_U[i::MOST_GROUPS] for i in range(min(len(songs_U), MOST_GROUPS))]


def jackknife_interval(value: float, left_out_U: Floats) -> Interval:
    """The number ± Student's quantile times its standard error by the jackknife (Tukey 1958).

    For a mean with equally many items per song it is the t interval of the songs' means. Percentiles of resampled songs
    would be too narrow: with five songs they contain the true value in 83 of 100 cases. Leaving one song out changes a
    distance little, whereas drawing with replacement, which leaves a third of the songs out, makes it larger.

    Args:
        value: the number itself.
        left_out_U: the number without each of the songs, or equally large groups of songs, that it is about.

    Returns:
        Both ends; nan if the number or one of the others is undefined, or if there are fewer than five songs.
    """
    songs = len(left_out_U)
    if songs < FEWEST_SONGS or not (math.isfinite(value) and np.isfinite(left_out_U).all()):
        return UNKNOWN
    error = math.sqrt((songs - 1) / songs * float(np.square(left_out_U - left_out_U.mean()).sum()))
    half_width = float(stdtrit(songs - 1, (1 + LEVEL) / 2)) * error
    return Interval(value - half_width, value + half_width)


def seeds_interval(values_S: Sequence[float]) -> Interval:
    """Student's t interval of the mean of runs that differ in the seed alone.

    It says where the mean of many such runs would lie. With two or three runs it is wide, as it should be.

    Args:
        values_S: the number of each run; of fewer than two runs, or if one is undefined, nothing can be said.
    """
    values = np.asarray(values_S, dtype=np.float64)
    if len(values) < 2 or not np.isfinite(values).all():
        return UNKNOWN
    half_width = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2) * values.std(ddof=1) / math.sqrt(len(values)))
    return Interval(float(values.mean()) - half_width, float(values.mean()) + half_width)


def positive_interval(value: float, left_out_U: Floats) -> Interval:
    """The interval of a number that cannot be negative, such as a distance: that of its logarithm, transformed back.

    Distances over songs are skewed, with a few far larger than the others; their logarithms are less so.

    Args:
        value: the number itself.
        left_out_U: as in `jackknife_interval`, to which it falls back where a logarithm does not exist.
    """
    if not (value > 0 and (left_out_U > 0).all()):
        return jackknife_interval(value, left_out_U)
    return Interval(*map(math.exp, jackknife_interval(math.log(value), np.log(left_out_U))))


class SongRows(Metric):
    """A metric that can also keep rows of numbers per song, so that songs can be left out.

    Rows grow with the number of items, and sums do not: a test keeps rows, a validation need not.
    """

    rows: list[Tensor]

    def keep_songs(self) -> None:
        """From now on, keep rows for leaving songs out; memory then grows with the number of items."""
        raise NotImplementedError

    def keep_rows(self, width: int) -> None:
        """From now on, rows are kept.

        Args:
            width: columns of a row, without the song.
        """
        self.add_state("rows", [], dist_reduce_fx="cat")
        # Processes gather rows of equal width, even from one that has none.
        self.rows.append(torch.zeros(0, 1 + width, dtype=torch.float64))

    def add_rows(self, song: str | None, rows_K: Tensor) -> None:
        """Keep rows, if rows are kept at all.

        Args:
            song: name of the song they come from; rows of unknown songs cannot be left out and are dropped.
            rows_K: one row per line.
        """
        if hasattr(self, "rows") and song is not None:
            key = torch.full((len(rows_K), 1), float(zlib.crc32(song.encode())), dtype=torch.float64)
            self.rows.append(torch.cat([key, rows_K.detach().double().cpu()], dim=1).to(self.rows[0].device))

    def rows_by_song(self) -> tuple[Floats, Floats]:
        """The keys of all rows' songs, and the rows; of all processes within `sync_context`."""
        if not hasattr(self, "rows"):
            return np.zeros(0), np.zeros((0, 1))
        rows = torch.cat(self.rows) if isinstance(self.rows, list) else self.rows
        table = rows.cpu().numpy()
        return table[:, 0], table[:, 1:]
