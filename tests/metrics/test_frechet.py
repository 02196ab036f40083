"""The Fréchet distance against closed forms, SciPy and the frechet-audio-distance package."""

from __future__ import annotations

import ast
import importlib.util
import json
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
from metrics.frechet import DriftingFrechetDistance, FrechetAudioDistance, extrapolated_distance
from metrics.frechet_reference import FrechetReference
from metrics.gaussians import SampleGaussian, frechet_distance, gaussian_distance
from metrics.intervals import MOST_GROUPS

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
    rng = torch.Generator().manual_seed(0)

    def notes(low: float, high: float) -> torch.Tensor:
        pitches = low + (high - low) * torch.rand(24, generator=rng)
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
        0.1 * torch.randn(12 * SAMPLE_RATE_HZ, generator=rng),
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
    return metric.reference("log_mel", SAMPLE_RATE_HZ, 10.0)


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
    for made_of in (("vggish", SAMPLE_RATE_HZ, 10.0), ("log_mel", 16_000, 10.0), ("log_mel", SAMPLE_RATE_HZ, 5.0)):
        with pytest.raises(UserError, match="cannot be compared"):
            reference.require_like(*made_of)
    for other in (reference_of(x_WD, "another song"), reference_of(x_WD[:20])):
        with pytest.raises(UserError, match="different references"):
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
    made_of = {"embedding": "log_mel", "sample_rate_hz": SAMPLE_RATE_HZ, "data_hash": "0", "count": 30}
    sums = {"sum_D": reference.sum_D, "outer_DD": reference.outer_DD}
    for length in ({}, {"segment_seconds": "ten"}, {"segment_seconds": 0}):
        save_file(sums, path, {"frechet_reference": json.dumps(made_of | length)})
        with pytest.raises(UserError, match=r"is not a Fréchet reference .*segments"):
            FrechetReference.load(path)
    save_file({"sum_D": torch.zeros(3)}, path)
    with pytest.raises(UserError, match="is not a Fréchet reference"):
        FrechetReference.load(path)


def test_extrapolation_takes_the_bias_of_few_embeddings_away() -> None:
    rng = torch.Generator().manual_seed(0)
    dimension = 16
    real = SampleGaussian(torch.zeros(dimension).double(), 10**9, torch.eye(dimension).double())
    fake_WD = torch.randn(2000, dimension, generator=rng)
    result = extrapolated_distance(real, fake_WD)
    assert result.slope > 0
    assert abs(result.distance) < 0.3 * result.distances_S[-1] < 0.3 * result.distances_S[0]
    assert result.sizes_S[-1] == 2000
    again = extrapolated_distance(real, fake_WD)
    assert again.distance == result.distance
    assert math.isnan(extrapolated_distance(real, fake_WD[:9]).distance)
    metric = FrechetAudioDistance(dimension, extrapolate=True)
    metric.update(torch.randn(20_000, dimension, generator=rng), real=True)
    metric.update(fake_WD, real=False)
    score = metric.compute()
    assert float(score.extrapolated) < 0.5 * float(score.distance)
    assert math.isnan(float(FrechetAudioDistance(dimension).compute().extrapolated))


def samples(seed: int, count: int, dimension: int) -> torch.Tensor:
    """As embeddings are: off the origin, alike, and of unlike spread in unlike directions."""
    rng = torch.Generator().manual_seed(seed)
    spread_D = 1 / (1 + torch.arange(dimension, dtype=torch.float64))
    return 1 + torch.randn(count, dimension, generator=rng, dtype=torch.float64) * spread_D


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(2, 60), st.integers(2, 40))
def test_few_samples_of_many_dimensions_have_the_distance_of_their_covariances(
    seed: int, fake: int, real: int, dimension: int
) -> None:
    a, b = (SampleGaussian.of_samples(samples(seed + i, n, dimension)) for i, n in enumerate((real, fake)))
    expected = frechet_distance(a.mean_D, a.covariance_DD, b.mean_D, b.covariance_DD)
    assert gaussian_distance(a, b) == pytest.approx(expected, rel=1e-6)
    by_sums = [
        SampleGaussian.of_sums(len(x_WD), x_WD.sum(0), x_WD.T @ x_WD)
        for x_WD in (samples(seed, real, dimension), samples(seed + 1, fake, dimension))
    ]
    assert gaussian_distance(*by_sums) == pytest.approx(expected, rel=1e-6)


def drifting(songs: dict[str, tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]]) -> DriftingFrechetDistance:
    metric = DriftingFrechetDistance(4)
    metric.keep_songs()
    for song, (first_WD, later_WD, real_WD) in songs.items():
        metric.update_pair(first_WD, later_WD, song)
        metric.update(real_WD, real=True, song=song)
    return metric


def test_a_drift_is_of_the_songs_that_go_on_and_leaving_out_one_is_measuring_the_others() -> None:
    """A song that ends early, and sounds like nothing else, has no share in the drift."""
    x = iter(samples(seed, 8, 4) for seed in range(99))
    songs = {name: (next(x), next(x) + 0.3, next(x)) for name in "abcde"} | {"short": (5 + next(x), None, next(x))}
    metric = drifting(songs)
    score = metric.compute()
    drift = metric.drift(float(score.distance))
    rest = {name: (first, later, real) for name, (first, later, real) in songs.items() if later is not None}
    first, later = (FrechetAudioDistance(4) for _ in range(2))
    for a_WD, b_WD, _ in rest.values():
        first.update(a_WD, real=False)
        later.update(b_WD, real=False)
    for distance in (first, later):
        for _, _, real_WD in songs.values():
            distance.update(real_WD, real=True)
    expected = float(later.compute().distance) - float(first.compute().distance)
    assert drift == pytest.approx(expected, rel=1e-6)
    assert abs(drift) < 0.2 * float(score.distance), "the song without a second segment is in the value alone"
    assert (int(score.fake_count), int(metric.later_count)) == (48, 40)
    others = float(drifting({name: song for name, song in songs.items() if name != "c"}).compute().distance)
    assert np.isclose(metric.left_out("fake"), others, rtol=1e-9).sum() == 1


def test_stems_of_other_songs_are_left_out_with_the_song_they_come_from() -> None:
    """The same stems dealt out otherwise: the distance is the same, and so is how sure it is."""
    names = [str(i) for i in range(12)]
    stems = {name: samples(i, 6, 4) + 0.5 * samples(99 + i, 1, 4) for i, name in enumerate(names)}
    rows = {}
    for shift in (0, 1):
        metric = DriftingFrechetDistance(4)
        metric.keep_songs()
        for i, name in enumerate(names):
            partner = names[(i + shift) % 12]
            metric.update(stems[name], real=True, song=name)
            metric.update_pair(stems[partner][:3], None, partner)
        rows[shift] = metric.left_out("fake")
    np.testing.assert_allclose(rows[1], rows[0], rtol=1e-6)


def test_many_songs_are_left_out_in_groups() -> None:
    metric = DriftingFrechetDistance(4)
    metric.keep_songs()
    for i in range(120):
        metric.update_pair(samples(i, 2, 4), None, str(i))
        metric.update(samples(i, 4, 4), real=True, song=str(i))
    assert len(metric.left_out("fake")) == MOST_GROUPS
    assert np.isfinite(metric.left_out("fake")).all()
    assert np.isnan(metric.left_out("later")).all()
