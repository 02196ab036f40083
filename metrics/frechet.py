"""The Fréchet distance between two clouds of embeddings.

Shapes: W embeddings (windows), D embedding width, R replicates, U songs, S sizes of subsets.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metrics.bootstrap import Floats, SongRows
from metrics.frechet_reference import FrechetReference

QUICK_ERROR = 1e-7
"""Relative error up to which a distance is computed the quick way."""


def _symmetric_root(covariance_DD: Tensor, scale: float) -> Tensor:
    """Square root of a positive semi-definite matrix; reports negative eigenvalues beyond rounding at this scale."""
    values_D, vectors_DD = torch.linalg.eigh(covariance_DD)
    if float(values_D[0]) < -1e-9 * scale:
        warnings.warn(f"a covariance has the eigenvalue {float(values_D[0]):.3g}, which is set to 0", stacklevel=3)
    return (vectors_DD * values_D.clamp_min(0).sqrt()) @ vectors_DD.T


def frechet_distance(mean_a_D: Tensor, cov_a_DD: Tensor, mean_b_D: Tensor, cov_b_DD: Tensor) -> float:
    """Squared Fréchet (Wasserstein-2) distance of two Gaussians (Dowson & Landau 1982), in float64.

    ‖μ_a - μ_b‖² + tr Σ_a + tr Σ_b - 2 tr (Σ_a Σ_b)^½, where the last trace is the nuclear norm of Σ_a^½ Σ_b^½: real
    by construction and exact for singular covariances too. Where rounding cannot matter, a quicker way is taken.

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
    apart, spread = float((mean_a_D - mean_b_D).square().sum()), float(cov_a_DD.trace() + cov_b_DD.trace())
    overlap, error = _quick_overlap(cov_a_DD, cov_b_DD)
    distance = apart + spread - 2 * overlap
    if not 2 * error <= QUICK_ERROR * distance:
        scale = spread + float(mean_a_D.square().sum() + mean_b_D.square().sum())
        roots = (_symmetric_root(covariance_DD, scale) for covariance_DD in (cov_a_DD, cov_b_DD))
        distance = apart + spread - 2 * float(torch.linalg.svdvals(next(roots) @ next(roots)).sum())
        if distance < -1e-6 * scale:
            warnings.warn(f"a Fréchet distance of {distance:.3g} is set to 0", stacklevel=2)
    return max(distance, 0.0)


def _quick_overlap(cov_a_DD: Tensor, cov_b_DD: Tensor) -> tuple[float, float]:
    """tr (Σ_a Σ_b)^½ and a bound of its rounding error; both nan unless Σ_a is positive definite.

    With Σ_a = L Lᵀ it is the sum of the roots of the eigenvalues of Lᵀ Σ_b L, for which a fifth of the work is enough.
    But a root amplifies the rounding of a small eigenvalue.
    """
    factor_DD, failed = torch.linalg.cholesky_ex(cov_a_DD)
    if failed:
        return math.nan, math.nan
    values_D = torch.linalg.eigvalsh(factor_DD.T @ cov_b_DD @ factor_DD)
    rounding = 4 * math.sqrt(len(values_D)) * torch.finfo(torch.float64).eps * values_D[-1].abs()
    if float(values_D[0]) < -float(rounding):
        return math.nan, math.nan
    roots_D = values_D.clamp_min(0).sqrt()
    return float(roots_D.sum()), float(torch.minimum(rounding / roots_D, rounding.sqrt()).sum())


class Extrapolation(NamedTuple):
    """A line through distances of subsets, and where it would end.

    Args:
        distance: FAD∞, where the line meets 1/N = 0; nan with fewer than ten embeddings. May lie below 0.
        slope: by how much a distance grows with 1/N.
        sizes_S: embeddings of every subset.
        distances_S: their distances.
    """

    distance: float
    slope: float
    sizes_S: Floats
    distances_S: Floats


def extrapolated_distance(
    mean_D: Tensor, cov_DD: Tensor, fake_WD: Tensor, steps: int = 15, smallest: float = 0.2, seed: int = 0
) -> Extrapolation:
    """FAD∞: the distance that unlimited generated embeddings would have (Chong & Forsyth 2020, Gui et al. 2024).

    The bias of few samples falls with 1/N. Distances of random subsets, each drawn without replacement, are therefore
    fitted by a line over 1/N. The line is straight only where subsets have more embeddings than dimensions.

    Args:
        mean_D: mean of the reference.
        cov_DD: its covariance.
        fake_WD: generated embeddings.
        steps: number of subsets (≥ 2), of sizes from the smallest to all.
        smallest: share of the smallest subset, in (0, 1).
        seed: of the draws; equal seeds give equal results.
    """
    total = len(fake_WD)
    if total < 10:
        return Extrapolation(math.nan, math.nan, np.zeros(0), np.zeros(0))
    generator = torch.Generator().manual_seed(seed)
    sizes_S = np.linspace(max(2, smallest * total), total, steps).round()
    x_WD = fake_WD.to("cpu", torch.float64)
    distances = []
    for size in sizes_S:
        subset_WD = x_WD[torch.randperm(total, generator=generator)[: int(size)]]
        covariance_DD = torch.atleast_2d(torch.cov(subset_WD.T))
        distances.append(frechet_distance(mean_D.cpu(), cov_DD.cpu(), subset_WD.mean(0), covariance_DD))
    slope, end = np.polyfit(1 / sizes_S, distances, 1)
    return Extrapolation(float(end), float(slope), sizes_S, np.array(distances))


class FrechetScore(NamedTuple):
    """A distance and the numbers of embeddings behind it, which any comparison has to name.

    `extrapolated` is FAD∞, nan unless asked for.
    """

    distance: Tensor
    real_count: Tensor
    fake_count: Tensor
    extrapolated: Tensor


class FrechetAudioDistance(SongRows):
    """Fréchet audio distance (Kilgour et al. 2019) with memory that does not grow.

    Counts, sums and sums of outer products of both clouds are kept in float64, so processes add up exactly.

    Args:
        dimension: width D of the embeddings.
        extrapolate: whether to compute FAD∞ too, for which all embeddings are kept: memory grows with their number.
    """

    full_state_update = False
    real_count: Tensor
    fake_count: Tensor
    real_data: Tensor

    def __init__(self, dimension: int, extrapolate: bool = False) -> None:
        super().__init__()
        self.dimension, self.extrapolate = dimension, extrapolate
        self.kept_reference: FrechetReference | None = None
        self.add_state("real_data", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        for cloud in ("real", "fake"):
            self.add_state(f"{cloud}_count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
            self.add_state(f"{cloud}_sum_D", torch.zeros(dimension, dtype=torch.float64), dist_reduce_fx="sum")
            outer_DD = torch.zeros(dimension, dimension, dtype=torch.float64)
            self.add_state(f"{cloud}_outer_DD", outer_DD, dist_reduce_fx="sum")
        if extrapolate:
            self.keep_songs()

    def update(self, embeddings_WD: Tensor, real: bool, song: str | None = None, data: str = "") -> None:
        """Add embeddings to one of the clouds.

        Args:
            embeddings_WD: embeddings, possibly none.
            real: whether they belong to the reference.
            song: name of the song they come from, for intervals; None leaves them out.
            data: identifies the recording, for the data hash of the reference.

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
        if real and data:
            # A sum, unlike a digest, is the same in any order and on any number of processes.
            self.real_data = self.real_data + int(hashlib.sha256(data.encode()).hexdigest()[:12], 16)
        if self.extrapolate and song is None:
            song = ""
        self.add_rows(song, torch.nn.functional.pad(x_WD, (1, 0), value=float(real)))

    def use_reference(self, reference: FrechetReference) -> None:
        """Compare with this reference from now on, also after `reset`, in place of real embeddings.

        Args:
            reference: the same on every process; it is not summed over them.

        Raises:
            ValueError: embeddings of another width.
        """
        if len(reference.sum_D) != self.dimension:
            raise ValueError(f"a reference of width {self.dimension} expected, got {len(reference.sum_D)}")
        self.kept_reference = reference

    def reference(self, embedding: str, sample_rate_hz: int) -> FrechetReference:
        """What has been seen of the real cloud, by all processes within `sync_context`.

        Args:
            embedding: identity of the embedding.
            sample_rate_hz: rate of the recordings.
        """
        _, sum_D, outer_DD = (x.cpu().clone() for x in self._sums("real"))
        data_hash = f"{int(self.real_data):x}"
        return FrechetReference(embedding, sample_rate_hz, data_hash, int(self.real_count), sum_D, outer_DD)

    def _sums(self, cloud: str) -> tuple[Tensor, Tensor, Tensor]:
        """Count, sum and sum of outer products."""
        if cloud == "real" and self.kept_reference is not None:
            kept = self.kept_reference
            sum_D, outer_DD = (x.to(self.fake_count.device) for x in (kept.sum_D, kept.outer_DD))
            return torch.tensor(kept.count, device=self.fake_count.device), sum_D, outer_DD
        return getattr(self, f"{cloud}_count"), getattr(self, f"{cloud}_sum_D"), getattr(self, f"{cloud}_outer_DD")

    def _gaussian(self, cloud: str) -> tuple[Tensor, Tensor]:
        """Mean and unbiased covariance of one cloud."""
        count, sum_D, outer_DD = self._sums(cloud)
        mean_D = sum_D / count
        return mean_D, (outer_DD - count * torch.outer(mean_D, mean_D)) / (count - 1)

    def compute(self) -> FrechetScore:
        """The distance, nan if one cloud has fewer than two embeddings.

        With fewer embeddings than dimensions a covariance is singular: the distance is still defined, but biased
        upwards; compare it only with distances of as many embeddings.
        """
        real_count, fake_count = self._sums("real")[0], self.fake_count
        distance = extrapolated = math.nan
        if min(int(real_count), int(fake_count)) >= 2:
            real = self._gaussian("real")
            distance = frechet_distance(*real, *self._gaussian("fake"))
            if self.extrapolate:
                extrapolated = extrapolated_distance(*real, self._fake_rows()).distance
        numbers = (torch.tensor(number, dtype=torch.float64) for number in (distance, extrapolated))
        return FrechetScore(next(numbers), real_count, fake_count, next(numbers))

    def _fake_rows(self) -> Tensor:
        """All generated embeddings, in an order that does not depend on how processes shared the songs."""
        keys, rows = self.rows_by_song()
        keys, rows = keys[rows[:, 0] == 0], rows[rows[:, 0] == 0, 1:]
        return torch.from_numpy(rows[np.lexsort((*rows.T[:2], keys))])

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
        fixed: list[Tensor] = []
        if self.kept_reference is not None:
            fixed, clouds = [x.cpu() for x in self._gaussian("real")], clouds[1:]
        return np.array(
            [_weighted_distance(fixed, [(x_WD, counts_U[at]) for x_WD, at in clouds]) for counts_U in counts_RU]
        )


def _weighted_distance(fixed: list[Tensor], clouds: list[tuple[Tensor, Floats]]) -> float:
    """The distance of two clouds whose embeddings count as often as the weights say; of one, to a fixed Gaussian."""
    gaussians = list(fixed)
    for x_WD, weights in clouds:
        weights_W = torch.from_numpy(np.asarray(weights, dtype=np.float64))
        count = weights_W.sum()
        if count < 2:
            return math.nan
        mean_D = weights_W @ x_WD / count
        centred_WD = x_WD - mean_D
        gaussians += [mean_D, centred_WD.T @ (weights_W[:, None] * centred_WD) / (count - 1)]
    return frechet_distance(*gaussians)
