"""Whether somebody who plays for long goes on having ideas: how many different stretches there are, and how alike.

Shapes: S stretches, W windows of a stretch, D width.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

Floats = NDArray[np.floating[Any]]


def gaussian_kernel(x_SD: Floats, width: float) -> Floats:
    """Similarities_SS of points, from 0 to 1: exp(-‖x - y‖² / 2 width²)."""
    squares_SS = np.square(x_SD[:, None] - x_SD[None]).sum(-1)
    return np.asarray(np.exp(-squares_SS / (2 * width**2)))


def vendi_score(similarity_SS: Floats) -> float:
    """How many different things there are (Friedman & Dieng 2023): exp of the entropy of the eigenvalues of K / S.

    Args:
        similarity_SS: a positive semi-definite matrix with ones on its diagonal.

    Returns:
        From 1, if all are alike, to S, if all differ; nan of none.
    """
    if not len(similarity_SS):
        return math.nan
    shares = np.linalg.eigvalsh(similarity_SS / len(similarity_SS))
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def repetition(stretches_SWD: Floats) -> float:
    """The highest correlation of a stretch with an earlier one at any delay, in the mean over all but the first.

    Args:
        stretches_SWD: what every stretch sounds like, window by window.

    Returns:
        1 if every stretch was played before, near 0 if none resembles another; nan of fewer than two that sound.
    """
    centred = stretches_SWD - stretches_SWD.mean(axis=(0, 1))
    norms_S = np.sqrt(np.square(centred).sum(axis=(1, 2)))
    spectra = rfft(centred, next_fast_len(2 * centred.shape[1] - 1, real=True), axis=1)
    highest = [_highest(spectra, norms_S, place) for place in range(1, len(centred)) if norms_S[place] > 0]
    return float(np.mean(highest)) if highest else math.nan


def _highest(spectra: NDArray[np.complexfloating[Any, Any]], norms_S: Floats, place: int) -> float:
    """Of one stretch with those before it."""
    earlier = [other for other in range(place) if norms_S[other] > 0]
    found = [irfft((spectra[place] * spectra[other].conj()).sum(-1)).max() / norms_S[other] for other in earlier]
    return float(max(found, default=0.0) / norms_S[place])
