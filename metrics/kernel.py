"""The kernel audio distance between two clouds of embeddings.

Shapes: W, X embeddings of two clouds, D width, G groups of songs that are left out together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.clouds import Cloud, Estimate, songs_of
from metrics.intervals import Floats, groups_of

SCALE = 100.0
"""kadtk's, so that numbers have digits before the point."""

MOST_EMBEDDINGS = 5_000
"""Of larger clouds an even selection is compared: every pair costs time, and the estimate is unbiased without all."""

MOST_FOR_BANDWIDTH = 2_000
ROWS_AT_ONCE = 512


def median_distance(x_WD: Tensor) -> float:
    """The median distance of two different embeddings of a cloud, of at most 2000 of them; nan with fewer than two."""
    x_WD = x_WD.double()[evenly(len(x_WD), MOST_FOR_BANDWIDTH)]
    return float(torch.pdist(x_WD).median()) if len(x_WD) >= 2 else math.nan


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """Places of all of so many, or of the most that are wanted, at equal distances."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


@dataclass(frozen=True)
class KernelSums:
    """Sums of a kernel over pairs of embeddings, by the groups that both belong to.

    Args:
        real_GG: over pairs of different embeddings of the reference.
        fake_GG: over pairs of different embeddings of what is judged.
        across_GG: over pairs of one of each.
        real_G: embeddings of the reference.
        fake_G: embeddings of what is judged.
    """

    real_GG: Floats
    fake_GG: Floats
    across_GG: Floats
    real_G: Floats
    fake_G: Floats

    def distance(self, keep_G: Floats | None = None) -> float:
        """The unbiased squared maximum mean discrepancy × 100 (Chung et al. 2025, equation 4), which may be below 0.

        Args:
            keep_G: 1 for groups that count, 0 for the others; None = all count.

        Returns:
            nan if one of the clouds has fewer than two embeddings.
        """
        keep_G = np.ones(len(self.real_G)) if keep_G is None else keep_G
        real, fake = float(keep_G @ self.real_G), float(keep_G @ self.fake_G)
        if min(real, fake) < 2:
            return math.nan
        within = keep_G @ self.real_GG @ keep_G / (real * (real - 1)) + keep_G @ self.fake_GG @ keep_G / (
            fake * (fake - 1)
        )
        return SCALE * float(within - 2 * (keep_G @ self.across_GG @ keep_G) / (real * fake))

    def left_out(self) -> Floats:
        """The distance without each of the groups, in one and the same bandwidth."""
        return np.array([self.distance(keep_G) for keep_G in 1 - np.eye(len(self.real_G))])


def kernel_sums(
    real_WD: Tensor,
    real_W: Tensor,
    fake_XD: Tensor,
    fake_X: Tensor,
    groups: int,
    bandwidth: float,
    real_GG: Floats | None = None,
) -> KernelSums:
    """Sums of the Gaussian kernel exp(-‖x - y‖² / 2 bandwidth²), without ever holding all pairs.

    Args:
        real_WD: embeddings of the reference.
        real_W: group of each, from 0.
        fake_XD: embeddings of what is judged.
        fake_X: group of each.
        groups: their number.
        bandwidth: width of the kernel, above 0.
        real_GG: the sums of the reference, where they were computed for something else that is judged; None = not yet.
    """
    real, fake = (real_WD.double(), real_W), (fake_XD.double(), fake_X)
    real_G, fake_G = (np.bincount(of.numpy(), minlength=groups).astype(np.float64) for of in (real_W, fake_X))
    # an embedding and itself are no pair
    real_GG = _sums(*real, *real, groups, bandwidth) - np.diag(real_G) if real_GG is None else real_GG
    fake_GG = _sums(*fake, *fake, groups, bandwidth) - np.diag(fake_G)
    return KernelSums(real_GG, fake_GG, _sums(*real, *fake, groups, bandwidth), real_G, fake_G)


def _sums(x_WD: Tensor, x_W: Tensor, y_XD: Tensor, y_X: Tensor, groups: int, bandwidth: float) -> Floats:
    sums_GG = torch.zeros(groups, groups, dtype=torch.float64)
    for rows_WD, rows_W in zip(x_WD.split(ROWS_AT_ONCE), x_W.split(ROWS_AT_ONCE), strict=True):
        kernel_WX = torch.exp(torch.cdist(rows_WD, y_XD).square() / (-2 * bandwidth**2))
        by_column_WG = torch.zeros(len(rows_WD), groups, dtype=torch.float64).index_add_(1, y_X, kernel_WX)
        sums_GG.index_add_(0, rows_W, by_column_WG)
    return sums_GG.numpy()


def kernel_distance(real: Cloud, fake: Cloud, leave_out: bool = False) -> Estimate:
    """The kernel audio distance of a cloud to a reference, in the bandwidth of the reference.

    Args:
        real: the reference; its median distance is the bandwidth.
        fake: what is judged.
        leave_out: whether to say what it would be without each of the songs.
    """
    real, fake = (cloud.where(evenly(len(cloud), MOST_EMBEDDINGS)) for cloud in (real, fake))
    bandwidth = median_distance(real.x_WD)
    if not (bandwidth > 0 and len(fake) >= 2):
        return Estimate(math.nan, np.zeros(0))
    groups = groups_of(songs_of([real, fake]))
    of_song = {song: place for place, group in enumerate(groups) for song in group}
    real_W, fake_W = (torch.tensor([of_song[song] for song in cloud.songs_W]) for cloud in (real, fake))
    sums = kernel_sums(real.x_WD, real_W, fake.x_WD, fake_W, len(groups), bandwidth)
    return Estimate(sums.distance(), sums.left_out() if leave_out else np.zeros(0))
