"""Our medians are sorted medians, our separation is librosa's.

Shapes: P positions, K bins, T frames.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from metrics.hpss import CODES_PER_OCTAVE, median_filter, separate, sorted_runs

ONE_STEP = math.log(2) / CODES_PER_OCTAVE
"""Relative distance of two neighbouring codes of magnitudes: the most that rounding can do to a median."""

NUMBERS = st.integers(-5, 5) | st.integers(-(2**15), 2**15 - 1)


@settings(max_examples=30)
@given(st.lists(NUMBERS, min_size=1, max_size=80), st.sampled_from([3, 7, 15, 31]))
def test_medians_are_medians(values: list[int], kernel: int) -> None:
    """Also of many equal values, and of fewer values than the window has."""
    half = kernel // 2
    mirrored = np.pad(values, half, mode="symmetric")
    expected = [sorted(mirrored[i : i + kernel])[half] for i in range(len(values))]
    assert median_filter(torch.tensor(values, dtype=torch.int16)[None], kernel)[0].tolist() == expected


@settings(max_examples=20)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=16, max_size=40), st.sampled_from([2, 4, 8, 16]))
def test_runs_are_sorted(values: list[float], length: int) -> None:
    runs_MPR = sorted_runs(torch.tensor(values)[:, None], length)
    assert torch.equal(runs_MPR[:, :, 0].T, torch.tensor(values).unfold(0, length, 1).sort(1).values)


@pytest.mark.parametrize("kernel", [1, 2, 30, 32])
def test_other_kernels_are_refused(kernel: int) -> None:
    with pytest.raises(ValueError, match=str(kernel)):
        median_filter(torch.zeros(1, 9), kernel)


def spectrogram(scale: float) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    magnitude_KT = torch.rand(200, 90, generator=rng) ** 6
    magnitude_KT[40] += 3
    magnitude_KT[:, 50] += 2
    return scale * magnitude_KT


@pytest.mark.slow  # librosa takes seconds to import; the fast proof is in test_cocola.py
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e3])
def test_separation_is_librosas(scale: float) -> None:
    decompose = pytest.importorskip("librosa").decompose
    magnitude_KT = spectrogram(scale)
    ours_KT, rest_KT = (mask_BKT[0] for mask_BKT in separate(magnitude_KT[None]))
    theirs_KT, _ = decompose.hpss(magnitude_KT.numpy(), mask=True)
    assert float((ours_KT - torch.from_numpy(theirs_KT)).abs().max()) < 1e-3
    assert torch.equal(ours_KT + rest_KT, torch.ones_like(ours_KT))


def test_tones_are_harmonic_and_clicks_percussive() -> None:
    harmonic_KT, percussive_KT = (mask_BKT[0] for mask_BKT in separate(spectrogram(1.0)[None]))
    assert harmonic_KT[40, :45].min() > 0.9
    assert percussive_KT[45:, 50].min() > 0.9


def test_silence_is_halved() -> None:
    harmonic, percussive = separate(torch.zeros(1, 40, 40))
    assert (harmonic == 0.5).all()
    assert (percussive == 0.5).all()


def test_batches_are_their_items() -> None:
    """Up to one code: how a logarithm rounds depends on shapes and on the processor.

    Both medians may be a code off, in opposite directions: the mask h² / (h² + p²) then moves by no more than that.
    """
    batch_BKT = torch.stack([spectrogram(1.0), spectrogram(1e-8).flip(1)])
    for alone_KT, together_KT in zip(batch_BKT, separate(batch_BKT)[0], strict=True):
        torch.testing.assert_close(separate(alone_KT[None])[0][0], together_KT, rtol=0, atol=1.01 * ONE_STEP)
