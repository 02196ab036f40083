"""The Fréchet distance between two clouds of embeddings.

Shapes: W embeddings (windows), D embedding width, R replicates, U songs.
"""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metrics.bootstrap import Floats, SongRows


def _symmetric_root(covariance_DD: Tensor, scale: float) -> Tensor:
    """Square root of a positive semi-definite matrix; reports negative eigenvalues beyond rounding at this scale."""
    values_D, vectors_DD = torch.linalg.eigh(covariance_DD)
    if float(values_D[0]) < -1e-9 * scale:
        warnings.warn(f"a covariance has the eigenvalue {float(values_D[0]):.3g}, which is set to 0", stacklevel=3)
    return (vectors_DD * values_D.clamp_min(0).sqrt()) @ vectors_DD.T


def frechet_distance(mean_a_D: Tensor, cov_a_DD: Tensor, mean_b_D: Tensor, cov_b_DD: Tensor) -> float:
    """Squared Fréchet (Wasserstein-2) distance of two Gaussians (Dowson & Landau 1982), in float64.

    ‖μ_a - μ_b‖² + tr Σ_a + tr Σ_b - 2 tr (Σ_a Σ_b)^½, where the last trace is the nuclear norm of Σ_a^½ Σ_b^½: real
    by construction and exact for singular covariances too.

    Args:
        mean_a_D: mean of the first Gaussian.
        cov_a_DD: its covariance, symmetric and positive semi-definite.
        mean_b_D: mean of the second Gaussian.
        cov_b_DD: its covariance.

    Returns:
        A number ≥ 0. Rounding below 0 is clamped; more than rounding (1e-6 of all second moments) is reported as
        a warning.
    """
    mean_a_D, cov_a_DD, mean_b_D, cov_b_DD = (x.to(torch.float64) for x in (mean_a_D, cov_a_DD, mean_b_D, cov_b_DD))
    spread = cov_a_DD.trace() + cov_b_DD.trace()
    scale = float(spread + mean_a_D.square().sum() + mean_b_D.square().sum())
    overlap = torch.linalg.svdvals(_symmetric_root(cov_a_DD, scale) @ _symmetric_root(cov_b_DD, scale)).sum()
    distance = float((mean_a_D - mean_b_D).square().sum() + spread - 2 * overlap)
    if distance < -1e-6 * scale:
        warnings.warn(f"a Fréchet distance of {distance:.3g} is set to 0", stacklevel=2)
    return max(distance, 0.0)


class FrechetScore(NamedTuple):
    """A distance and the numbers of embeddings behind it, which any comparison has to name."""

    distance: Tensor
    real_count: Tensor
    fake_count: Tensor


class FrechetAudioDistance(SongRows):
    """Fréchet audio distance (Kilgour et al. 2019) with memory that does not grow.

    Counts, sums and sums of outer products of both clouds are kept in float64, so processes add up exactly.

    Args:
        dimension: width D of the embeddings.
    """

    full_state_update = False
    real_count: Tensor
    fake_count: Tensor

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.dimension = dimension
        for cloud in ("real", "fake"):
            self.add_state(f"{cloud}_count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
            self.add_state(f"{cloud}_sum_D", torch.zeros(dimension, dtype=torch.float64), dist_reduce_fx="sum")
            outer_DD = torch.zeros(dimension, dimension, dtype=torch.float64)
            self.add_state(f"{cloud}_outer_DD", outer_DD, dist_reduce_fx="sum")

    def update(self, embeddings_WD: Tensor, real: bool, song: str | None = None) -> None:
        """Add embeddings to one of the clouds.

        Args:
            embeddings_WD: embeddings, possibly none.
            real: whether they belong to the reference.
            song: name of the song they come from, for intervals; None leaves them out.

        Raises:
            ValueError: wrong width, or numbers that are not finite.
        """
        if embeddings_WD.ndim != 2 or embeddings_WD.shape[1] != self.dimension:
            raise ValueError(f"embeddings of width {self.dimension} expected, got shape {tuple(embeddings_WD.shape)}")
        if not embeddings_WD.isfinite().all():
            raise ValueError("embeddings are not finite; was the audio?")
        cloud = "real" if real else "fake"
        x_WD = embeddings_WD.to(self.real_count.device, torch.float64)
        setattr(self, f"{cloud}_count", getattr(self, f"{cloud}_count") + len(x_WD))
        setattr(self, f"{cloud}_sum_D", getattr(self, f"{cloud}_sum_D") + x_WD.sum(0))
        setattr(self, f"{cloud}_outer_DD", getattr(self, f"{cloud}_outer_DD") + x_WD.T @ x_WD)
        self.add_rows(song, torch.nn.functional.pad(x_WD, (1, 0), value=float(real)))

    def _gaussian(self, cloud: str) -> tuple[Tensor, Tensor]:
        """Mean and unbiased covariance of one cloud."""
        count, sum_D, outer_DD = (getattr(self, f"{cloud}_{name}") for name in ("count", "sum_D", "outer_DD"))
        mean_D = sum_D / count
        return mean_D, (outer_DD - count * torch.outer(mean_D, mean_D)) / (count - 1)

    def compute(self) -> FrechetScore:
        """The distance, nan if one cloud has fewer than two embeddings.

        With fewer embeddings than dimensions a covariance is singular: the distance is still defined, but biased
        upwards; compare it only with distances of as many embeddings.
        """
        if min(int(self.real_count), int(self.fake_count)) < 2:
            distance = math.nan
        else:
            distance = frechet_distance(*self._gaussian("real"), *self._gaussian("fake"))
        return FrechetScore(torch.tensor(distance, dtype=torch.float64), self.real_count, self.fake_count)

    def keep_songs(self) -> None:
        """Keep all embeddings from now on, so that songs can be resampled: memory grows with their number."""
        self.keep_rows(width=1 + self.dimension)

    def resampled(self, songs_U: Floats, counts_RU: Floats) -> Floats:
        """The distance per replicate, distances_R; a song counts equally often in both clouds.

        Args:
            songs_U: keys of the songs, ascending.
            counts_RU: how often every replicate draws every song.
        """
        keys, rows = self.rows_by_song()
        is_real = rows[:, 0] == 1
        at = np.searchsorted(songs_U, keys)
        clouds = [(torch.from_numpy(rows[part, 1:]), at[part]) for part in (is_real, ~is_real)]
        return np.array([_weighted_distance([(x_WD, counts_U[at]) for x_WD, at in clouds]) for counts_U in counts_RU])


def _weighted_distance(clouds: list[tuple[Tensor, Floats]]) -> float:
    """The distance of two clouds whose embeddings count as often as the weights say."""
    gaussians: list[Tensor] = []
    for x_WD, weights in clouds:
        weights_W = torch.from_numpy(np.asarray(weights, dtype=np.float64))
        count = weights_W.sum()
        if count < 2:
            return math.nan
        mean_D = weights_W @ x_WD / count
        centred_WD = x_WD - mean_D
        gaussians += [mean_D, centred_WD.T @ (weights_W[:, None] * centred_WD) / (count - 1)]
    return frechet_distance(*gaussians)
