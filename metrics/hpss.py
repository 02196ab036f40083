"""Harmonic-percussive separation by median filters, for batches, equal to librosa's.

Shapes: B batch, K frequency bins, T frames, P positions along which a filter runs, R everything else.
"""

from __future__ import annotations

import torch
from torch import Tensor

CODES_PER_OCTAVE, OCTAVES = 2047, 32
"""Magnitudes become 16-bit codes, down to 32 octaves below the loudest. A median commutes with every increasing
function, so this costs only the rounding to 0.02 %, and doubles the speed."""

COLUMNS = 64
"""Columns filtered at once, so that the sorted runs stay in the processor's cache."""


def separate(magnitude_BKT: Tensor, kernel: int = 31) -> tuple[Tensor, Tensor]:
    """Soft masks_BKT of what is harmonic and what is percussive (Fitzgerald 2010); they add up to 1.

    As librosa's `hpss` with power 2 and margin 1: tones are smooth along time and survive a median filter along it,
    hits along frequency.

    Args:
        magnitude_BKT: magnitudes of a spectrogram, ≥ 0.
        kernel: length of both filters in frames and in bins: 3, 7, 15, 31 or 63.
    """
    codes_BKT = _encode(magnitude_BKT)
    harmonic_BKT = _decode(median_filter(codes_BKT, kernel)).square()
    percussive_BKT = _decode(median_filter(codes_BKT.mT, kernel).mT).square()
    total_BKT = harmonic_BKT + percussive_BKT
    mask_BKT = torch.where(total_BKT > 0, harmonic_BKT / total_BKT, 0.5)
    return mask_BKT, 1 - mask_BKT


def _encode(magnitude_BKT: Tensor) -> Tensor:
    loudest_B11 = magnitude_BKT.amax((1, 2), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    octaves_BKT = ((magnitude_BKT / loudest_B11).log2() + OCTAVES).clamp_min(0)
    return (octaves_BKT * CODES_PER_OCTAVE - 32768).round_().to(torch.int16)


def _decode(codes_BKT: Tensor) -> Tensor:
    """Magnitudes in units of the loudest."""
    octaves_BKT = (codes_BKT.float() + 32768) / CODES_PER_OCTAVE - OCTAVES
    return torch.where(codes_BKT > -32768, octaves_BKT.exp2(), 0.0)


def median_filter(values: Tensor, kernel: int) -> Tensor:
    """Running median along the last axis; beyond the ends the values are mirrored, the end itself twice.

    Args:
        values: values of any ordered type.
        kernel: length of the window: 2ⁿ − 1, at least 3.

    Raises:
        ValueError: another kernel.
    """
    if kernel < 3 or kernel & (kernel + 1):
        raise ValueError(f"the kernel must be 3, 7, 15, 31, …, not {kernel}")
    length, half = values.shape[-1], kernel // 2
    mirrored_P = torch.arange(-half, length + half, device=values.device) % (2 * length)
    mirrored_P = torch.minimum(mirrored_P, 2 * length - 1 - mirrored_P)
    values_PR = values.reshape(-1, length).T[mirrored_P]
    columns = [_running_median(part_PR.contiguous(), half) for part_PR in values_PR.split(COLUMNS, 1)]
    return torch.cat(columns, dim=1).T.reshape(values.shape)


def _running_median(values_PR: Tensor, half: int) -> Tensor:
    """Medians of all windows of 2 · half + 1 values.

    The window is two runs of half + 1 values that share the middle one. Of both runs together, which count the shared
    value twice, the two middle values are known after one merging step; the median is the one that remains in the
    middle when one of the twins leaves.
    """
    runs_MPR = sorted_runs(values_PR, half + 1)
    count = len(values_PR) - 2 * half
    first_MPR, second_MPR = runs_MPR[:, :count], runs_MPR[:, half : half + count].flip(0)
    below_PR = torch.minimum(first_MPR, second_MPR).amax(0)
    above_PR = torch.maximum(first_MPR, second_MPR).amin(0)
    return torch.where(values_PR[half : half + count] <= below_PR, above_PR, below_PR)


def sorted_runs(values_PR: Tensor, length: int) -> Tensor:
    """Every run of `length` (a power of two) values, sorted along the first axis.

    Runs are merged by Batcher's bitonic network from runs of half the length, which neighbouring runs share.
    """
    runs_MPR = values_PR[None]
    while (merged := len(runs_MPR)) < length:
        count = runs_MPR.shape[1] - merged
        runs_MPR = _ordered(runs_MPR[None, :, :count], runs_MPR[None, :, merged:].flip(1))
        distance = merged // 2
        while distance:
            pairs_G2DPR = runs_MPR.view(merged // distance, 2, distance, *runs_MPR.shape[1:])
            runs_MPR = _ordered(pairs_G2DPR[:, 0], pairs_G2DPR[:, 1])
            distance //= 2
    return runs_MPR


def _ordered(one_GDPR: Tensor, other_GDPR: Tensor) -> Tensor:
    """In every group, the smaller values of all its pairs, then the larger ones; groups one after the other."""
    groups, distance, *rest = one_GDPR.shape
    ordered = one_GDPR.new_empty(groups, 2, distance, *rest)
    torch.minimum(one_GDPR, other_GDPR, out=ordered[:, 0])
    torch.maximum(one_GDPR, other_GDPR, out=ordered[:, 1])
    return ordered.view(2 * groups * distance, *rest)
