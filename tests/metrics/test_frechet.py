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
from safetensors.torch import save_file

from livejam.errors import UserError
from metrics.embeddings import LogMel
from metrics.frechet import FrechetAudioDistance, extrapolated_distance, frechet_distance
from metrics.frechet_reference import FrechetReference

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


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.integers(8, 48))
def test_distance_equals_the_packages_own_function_for_singular_covariances(seed: int, dimension: int) -> None:
    theirs = packages_function()
    (mean_a, cov_a), (mean_b, cov_b) = (gaussian(seed + i, dimension, rank=dimension // 2 + i) for i in (0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = theirs(None, *(x.numpy() for x in (mean_a, cov_a, mean_b, cov_b)))
    assert frechet_distance(mean_a, cov_a, mean_b, cov_b) == pytest.approx(expected, rel=1e-6)


def test_processes_add_up_and_one_of_them_may_be_empty() -> None:
    torch.manual_seed(1)
    clouds = {True: torch.randn(40, 5) + 1, False: torch.randn(30, 5)}
    whole, busy, idle = (FrechetAudioDistance(5) for _ in range(3))
    for real, x_WD in clouds.items():
        whole.update(x_WD, real=real, data="song")
        for piece_WD in x_WD.split(7):
            busy.update(piece_WD, real=real)
        idle.update(x_WD[:0], real=real)
    for name in ("real_count", "real_sum_D", "real_outer_DD", "fake_count", "fake_sum_D", "fake_outer_DD"):
        setattr(busy, name, getattr(busy, name) + getattr(idle, name))
    ours, expected = busy.compute(), whole.compute()
    assert float(ours.distance) == pytest.approx(float(expected.distance), rel=1e-9)
    assert (int(ours.real_count), int(ours.fake_count)) == (40, 30)


def reference_of(x_WD: torch.Tensor, data: str = "song") -> FrechetReference:
    metric = FrechetAudioDistance(x_WD.shape[1])
    for i, piece_WD in enumerate(x_WD.split(10)):
        metric.update(piece_WD, real=True, data=f"{data} {i}")
    return metric.reference("log_mel", SAMPLE_RATE_HZ)


def test_a_reference_survives_the_disk_and_the_epochs(tmp_path: Path) -> None:
    torch.manual_seed(2)
    real_WD, fake_WD = torch.randn(60, 4), torch.randn(50, 4) + 1
    fresh, kept = FrechetAudioDistance(4), FrechetAudioDistance(4)
    fresh.update(real_WD, real=True)
    reference_of(real_WD).save(tmp_path / "reference.safetensors")
    loaded = FrechetReference.load(tmp_path / "reference.safetensors")
    loaded.require_same(reference_of(real_WD))
    kept.use_reference(loaded)
    for _ in range(2):
        kept.reset()
        fresh.fake_count.zero_(), fresh.fake_sum_D.zero_(), fresh.fake_outer_DD.zero_()
        for metric in (fresh, kept):
            metric.update(fake_WD, real=False)
        ours, expected = kept.compute(), fresh.compute()
        assert float(ours.distance) == pytest.approx(float(expected.distance), rel=1e-12)
        assert int(ours.real_count) == 60
        fresh._computed = None


def test_unlike_references_do_not_compare(tmp_path: Path) -> None:
    torch.manual_seed(3)
    x_WD = torch.randn(30, 4)
    reference = reference_of(x_WD)
    for embedding, rate in (("vggish", SAMPLE_RATE_HZ), ("log_mel", 16_000)):
        with pytest.raises(UserError, match="do not compare"):
            reference.require_like(embedding, rate)
    for other in (reference_of(x_WD, "another song"), reference_of(x_WD[:20])):
        with pytest.raises(UserError, match="unlike references"):
            reference.require_same(other)
    assert reference_of(x_WD).data_hash == reference.data_hash
    with pytest.raises(ValueError, match="width 5"):
        FrechetAudioDistance(5).use_reference(reference)
    path = tmp_path / "reference.safetensors"
    with pytest.raises(UserError, match="no Fréchet reference"):
        FrechetReference.load(path)
    for damaged in (b"nonsense", b""):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="is not a Fréchet reference"):
            FrechetReference.load(path)
    save_file({"sum_D": torch.zeros(3)}, path)
    with pytest.raises(UserError, match="is not a Fréchet reference"):
        FrechetReference.load(path)


def test_extrapolation_takes_the_bias_of_few_embeddings_away() -> None:
    generator = torch.Generator().manual_seed(0)
    dimension = 16
    mean_D, cov_DD = torch.zeros(dimension).double(), torch.eye(dimension).double()
    fake_WD = torch.randn(2000, dimension, generator=generator)
    result = extrapolated_distance(mean_D, cov_DD, fake_WD)
    assert result.slope > 0
    assert abs(result.distance) < 0.3 * result.distances_S[-1] < 0.3 * result.distances_S[0]
    assert result.sizes_S[-1] == 2000
    again = extrapolated_distance(mean_D, cov_DD, fake_WD)
    assert again.distance == result.distance
    assert math.isnan(extrapolated_distance(mean_D, cov_DD, fake_WD[:9]).distance)
    metric = FrechetAudioDistance(dimension, extrapolate=True)
    metric.update(torch.randn(20_000, dimension, generator=generator), real=True)
    metric.update(fake_WD, real=False)
    score = metric.compute()
    assert float(score.extrapolated) < 0.5 * float(score.distance)
    assert math.isnan(float(FrechetAudioDistance(dimension).compute().extrapolated))
