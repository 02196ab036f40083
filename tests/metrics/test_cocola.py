"""COCOLA is the reference implementation's; its parts differ; bad input has defined values.

`golden/cocola_reference.safetensors` was written by `make_cocola_golden.py` with the reference implementation:
the published architecture with seeded weights, and two pairs of synthetic recordings (`cocola_case.py`).

Shapes: B batch, N audio samples, F mel bands, T frames.
"""

from __future__ import annotations

import math
import pickle
import sys
from enum import Enum
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch
from cocola_case import seeded_pairs, seeded_weights
from safetensors.torch import load_file
from torch import Tensor

from livejam.errors import UserError
from metrics.cocola import PARTS, Cocola, PocketEncoder, PublishedEncoder, masked
from metrics.cocola_embedding import CocolaEmbedding
from metrics.cocola_score import CocolaScore, area_under_curve, cocola_score, windows_of
from metrics.cocola_spectrogram import harmonic_percussive_db, relative_db, slaney_filterbank
from metrics.cocola_weights import BUNDLED, load_cocola, pretrained_cocola, save_cocola
from metrics.embeddings.embedding import mono_at

GOLDEN = load_file(Path(__file__).parent / "golden" / "cocola_reference.safetensors")
LEVEL_TOLERANCE_DB = 0.02


@pytest.fixture(scope="module")
def published() -> Cocola:
    cocola = Cocola(PublishedEncoder())
    cocola.load_state_dict(seeded_weights(cocola.state_dict()))
    return cocola.eval()


@pytest.fixture(scope="module")
def pocket() -> Cocola:
    return pretrained_cocola("pocket")


@pytest.fixture(scope="module")
def levels() -> tuple[Tensor, Tensor]:
    mix_BN, stem_BN = seeded_pairs()
    return relative_db(harmonic_percussive_db(mix_BN)), relative_db(harmonic_percussive_db(stem_BN))


def recording(seconds: float, rate_hz: int = 16000, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(round(seconds * rate_hz), generator=rng)


class TestReference:
    def test_names_and_shapes_are_the_published_ones(self, published: Cocola) -> None:
        theirs = {name.removeprefix("shape "): tuple(v.tolist()) for name, v in GOLDEN.items() if "shape " in name}
        assert {name: tuple(tensor.shape) for name, tensor in published.state_dict().items()} == theirs

    def test_spectrograms(self, levels: tuple[Tensor, Tensor]) -> None:
        for name, ours_B2FT in zip(("mix_levels", "stem_levels"), levels, strict=True):
            assert float((ours_B2FT[..., ::5] - GOLDEN[name]).abs().max()) < LEVEL_TOLERANCE_DB

    def test_embeddings(self, published: Cocola, levels: tuple[Tensor, Tensor]) -> None:
        with torch.no_grad():
            ours_BD = published.embed(levels[0])
        torch.testing.assert_close(ours_BD, GOLDEN["mix_embedding"], rtol=0, atol=2e-3)

    @pytest.mark.parametrize("part", PARTS)
    def test_scores(self, published: Cocola, levels: tuple[Tensor, Tensor], part: str) -> None:
        with torch.no_grad():
            ours_B = published(*(masked(levels_B2FT, part) for levels_B2FT in levels))
        spread = float(GOLDEN["score_full"].std())
        torch.testing.assert_close(ours_B, GOLDEN[f"score_{part}"], rtol=1e-3, atol=1e-3 * spread)

    def test_scores_of_recordings(self, published: Cocola) -> None:
        for i, (mix_N, stem_N) in enumerate(zip(*seeded_pairs(), strict=True)):
            for part, score in cocola_score(published, mix_N, stem_N, 16000).items():
                assert score == pytest.approx(float(GOLDEN[f"score_{part}"][i]), rel=2e-3, abs=2e-3)

    @pytest.mark.slow  # librosa takes seconds to import
    def test_filterbank_is_librosas(self) -> None:
        mel = pytest.importorskip("librosa").filters.mel(sr=16000, n_fft=1024, n_mels=64, fmin=60.0, fmax=7800.0)
        torch.testing.assert_close(slaney_filterbank(), torch.from_numpy(mel), rtol=1e-5, atol=1e-8)


class TestParts:
    def test_three_parts_differ_and_scoring_changes_nothing(self, pocket: Cocola) -> None:
        mix_N, stem_N = (pairs[0] for pairs in seeded_pairs())
        before = mix_N.clone(), stem_N.clone()
        scores = cocola_score(pocket, mix_N, stem_N, 16000)
        assert len(set(scores.values())) == 3
        assert cocola_score(pocket, mix_N, stem_N, 16000) == scores
        assert torch.equal(mix_N, before[0])
        assert torch.equal(stem_N, before[1])

    def test_masks_are_copies(self, levels: tuple[Tensor, Tensor]) -> None:
        mix_B2FT = levels[0].clone()
        assert not masked(mix_B2FT, "harmonic")[:, 1].any()
        assert not masked(mix_B2FT, "percussive")[:, 0].any()
        assert torch.equal(masked(mix_B2FT, "full"), mix_B2FT)
        assert torch.equal(mix_B2FT, levels[0])

    def test_matrix_and_pairs_agree(self, pocket: Cocola) -> None:
        x_BD, y_BD = torch.randn(2, 5, pocket.dimension)
        torch.testing.assert_close(pocket.similarity(x_BD, y_BD).diag(), pocket.similarity.pairwise(x_BD, y_BD))


class TestProtocol:
    @pytest.mark.parametrize(("seconds", "windows"), [(0.1, 1), (5, 1), (5.1, 2), (10, 3), (12.5, 4)])
    def test_windows(self, seconds: float, windows: int) -> None:
        audio_N = recording(seconds)
        windows_WN = windows_of(audio_N)
        assert windows_WN.shape == (windows, 80000)
        whole_N = torch.cat([windows_WN[0], *(window_N[40000:] for window_N in windows_WN[1:])])
        assert torch.equal(whole_N[: len(audio_N)], audio_N)
        assert not whole_N[len(audio_N) :].any()

    def test_score_is_the_mean_over_windows(self, pocket: Cocola) -> None:
        mix_N, stem_N = recording(7.5, seed=1), recording(7.5, seed=2)
        first, second = (
            cocola_score(pocket, mix_N[start : start + 80000], stem_N[start : start + 80000], 16000)
            for start in (0, 40000)
        )
        both = cocola_score(pocket, mix_N, stem_N, 16000)
        assert both == pytest.approx({part: (first[part] + second[part]) / 2 for part in PARTS}, abs=1e-4)

    @pytest.mark.parametrize("gain", [0.1, 0.5])
    def test_loudness_does_not_matter(self, pocket: Cocola, gain: float) -> None:
        mix_N, stem_N = (pairs[0] for pairs in seeded_pairs())
        louder, softer = (cocola_score(pocket, mix_N, factor * stem_N, 16000) for factor in (1.0, gain))
        assert softer == pytest.approx(louder, abs=0.1)


class TestBadInput:
    def test_silence_has_a_score(self, pocket: Cocola) -> None:
        scores = cocola_score(pocket, recording(5), torch.zeros(80000), 16000)
        assert all(math.isfinite(score) for score in scores.values())

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_what_is_no_sound_is_excluded_and_counted(self, pocket: Cocola, bad: float) -> None:
        mix_BN = torch.stack([recording(5), recording(5)])
        stem_BN = mix_BN.clone()
        stem_BN[1, 7] = bad
        metric = CocolaScore(pocket)
        metric.update(mix_BN, stem_BN, 16000)
        summaries = metric.compute()
        alone = cocola_score(pocket, mix_BN[0], stem_BN[0], 16000)
        for part, summary in summaries.items():
            assert (summary.items, summary.excluded) == (1, 1)
            assert summary.mean == pytest.approx(alone[part])

    def test_no_items(self, pocket: Cocola) -> None:
        with pytest.warns(UserWarning, match="before the"):
            summaries = CocolaScore(pocket).compute()
        assert math.isnan(summaries["full"].mean)
        assert math.isnan(cocola_score(pocket, torch.zeros(0), torch.zeros(0), 16000)["full"])

    def test_channels_are_averaged(self, pocket: Cocola) -> None:
        mix_N, stem_N = recording(5, seed=1), recording(5, seed=2)
        wide_AN = torch.stack([2 * mix_N, torch.zeros_like(mix_N)])
        assert cocola_score(pocket, wide_AN, stem_N, 16000) == cocola_score(pocket, mix_N, stem_N, 16000)

    def test_rates_are_resampled(self, pocket: Cocola) -> None:
        """Bands reach up to 7.8 kHz, where a resampler's filter begins: not equal, but near."""
        seconds = torch.arange(5 * 44100) / 44100
        sound = lambda n: 0.3 * torch.sin(2 * torch.pi * 300 * n) * (1 + torch.sin(2 * torch.pi * n))  # noqa: E731
        fine = sound(seconds), sound(seconds)
        coarse = sound(torch.arange(80000) / 16000), sound(torch.arange(80000) / 16000)
        scores = [cocola_score(pocket, *pair, rate) for pair, rate in ((fine, 44100), (coarse, 16000))]
        assert all(math.isfinite(score) for score in scores[0].values())
        assert scores[0]["harmonic"] == pytest.approx(scores[1]["harmonic"], rel=0.1, abs=0.5)

    def test_lengths_must_agree(self, pocket: Cocola) -> None:
        with pytest.raises(ValueError, match="80000 and 79999"):
            cocola_score(pocket, torch.zeros(80000), torch.zeros(79999), 16000)


def write_published(path: Path, tensors: dict[str, Tensor]) -> None:
    """A checkpoint as Lightning writes it for the reference implementation, its own types among the settings."""
    module = ModuleType("contrastive_model.constants")
    mode = Enum("EmbeddingMode", {"RANDOM": "random"}, module=module.__name__)
    kind = Enum("ModelInputType", {"DOUBLE": "double_channel_harmonic_percussive"}, module=module.__name__)
    module.EmbeddingMode, module.ModelInputType = mode, kind  # type: ignore[attr-defined]
    names = {"contrastive_model": ModuleType("contrastive_model"), module.__name__: module}
    sys.modules.update(names)
    try:
        settings = {"learning_rate": 0.001, "embedding_mode": mode.RANDOM, "input_type": kind.DOUBLE}
        torch.save({"state_dict": tensors, "hyper_parameters": settings, "epoch": 87}, path)
    finally:
        for name in names:
            del sys.modules[name]


class TestWeights:
    def test_published_checkpoints_load_without_their_code(self, published: Cocola, tmp_path: Path) -> None:
        path = tmp_path / "published.ckpt"
        write_published(path, published.state_dict())
        loaded = pretrained_cocola(str(path))
        assert all(torch.equal(tensor, published.state_dict()[name]) for name, tensor in loaded.state_dict().items())
        assert not loaded.training

    @pytest.mark.parametrize("change", ["lacks", "adds", "shape"])
    def test_other_weights_are_refused_in_one_sentence(self, published: Cocola, tmp_path: Path, change: str) -> None:
        tensors = dict(published.state_dict())
        if change == "lacks":
            del tensors["similarity.w"]
        else:
            tensors["similarity.w" if change == "shape" else "similarity.b"] = torch.zeros(3)
        write_published(tmp_path / "other.ckpt", tensors)
        with pytest.raises(UserError, match=r"similarity\.[wb]") as error:
            pretrained_cocola(str(tmp_path / "other.ckpt"))
        assert "\n" not in str(error.value)

    def test_checkpoints_that_run_code_are_refused(self, tmp_path: Path) -> None:
        with (tmp_path / "evil.ckpt").open("wb") as file:
            pickle.dump({"state_dict": print}, file)
        with pytest.raises(UserError, match="something else than tensors"):
            pretrained_cocola(str(tmp_path / "evil.ckpt"))

    @pytest.mark.parametrize("name", ["nothing", "nothing.ckpt", "nothing.safetensors"])
    def test_missing_weights(self, name: str) -> None:
        with pytest.raises(UserError, match="nothing"):
            pretrained_cocola(name)

    def test_missing_published_weights_name_the_command(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LIVEJAM_WEIGHTS", str(tmp_path))
        with pytest.raises(UserError, match="livejam weights fetch cocola"):
            pretrained_cocola("cocola")

    def test_saved_networks_come_back(self, tmp_path: Path) -> None:
        encoder = PocketEncoder(dimension=8, channels=8, curves=8, harmonics=3)
        cocola = Cocola(encoder, 8).eval()
        save_cocola(cocola, tmp_path / "small.safetensors", {"steps": 1})
        loaded = load_cocola(tmp_path / "small.safetensors")
        for name, tensor in cocola.state_dict().items():
            torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=1e-3, atol=1e-4)

    def test_the_bundled_one_is_small(self) -> None:
        assert all(path.stat().st_size < 8e6 for path in BUNDLED.values())

    def test_strict_knows_cheats_that_pocket_falls_for(self, rendered_songs: Path) -> None:
        """Echo and noise against the true stem, as the mean over the songs."""
        ahead: dict[str, dict[str, list[float]]] = {name: {"echo": [], "noise": []} for name in BUNDLED}
        for song in sorted(path.parent for path in rendered_songs.glob("**/metadata.yaml")):
            stems = [soundfile.read(path, frames=20 * 44_100)[0] for path in sorted(song.glob("stems/*.flac"))]
            stem_N, *others = (mono_at(torch.from_numpy(stem[10 * 44_100 :]), 44_100, 16_000) for stem in stems)
            mix_N = torch.stack(others).sum(0)
            heard = {"true": stem_N, "echo": mix_N, "noise": recording(10.0)}
            for name in BUNDLED:
                cocola = pretrained_cocola(name)
                score = {kind: cocola_score(cocola, mix_N, audio_N, 16_000)["full"] for kind, audio_N in heard.items()}
                for kind, found in ahead[name].items():
                    found.append(score[kind] - score["true"])
        assert np.mean(ahead["pocket"]["echo"]) > 2
        assert np.mean(ahead["strict"]["echo"]) < np.mean(ahead["pocket"]["echo"]) - 3
        assert max(ahead["strict"]["noise"]) < 0


class TestEmbedding:
    def test_windows_and_identity(self) -> None:
        embedding = CocolaEmbedding()
        assert embedding(recording(10), 16000).shape == (6, embedding.dimension)
        assert embedding(recording(10, 44100), 44100).shape == (6, embedding.dimension)
        assert embedding(recording(4.9), 16000).shape == (0, embedding.dimension)
        assert CocolaEmbedding().identity == embedding.identity
        assert CocolaEmbedding(hop_seconds=2.0).identity != embedding.identity

    def test_identity_follows_the_weights(self, tmp_path: Path) -> None:
        paths = [tmp_path / f"{seed}.safetensors" for seed in range(2)]
        for path in paths:
            save_cocola(Cocola(PocketEncoder(8, 8, 8, 3), 8), path, {})
        one, other = (CocolaEmbedding(str(path)) for path in paths)
        assert one.identity != other.identity


def test_area_under_curve_counts_pairs() -> None:
    higher, lower = torch.tensor([1.0, 2.0, 2.0]), torch.tensor([0.0, 2.0])
    assert area_under_curve(higher, lower) == pytest.approx((1 + 0 + 2 * (1 + 0.5)) / 6)
    assert area_under_curve(higher, -lower) == pytest.approx(1.0)
