"""Kernel distance and prompt adherence of clouds of embeddings, against direct formulas and authors' definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from metrics.clouds import Cloud, Clouds
from metrics.kernel import MOST_EMBEDDINGS, evenly, kernel_distance, median_distance
from metrics.prompt_adherence import adherence_of, prompt_adherence, together

RATE_HZ = 22_050


def cloud_of(x_WD: Tensor, songs: int) -> Cloud:
    songs_W = np.arange(len(x_WD)) % songs
    return Cloud(x_WD.double(), songs_W.astype(np.float64), np.zeros(len(x_WD), dtype=np.int64))


def points(seed: int, count: int, width: int, shift: float = 0.0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return shift + torch.randn(count, width, generator=rng, dtype=torch.float64)


def pair_by_pair(real_WD: np.ndarray, fake_WD: np.ndarray) -> float:
    """kadtk's distance, from its paper: one pair after the other, in the median distance of the reference."""
    m, n = len(real_WD), len(fake_WD)
    distances = sorted(math.dist(real_WD[i], real_WD[j]) for i in range(m) for j in range(i))
    width = distances[(len(distances) - 1) // 2]  # of an even number, torch takes the lower one in the middle

    def kernel(x_D: np.ndarray, y_D: np.ndarray) -> float:
        return math.exp(-(math.dist(x_D, y_D) ** 2) / (2 * width**2))

    real = sum(kernel(real_WD[i], real_WD[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    fake = sum(kernel(fake_WD[i], fake_WD[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    across = sum(kernel(x_D, y_D) for x_D in real_WD for y_D in fake_WD) / (m * n)
    return 100 * (real + fake - 2 * across)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 25), st.integers(2, 20), st.integers(1, 8), st.floats(0, 3))
def test_kernel_distance_is_that_of_all_pairs(seed: int, real: int, fake: int, width: int, shift: float) -> None:
    real_WD, fake_WD = points(seed, real, width), points(seed + 1, fake, width, shift)
    found = kernel_distance(cloud_of(real_WD, 3), cloud_of(fake_WD, 4)).value
    assert found == pytest.approx(pair_by_pair(real_WD.numpy(), fake_WD.numpy()), rel=1e-9, abs=1e-9)


def test_kernel_distance_without_a_song_is_that_of_the_others_in_the_same_bandwidth() -> None:
    real, fake = cloud_of(points(0, 40, 5), 8), cloud_of(points(1, 32, 5, 0.5), 8)
    width = median_distance(real.x_WD)
    left_out_U = kernel_distance(real, fake, leave_out=True).left_out_U
    assert len(left_out_U) == 8
    for song in range(8):
        rest = [cloud.where(cloud.songs_W != song).x_WD.numpy() for cloud in (real, fake)]
        sums = [
            np.exp(-np.square(x[:, None] - y[None]).sum(-1) / (2 * width**2)).sum()
            for x, y in ((rest[0], rest[0]), (rest[1], rest[1]), (rest[0], rest[1]))
        ]
        m, n = map(len, rest)
        expected = 100 * ((sums[0] - m) / (m * (m - 1)) + (sums[1] - n) / (n * (n - 1)) - 2 * sums[2] / (m * n))
        assert left_out_U[song] == pytest.approx(expected, rel=1e-9)


def test_kernel_distance_is_unbiased_with_few_embeddings_and_the_order_is_that_of_the_sounds() -> None:
    real = cloud_of(points(0, 400, 6), 20)
    few = [kernel_distance(real, cloud_of(points(seed, 12, 6), 6)).value for seed in range(1, 61)]
    assert abs(np.mean(few)) < 3 * np.std(few) / math.sqrt(len(few))
    near, far = (kernel_distance(real, cloud_of(points(99, 50, 6, shift), 6)).value for shift in (0.3, 1.0))
    assert 0 < near < far


def test_kernel_distance_of_too_little_is_undefined() -> None:
    some, one = cloud_of(points(0, 9, 3), 3), cloud_of(points(1, 1, 3), 1)
    constant = cloud_of(torch.ones(5, 3), 5)
    assert all(math.isnan(kernel_distance(*pair).value) for pair in ((some, one), (one, some), (constant, some)))


def test_large_clouds_are_compared_by_an_even_selection() -> None:
    assert evenly(5, 9).tolist() == [0, 1, 2, 3, 4]
    chosen = evenly(3 * MOST_EMBEDDINGS, MOST_EMBEDDINGS)
    assert (len(chosen), chosen[0], chosen[-1]) == (MOST_EMBEDDINGS, 0, 3 * MOST_EMBEDDINGS - 1)
    assert np.ptp(np.diff(chosen)) <= 1


def authors_adherence(true_WD: np.ndarray, wrong_WD: np.ndarray, judged_WD: np.ndarray) -> float:
    """As the authors' package defines it: covariances, SciPy's root, limited to 0 … 1."""

    def distance(x_WD: np.ndarray, y_WD: np.ndarray) -> float:
        cov_x, cov_y = np.cov(x_WD.T), np.cov(y_WD.T)
        root = scipy.linalg.sqrtm(cov_x @ cov_y).real
        return float(np.square(x_WD.mean(0) - y_WD.mean(0)).sum() + np.trace(cov_x + cov_y - 2 * root))

    numerator = distance(judged_WD, wrong_WD) - distance(judged_WD, true_WD)
    denominator = max(distance(true_WD, wrong_WD), abs(numerator))
    return 0.5 + numerator / (2 * denominator)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1, 2))
def test_adherence_is_the_authors(seed: int, place: float) -> None:
    true_WD, wrong_WD, judged_WD = (points(seed + i, 40, 4, shift) for i, shift in enumerate((0, 1, place)))
    clouds = [cloud_of(x_WD, 5) for x_WD in (true_WD, wrong_WD, judged_WD)]
    found = min(1.0, max(0.0, prompt_adherence(*clouds).value))
    assert found == pytest.approx(authors_adherence(*(x.numpy() for x in (true_WD, wrong_WD, judged_WD))), abs=1e-6)


def test_adherence_goes_from_wrong_to_true_and_songs_are_left_out_everywhere() -> None:
    true, wrong = cloud_of(points(0, 60, 4), 6), cloud_of(points(1, 60, 4, 1), 6)
    assert prompt_adherence(true, wrong, true).value == pytest.approx(1)
    assert prompt_adherence(true, wrong, wrong).value == pytest.approx(0)
    assert math.isnan(adherence_of(1.0, 1.0, 0.0))
    judged = cloud_of(points(2, 60, 4, 0.4), 6)
    estimate = prompt_adherence(true, wrong, judged, leave_out=True)
    rest = (cloud.where(cloud.songs_W != 2) for cloud in (true, wrong, judged))
    assert (len(estimate.left_out_U), estimate.left_out_U[2]) == (6, prompt_adherence(*rest).value)


def test_mix_and_stem_are_equally_loud_together_at_minus_twenty() -> None:
    import pyloudnorm

    time_N = np.arange(3 * RATE_HZ) / RATE_HZ
    low_N, high_N = (np.sin(2 * np.pi * hz * time_N).astype(np.float32) for hz in (440, 1000))
    meter = pyloudnorm.Meter(RATE_HZ)
    both_N = together(0.5 * low_N, 0.01 * high_N, RATE_HZ)
    assert meter.integrated_loudness(both_N.astype(np.float64)) == pytest.approx(-20, abs=0.1)
    parts = [2 * float(both_N @ tone_N) / len(time_N) * tone_N.astype(np.float64) for tone_N in (low_N, high_N)]
    assert meter.integrated_loudness(parts[0]) == pytest.approx(meter.integrated_loudness(parts[1]), abs=0.2)
    alone_N = together(0.5 * low_N, np.zeros_like(low_N), RATE_HZ)
    assert meter.integrated_loudness(alone_N.astype(np.float64)) == pytest.approx(-20, abs=0.1)
    assert not together(np.zeros(99, np.float32), np.zeros(99, np.float32), RATE_HZ).any()


def test_clouds_are_the_same_in_any_order_and_refuse_what_is_no_embedding() -> None:
    pieces = [(name, points(i, 3, 4), i % 2, f"song {i}") for i, name in enumerate(("true", "later") * 4)]
    orders = (pieces, pieces[::-1])
    found = []
    for order in orders:
        metric = Clouds(4, ("true", "later"))
        for piece in order:
            metric.update(*piece)
        assert metric.compute().tolist() == [12, 12]
        found.append(metric.clouds())
    for name in ("true", "later"):
        one, other = (clouds[name] for clouds in found)
        assert np.array_equal(one.x_WD, other.x_WD)
        assert np.array_equal(one.songs_W, other.songs_W)
        assert len(one.of(0)) + len(one.of(1)) == len(one) == 12
    with pytest.raises(ValueError, match="width 4"):
        Clouds(4, ("true",)).update("true", points(0, 2, 3), 0, "song")
    with pytest.raises(ValueError, match="finite"):
        Clouds(4, ("true",)).update("true", torch.full((2, 4), math.nan), 0, "song")
