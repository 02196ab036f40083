"""The Fréchet distance between two Gaussians, from their covariances or from the samples behind them.

Shapes: W samples, D dimensions, R rows of a factor.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cached_property

import torch
from scipy.linalg import lapack
from torch import Tensor

QUICK_ERROR = 1e-7
"""Relative error up to which a distance is computed by the faster method."""


def _symmetric_root(covariance_DD: Tensor, scale: float) -> Tensor:
    """Square root of a positive semi-definite matrix; reports negative eigenvalues beyond rounding at this scale."""
    values_D, vectors_DD = torch.linalg.eigh(covariance_DD)
    if float(values_D[0]) < -1e-9 * scale:
        warnings.warn(f"a covariance has the eigenvalue {float(values_D[0]):.3g}, which is set to 0", stacklevel=3)
    return (vectors_DD * values_D.clamp_min(0).sqrt()) @ vectors_DD.T


def frechet_distance(mean_a_D: Tensor, cov_a_DD: Tensor, mean_b_D: Tensor, cov_b_DD: Tensor) -> float:
    """Squared Fréchet (Wasserstein-2) distance of two Gaussians (Dowson & Landau 1982), in float64.

    ‖μ_a - μ_b‖² + tr Σ_a + tr Σ_b - 2 tr (Σ_a Σ_b)^½, where the last trace is the nuclear norm of Σ_a^½ Σ_b^½: real
    by construction and exact for singular covariances too. Where rounding cannot matter, a faster method is used.

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


@dataclass(frozen=True)
class SampleGaussian:
    """The Gaussian of at least two samples: their mean and their unbiased covariance.

    Args:
        mean_D: the mean, float64.
        samples: number of samples.
        known_covariance_DD: the covariance, if it was accumulated.
        known_factor_WD: if the samples are available, F of the covariance FᵀF: a row per sample.
    """

    mean_D: Tensor
    samples: int
    known_covariance_DD: Tensor | None = None
    known_factor_WD: Tensor | None = None

    @classmethod
    def of_samples(cls, x_WD: Tensor) -> SampleGaussian:
        """A Gaussian from the samples themselves."""
        x_WD = x_WD.to(torch.float64)
        mean_D = x_WD.mean(0)
        return cls(mean_D, len(x_WD), known_factor_WD=(x_WD - mean_D) / math.sqrt(len(x_WD) - 1))

    @classmethod
    def of_sums(cls, count: int, sum_D: Tensor, outer_DD: Tensor) -> SampleGaussian:
        """A Gaussian from the sum of samples and the sum of their outer products."""
        mean_D = sum_D / count
        return cls(mean_D, count, (outer_DD - count * torch.outer(mean_D, mean_D)) / (count - 1))

    @property
    def singular(self) -> bool:
        """Whether there are too few samples for all dimensions."""
        return self.samples <= len(self.mean_D)

    @cached_property
    def covariance_DD(self) -> Tensor:  # noqa: N802
        """The covariance."""
        if self.known_covariance_DD is not None:
            return self.known_covariance_DD
        assert self.known_factor_WD is not None
        return self.known_factor_WD.T @ self.known_factor_WD

    @cached_property
    def factor_RD(self) -> Tensor:  # noqa: N802
        """F of the covariance FᵀF, with at most as many rows as there are samples, and as dimensions."""
        if self.known_factor_WD is not None and self.singular:
            return self.known_factor_WD
        return _factor(self.covariance_DD, self.samples - 1)


def _factor(covariance_DD: Tensor, rank: int) -> Tensor:
    """F of a covariance FᵀF of at most this rank: Cholesky's, the largest remaining variance first."""
    lower_DD, order_D, found, _ = lapack.dpstrf(covariance_DD.cpu().numpy(), lower=1)
    lower_DR = torch.from_numpy(lower_DD).tril()[:, : min(found, rank)]
    factor_RD = torch.empty(lower_DR.shape[::-1], dtype=torch.float64)
    factor_RD[:, torch.from_numpy(order_D).long() - 1] = lower_DR.T
    return factor_RD.to(covariance_DD.device)


def gaussian_distance(a: SampleGaussian, b: SampleGaussian) -> float:
    """`frechet_distance` of two Gaussians of samples, by a cheaper method where one of them is singular.

    With Σ = FᵀF, tr (Σ_a Σ_b)^½ is the nuclear norm of F_a F_bᵀ, which has as many rows and columns as there are
    samples: for few samples of many dimensions, nothing as large as a covariance is decomposed.
    """
    if not (a.singular or b.singular):
        return frechet_distance(a.mean_D, a.covariance_DD, b.mean_D, b.covariance_DD)
    spread = float(a.factor_RD.square().sum() + b.factor_RD.square().sum())
    overlap = float(torch.linalg.svdvals(a.factor_RD @ b.factor_RD.T).sum())
    return max(float((a.mean_D - b.mean_D).square().sum()) + spread - 2 * overlap, 0.0)
