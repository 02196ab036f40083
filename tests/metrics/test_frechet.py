"""The Fréchet distance against closed forms, SciPy and the frechet-audio-distance package."""

from __future__ import annotations

import ast
import importlib.util
import math
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.embeddings import LogMel
from metrics.frechet import FrechetAudioDistance, frechet_distance

SAMPLE_RATE_HZ = 22_050


def gaussian(seed: int, dimension: int, rank: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(dimension, rank or 2 * dimension))
    return torch.from_numpy(rng.normal(size=dimension)), torch.from_numpy(factor @ factor.T / factor.shape[1])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 24))
def test_distance_equals_scipys_root_and_is_symmetric(seed: int, dimension: int) -> None:
    (mean_a, cov_a), (mean_b, cov_b) = gaussian(seed, dimension), gaussian(seed + 1, dimension)
    root = scipy.linalg.sqrtm((cov_a @ cov_b).numpy().astype(complex)).real
    expected = float((mean_a - mean_b).square().sum() + (cov_a + cov_b).trace() - 2 * np.trace(root))
    assert frechet_distance(mean_a, cov_a, mean_b, cov_b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(mean_b, cov_b, mean_a, cov_a) == pytest.approx(expected, rel=1e-6)


def packages_function() -> Callable[..., float]:
    """`calculate_frechet_distance` out of the package's source: importing it loads models and looks for a network."""
    package = importlib.util.find_spec("frechet_audio_distance")
    if package is None or package.submodule_search_locations is None:
        pytest.skip("frechet_audio_distance is not installed")
    tree = ast.parse((Path(package.submodule_search_locations[0]) / "fad.py").read_text())
    function = next(
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "calculate_frechet_distance"
    )
    names = {"np": np, "linalg": scipy.linalg}
    exec(compile(ast.Module([function], []), "fad.py", "exec"), names)
    return names["calculate_frechet_distance"]


def test_distance_equals_the_packages_own_function() -> None:
    theirs = packages_function()
    for seed in range(3):
        (mean_a, cov_a), (mean_b, cov_b) = gaussian(seed, 64), gaussian(seed + 100, 64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = theirs(None, *(x.numpy() for x in (mean_a, cov_a, mean_b, cov_b)))
        assert frechet_distance(mean_a, cov_a, mean_b, cov_b) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 24))
def test_closed_forms(seed: int, dimension: int) -> None:
    mean, covariance = gaussian(seed, dimension, rank=max(1, dimension // 2))
    assert frechet_distance(mean, covariance, mean, covariance) == pytest.approx(0, abs=1e-6)
    shift = torch.full_like(mean, 0.5)
    assert frechet_distance(mean, covariance, mean + shift, covariance) == pytest.approx(dimension / 4, rel=1e-6)
    # Scaling a Gaussian by s moves it by (1 - s)² of its trace.
    scaled = frechet_distance(0 * mean, covariance, 0 * mean, 9 * covariance)
    assert scaled == pytest.approx(4 * float(covariance.trace()), rel=1e-6)
    a, b = torch.rand(dimension, dtype=torch.float64), torch.rand(dimension, dtype=torch.float64)
    diagonal = frechet_distance(mean, a.diag(), mean, b.diag())
    assert diagonal == pytest.approx(float((a.sqrt() - b.sqrt()).square().sum()), rel=1e-6)


def test_a_matrix_that_is_no_covariance_is_reported() -> None:
    eye = torch.eye(3, dtype=torch.float64)
    with pytest.warns(UserWarning, match="eigenvalue"):
        distance = frechet_distance(
            torch.zeros(3), eye - 2 * torch.diag(torch.tensor([1.0, 0, 0])), torch.zeros(3), eye
        )
    assert distance >= 0


def test_pieces_equal_one_batch_whatever_the_order() -> None:
    torch.manual_seed(0)
    real_WD, fake_WD = torch.randn(300, 12) + 5, 2 * torch.randn(200, 12)
    whole, pieces = FrechetAudioDistance(12), FrechetAudioDistance(12)
    whole.update(real_WD, real=True)
    whole.update(fake_WD, real=False)
    for piece_WD in fake_WD.flip(0).split(33):
        pieces.update(piece_WD, real=False)
    pieces.update(real_WD[:0], real=True)
    for piece_WD in real_WD[torch.randperm(300)].split(71):
        pieces.update(piece_WD, real=True)
    assert float(whole.compute().distance) == pytest.approx(float(pieces.compute().distance), rel=1e-9)
    expected = frechet_distance(
        real_WD.double().mean(0), torch.cov(real_WD.double().T), fake_WD.double().mean(0), torch.cov(fake_WD.double().T)
    )
    assert float(whole.compute().distance) == pytest.approx(expected, rel=1e-9)


def test_too_few_or_bad_embeddings() -> None:
    metric = FrechetAudioDistance(4)
    assert math.isnan(float(metric.compute().distance))
    metric.update(torch.randn(50, 4), real=True)
    metric.update(torch.randn(1, 4), real=False)
    score = metric.compute()
    assert math.isnan(float(score.distance))
    assert (int(score.real_count), int(score.fake_count)) == (50, 1)
    with pytest.raises(ValueError, match="width 4"):
        metric.update(torch.randn(3, 5), real=True)
    with pytest.raises(ValueError, match="finite"):
        metric.update(torch.full((3, 4), math.nan), real=True)


def tone(frequency_hz: float, seconds: float, level: float = 0.1) -> torch.Tensor:
    time_N = torch.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return level * torch.sin(2 * math.pi * frequency_hz * time_N)


def test_log_mel_windows_and_meaning() -> None:
    embed = LogMel(bands=8)
    embeddings_WD = embed(tone(440, 3.0), SAMPLE_RATE_HZ)
    assert embeddings_WD.shape == (9, embed.dimension)
    assert embed(tone(440, 0.9), SAMPLE_RATE_HZ).shape == (0, embed.dimension)
    assert torch.equal(embeddings_WD, embed(tone(440, 3.0), SAMPLE_RATE_HZ))
    inner_WF = embeddings_WD[2:-2, :8]
    louder_WF = embed(tone(440, 3.0, level=0.2), SAMPLE_RATE_HZ)[2:-2, :8]
    band = int(inner_WF[0].argmax())
    assert (louder_WF - inner_WF)[:, band].mean() == pytest.approx(math.log(2), abs=0.05)
    assert int(embed(tone(3000, 3.0), SAMPLE_RATE_HZ)[2, :8].argmax()) > band
    silence_WD = embed(torch.zeros(2 * SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    assert torch.allclose(silence_WD[:, :8], torch.tensor(math.log(1e-3)))
    assert torch.allclose(silence_WD[:, 8:], torch.zeros(()), atol=1e-5)
    with pytest.raises(ValueError, match="16000"):
        embed(tone(440, 3.0), 8000)


def test_log_mel_distance_orders_sounds() -> None:
    embed = LogMel(bands=8)
    generator = torch.Generator().manual_seed(0)

    def notes(low: float, high: float) -> torch.Tensor:
        pitches = low + (high - low) * torch.rand(24, generator=generator)
        return torch.cat([tone(float(pitch), 0.5) for pitch in pitches])

    def distance(audio_N: torch.Tensor) -> float:
        metric = FrechetAudioDistance(embed.dimension)
        metric.update(embed(reference_N, SAMPLE_RATE_HZ), real=True)
        metric.update(embed(audio_N, SAMPLE_RATE_HZ), real=False)
        return float(metric.compute().distance)

    reference_N = notes(300, 600)
    alike, higher, noise = (
        notes(300, 600),
        notes(1500, 4000),
        0.1 * torch.randn(12 * SAMPLE_RATE_HZ, generator=generator),
    )
    assert distance(reference_N) == pytest.approx(0, abs=1e-6)
    assert distance(alike) < distance(higher) < distance(noise)


def test_a_constant_cloud_is_no_reason_to_warn() -> None:
    metric = FrechetAudioDistance(6)
    metric.update(torch.full((1000, 6), -6.9), real=False)
    metric.update(torch.randn(500, 6, generator=torch.Generator().manual_seed(0)), real=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert float(metric.compute().distance) == pytest.approx(6 * 6.9**2 + 6, rel=0.05)
