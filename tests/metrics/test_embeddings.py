"""Embeddings of the Fréchet distance against the packages they come from, with random weights; and bad input."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import vggish_case
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from livejam.errors import UserError
from metrics.embeddings import EnCodec, LaionClap, Pann, VGGish
from metrics.embeddings.embedding import chunks_of, in_16_bits, mono_at
from metrics.embeddings.foreign import load_tensors, module_inside, optional_module
from metrics.embeddings.laion_clap import AudioTower, tower_tensors
from metrics.embeddings.vggish import VGGishNetwork
from metrics.frechet import FrechetAudioDistance

GOLDEN = Path(__file__).parent / "golden" / "vggish.safetensors"


def noise(seconds: float, rate: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(int(seconds * rate), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def vggish(tmp_path_factory: pytest.TempPathFactory) -> VGGish:
    path = tmp_path_factory.mktemp("weights") / "vggish.pth"
    shapes = {name: tensor.shape for name, tensor in VGGishNetwork().state_dict().items()}
    torch.save(vggish_case.weights(shapes), path)
    embed = VGGish(path)
    path.unlink()
    return embed


def test_vggish_equals_the_package_with_a_random_weight_hub_cache(vggish: VGGish) -> None:
    expected_WD = load_file(GOLDEN)["embeddings_WD"]
    ours_WD = vggish(vggish_case.audio(), vggish_case.SAMPLE_RATE_HZ)
    assert ours_WD.shape == expected_WD.shape == (3, 128)
    assert expected_WD.min() < 0, "the last activation is off"
    assert expected_WD.std(0).min() > 0
    torch.testing.assert_close(ours_WD, expected_WD, rtol=1e-4, atol=1e-4 * float(expected_WD.abs().max()))


def test_vggish_of_bad_audio(vggish: VGGish) -> None:
    assert vggish(torch.zeros(0), 16_000).shape == vggish(noise(0.9, 16_000), 16_000).shape == (0, 128)
    assert vggish(torch.zeros(16_000), 16_000).isfinite().all()
    assert vggish((50 * noise(1, 16_000)).clamp(-1, 1), 16_000).isfinite().all()
    with pytest.raises(ValueError, match="finite"):
        vggish(torch.full((16_000,), math.nan), 16_000)
    stereo_AN = torch.stack([noise(1, 16_000), noise(1, 16_000, 1)])
    torch.testing.assert_close(vggish(stereo_AN, 16_000), vggish(stereo_AN.mean(0), 16_000))
    time_N = torch.arange(44_100) / 44_100
    tone_N = 0.2 * torch.sin(2 * math.pi * 440 * time_N)
    low_N = 0.2 * torch.sin(2 * math.pi * 440 * torch.arange(16_000) / 16_000)
    spread = float(vggish(low_N, 16_000).std())
    assert float((vggish(tone_N, 44_100) - vggish(low_N, 16_000)).abs().max()) < 0.5 * spread


def clap_modules() -> tuple[Any, dict[str, Any]]:
    """laion_clap's own model file and its configuration, without its import's look for a network."""
    model = module_inside("laion_clap", "clap_module", "model")
    config = Path(model.__file__).parent / "model_configs" / "HTSAT-base.json"
    return model, json.loads(config.read_text())


@pytest.mark.slow
def test_laion_clap_equals_its_own_module(tmp_path: Path) -> None:
    model, config = clap_modules()
    theirs = SimpleNamespace(audio_branch=model.create_htsat_model(model.CLAPAudioCfp(**config["audio_cfg"])).eval())
    theirs.audio_projection = torch.nn.Sequential(
        torch.nn.Linear(config["embed_dim"], 512), torch.nn.ReLU(), torch.nn.Linear(512, 512)
    )
    theirs.parameters = theirs.audio_branch.parameters
    theirs.encode_audio = lambda audio, device: model.CLAP.encode_audio(theirs, audio, device)
    tensors = {
        f"module.{part}.{name}": tensor
        for part in ("audio_branch", "audio_projection")
        for name, tensor in getattr(theirs, part).state_dict().items()
    }
    tensors["module.text_branch.embeddings.position_ids"] = torch.arange(514)[None]
    tensors["module.text_branch.pooler.dense.bias"] = torch.zeros(768)
    path = tmp_path / "clap.pt"
    torch.save({"epoch": 15, "best": np.float64(90.14), "state_dict": tensors}, path)
    embed = LaionClap(path)
    path.unlink()
    audio_N = 20 * noise(11.5, 48_000)
    # laion_clap's own quantisation, with which fadtk feeds it too
    pcm_N = (np.clip(audio_N.numpy(), -1, 1) * 32767.0).astype(np.int16)
    waveform_N = torch.from_numpy((pcm_N / 32767.0).astype(np.float32))
    chunks = [{"waveform": waveform_N[i * 48_000 :][:480_000]} for i in range(2)]
    with torch.no_grad():
        expected_WD = model.CLAP.get_audio_embedding(theirs, chunks)
    ours_WD = embed(audio_N, 48_000)
    torch.testing.assert_close(ours_WD, expected_WD)
    torch.testing.assert_close(ours_WD.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(embed(audio_N.clamp(-1, 1), 48_000), ours_WD)
    assert embed(torch.zeros(0), 48_000).shape == (0, 512)
    assert embed(torch.zeros(4800), 48_000).isfinite().all()


def test_exactly_position_ids_and_what_is_known_is_left_out_of_a_clap_checkpoint() -> None:
    tower, one = {"audio_branch.bn0.bias": 1, "audio_projection.0.bias": 1}, torch.zeros(1)
    others = {"text_branch.embeddings.position_ids": one, "text_projection.0.bias": one, "logit_scale_a": one}
    held = {"epoch": 3, "state_dict": {f"module.{name}": one for name in tower | others}}
    assert tower_tensors(held).keys() == tower.keys()
    assert tower_tensors({name: one for name in tower | others}).keys() == tower.keys()
    held["state_dict"]["module.audio_branch.position_ids"] = one
    assert "audio_branch.position_ids" in tower_tensors(held)


@pytest.mark.slow
def test_pann_equals_the_packages_network(tmp_path: Path) -> None:
    network = module_inside("frechet_audio_distance", "models", "pann").Cnn14(32_000, 1024, 320, 64, 50, 16_000, 527)
    path = tmp_path / "pann.pth"
    torch.save({"iteration": 1, "model": network.state_dict(), "sampler": {"indexes": np.arange(3)}}, path)
    embed = Pann(path, window_seconds=2.0, hop_seconds=2.0)
    path.unlink()
    audio_N = noise(3.0, 32_000)
    with torch.no_grad():
        expected_D = network.eval()(audio_N[None, :64_000], None)["embedding"][0]
    ours_WD = embed(audio_N, 32_000)
    assert ours_WD.shape == (1, 2048)
    torch.testing.assert_close(ours_WD[0], expected_D, rtol=1e-4, atol=1e-5)
    assert embed(torch.zeros(0), 32_000).shape == (0, 2048)


def test_encodec_equals_the_package_with_random_weights(tmp_path: Path) -> None:
    model = optional_module("encodec").EncodecModel.encodec_model_24khz(pretrained=False)
    path = tmp_path / "encodec.th"
    torch.save(model.state_dict(), path)
    embed = EnCodec(path)
    audio_N = noise(0.5, 24_000)
    with torch.no_grad():
        expected_WD = model.encoder(audio_N[None, None])[0].T
    torch.testing.assert_close(embed(audio_N, 24_000), expected_WD)
    assert embed(torch.zeros(10), 24_000).shape == (0, 128)
    assert EnCodec(path).identity == embed.identity
    with pytest.raises(ValueError, match="finite"):
        embed(torch.full((24_000,), math.inf), 24_000)


@pytest.mark.parametrize(
    ("embedding", "name"), [(VGGish, "vggish"), (LaionClap, "clap_music"), (Pann, "pann"), (EnCodec, "encodec_fad")]
)
def test_missing_weights_name_the_command(
    embedding: type, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEJAM_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError, match=f"livejam weights fetch {name}"):
        embedding()
    with pytest.raises(UserError, match=f"livejam weights fetch {name}"):
        embedding(tmp_path / "nowhere.pt")


def test_missing_packages_name_the_extra() -> None:
    for ask in (lambda: module_inside("no_such_package", "models", "x"), lambda: optional_module("no_such_package")):
        with pytest.raises(UserError, match=r"livejam\[metrics\]"):
            ask()


def test_files_of_strangers_are_refused_in_one_sentence(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (sys.exit, (1,))

    network = torch.nn.Linear(2, 2)
    path = tmp_path / "weights.pt"
    for held in ({"weight": torch.zeros(2, 2)}, {"weight": torch.zeros(3, 3), "bias": torch.zeros(2)}, [1]):
        torch.save(held, path)
        with pytest.raises(UserError, match="does not hold the weights expected"):
            load_tensors(path, network, lambda held: held)
    torch.save(Evil(), path)
    with pytest.raises(UserError, match="could run code"):
        load_tensors(path, network, lambda held: held)
    path.write_bytes(b"no pickle at all")
    with pytest.raises(UserError, match="something else than tensors"):
        load_tensors(path, network, lambda held: held)


def test_a_tower_is_imported_without_its_package() -> None:
    module_inside("laion_clap", "clap_module", "htsat")
    module_inside("frechet_audio_distance", "models", "pann")
    assert "laion_clap" not in sys.modules
    assert "frechet_audio_distance" not in sys.modules
    assert AudioTower.__module__ == "metrics.embeddings.laion_clap"


def test_chunks_are_whole_unless_the_recording_is_shorter() -> None:
    ramp_N = torch.arange(1.0, 8.0)
    assert chunks_of(ramp_N, 4, 3).tolist() == [[1, 2, 3, 4], [4, 5, 6, 7]]
    assert chunks_of(ramp_N[:6], 4, 3).tolist() == [[1, 2, 3, 4]]
    assert chunks_of(ramp_N, 2, 3).tolist() == [[1, 2], [4, 5]]
    assert chunks_of(ramp_N[:3], 4, 1).tolist() == [[1, 2, 3, 0]]
    assert chunks_of(ramp_N[:0], 4, 3).shape == (0, 4)
    assert len(mono_at(torch.zeros(0), 48_000, 16_000)) == 0
    assert len(mono_at(torch.zeros(2, 48_000), 48_000, 16_000)) == 16_000


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([16_000, 22_050, 44_100, 48_000]), st.sampled_from([32_000, 48_000]), st.integers(1, 3))
def test_a_segment_of_a_chunks_length_is_one_chunk_whatever_its_rate(rate: int, own: int, seconds: int) -> None:
    audio_N = mono_at(noise(seconds, rate), rate, own)
    chunks_WN = chunks_of(audio_N, seconds * own, own)
    assert len(chunks_WN) == 1
    assert int((chunks_WN[0] == 0).sum()) < 0.001 * seconds * own


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=50))
def test_sixteen_bits_are_those_of_laion_clap(samples: list[float]) -> None:
    audio_N = torch.tensor(samples)
    pcm_N = (np.clip(audio_N.numpy(), -1, 1) * 32767.0).astype(np.int16)
    np.testing.assert_allclose(in_16_bits(audio_N).numpy(), (pcm_N / 32767.0).astype(np.float32), atol=1e-7)


def test_items_without_windows_leave_a_distance_undefined(vggish: VGGish) -> None:
    metric = FrechetAudioDistance(vggish.dimension)
    metric.update(vggish(torch.zeros(100), 16_000), real=False)
    metric.update(vggish(noise(1.9, 16_000), 16_000), real=True)
    score = metric.compute()
    assert math.isnan(float(score.distance))
    assert (int(score.real_count), int(score.fake_count)) == (1, 0)
