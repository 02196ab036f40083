"""Averages of models: the mean of their weights, played, tested and published like a model; never of what differs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_band import band_checkpoint, lmdm_checkpoint

import livejam
from livejam.checkpoints.averaging import average
from livejam.checkpoints.description import describe
from livejam.checkpoints.file import played_weights, read_checkpoint
from livejam.checkpoints.published import read_model
from livejam.checkpoints.publishing import publish
from livejam.cli.main import main
from livejam.errors import UserError


def changed(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The checkpoint of the small band with a change."""
    content = torch.load(band_checkpoint(path), weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def moved(path: Path, by: float) -> Path:
    """The small band with other weights."""

    def move(content: dict[str, Any]) -> None:
        for name, weight in content["state_dict"].items():
            if name.startswith("generator.") and weight.is_floating_point():
                weight += by * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))

    return changed(path, move)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return played_weights(read_model(path)["state_dict"])


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return band_checkpoint(tmp_path / "one.ckpt"), moved(tmp_path / "other.ckpt", 0.1)


@settings(max_examples=10, deadline=None)  # each writes and reads three checkpoints
@given(shares=st.lists(st.floats(0.01, 100), min_size=2, max_size=2))
def test_the_mean_lies_where_the_shares_say(shares: list[float], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("models")
    one, other, out = band_checkpoint(folder / "one.ckpt"), moved(folder / "other.ckpt", 0.1), folder / "mean.ckpt"
    average([one, other], shares, out)
    part = shares[0] / sum(shares)
    mean, ours, theirs = map(weights, (out, one, other))
    assert mean.keys() == ours.keys()
    for name, weight in mean.items():
        torch.testing.assert_close(weight, part * ours[name] + (1 - part) * theirs[name], rtol=1e-5, atol=1e-6)


def test_models_averaged_with_themselves_stay_what_they_are(tmp_path: Path) -> None:
    one, out = band_checkpoint(tmp_path / "one.ckpt"), tmp_path / "mean.ckpt"
    average([one, one, one], [1, 1, 1], out)
    assert all(torch.equal(weight, weights(one)[name]) for name, weight in weights(out).items())


def test_both_generators_of_a_checkpoint_are_the_mean(pair: tuple[Path, Path], tmp_path: Path) -> None:
    def add_ema(content: dict[str, Any]) -> None:
        state = content["state_dict"]
        state |= {f"ema_{name}": 2 * weight for name, weight in state.items() if name.startswith("generator.")}
        content |= {"optimizer_states": [{"state": {}}], "loops": {}, "pytorch-lightning_version": "2.5.0"}

    one, out = changed(tmp_path / "ema.ckpt", add_ema), tmp_path / "mean.ckpt"
    average([one, pair[1]], [1, 1], out)
    content = read_checkpoint(out)
    for name, weight in weights(one).items():
        mean = (weight + weights(pair[1])[name]) / 2 if weight.is_floating_point() else weight
        for network in ("generator", "ema_generator"):
            torch.testing.assert_close(content["state_dict"][f"{network}.{name}"], mean, rtol=1e-6, atol=1e-6)
    assert "optimizer_states" not in content
    assert "pytorch-lightning_version" in content, "Lightning tests nothing else"


def test_an_average_is_published_and_says_what_it_is_made_of(pair: tuple[Path, Path], tmp_path: Path) -> None:
    small, out, published = (tmp_path / name for name in ("small.safetensors", "mean.ckpt", "mean.safetensors"))
    publish(pair[1], small, "CC0")
    assert main(["average", str(pair[0]), str(small), "--shares", "3", "1", "--out", str(out)]) == 0
    publish(out, published, "CC0")
    for path in (out, published):
        assert "weights are  75% of " in describe(path)
        assert "(R3GAN 3) + 25% of " in describe(path)
        assert "lineage  R3GAN 3 (mean of 2)\n" in describe(path)
    assert livejam.load(str(published)).instruments == ("Percussive",)


def test_networks_that_were_initialised_apart_are_warned_of(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    apart = changed(
        tmp_path / "apart.ckpt",
        lambda content: [
            weight.copy_(torch.randn_like(weight))
            for name, weight in content["state_dict"].items()
            if name.startswith("generator.") and weight.is_floating_point()
        ],
    )
    for other, warned in ((pair[1], False), (apart, True)):
        assert main(["average", str(pair[0]), str(other), "--out", str(tmp_path / "mean.ckpt"), "--overwrite"]) == 0
        assert ("nothing in common" in capsys.readouterr().err) == warned


def test_only_instruments_that_all_know_are_asked_for(tmp_path: Path) -> None:
    one = band_checkpoint(tmp_path / "one.ckpt", targets=("Percussive", "Bass", "Piano"))
    other = band_checkpoint(tmp_path / "other.ckpt", targets=("Piano", "Percussive", "Guitar"))
    average([one, other], [1, 1], tmp_path / "mean.ckpt")
    assert set(livejam.load(str(tmp_path / "mean.ckpt")).instruments) == {"Percussive", "Piano"}


def set_heads(content: dict[str, Any]) -> None:
    content["config"]["model"]["init_args"]["generator"]["init_args"]["heads"] = 4


def set_codec(content: dict[str, Any]) -> None:
    content["livejam"]["latents_hash"] = "0" * 64


def set_statistics(content: dict[str, Any]) -> None:
    content["livejam"]["latent_mean_C"] += 0.1


def drop_generator(content: dict[str, Any]) -> None:
    content["state_dict"] = {name: w for name, w in content["state_dict"].items() if not name.startswith("gen")}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (set_heads, r"heads is 2 and 4"),
        (set_codec, "different codecs"),
        (set_statistics, "normalised differently"),
        (drop_generator, r"missing in the checkpoint"),
    ],
)
def test_what_differs_is_not_averaged(
    change: Callable[[dict[str, Any]], None], said: str, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    other, out = changed(tmp_path / "changed.ckpt", change), tmp_path / "mean.ckpt"
    with pytest.raises(UserError, match=said):
        average([pair[0], other], [1, 1], out)
    assert not out.exists()


def test_another_size_or_another_recipe_is_not_averaged(pair: tuple[Path, Path], tmp_path: Path) -> None:
    wide = band_checkpoint(tmp_path / "many.ckpt", anticipations=12)
    with pytest.raises(UserError, match=r"does not fit .*anticipation_embedding"):
        average([pair[0], wide], [1, 1], tmp_path / "mean.ckpt")
    with pytest.raises(UserError, match="does not fit"):
        average([pair[0], lmdm_checkpoint(tmp_path / "lmdm.ckpt")], [1, 1], tmp_path / "mean.ckpt")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--shares", "1"], "1 numbers for 2 models"),
        (["--shares", "1", "0"], "not above 0"),
        (["--shares", "nan", "1"], "not above 0"),
        (["--out", "mean.safetensors"], r"call it mean\.ckpt"),
    ],
)
def test_mistakes_are_named(
    arguments: list[str], said: str, pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "mean.ckpt")]
    assert main(["average", *map(str, pair), *out, *arguments]) == 2
    assert said.replace("\\", "") in capsys.readouterr().err


def test_nothing_is_overwritten_and_small_models_do_not_come_first(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = pair[1].read_bytes()
    assert main(["average", *map(str, pair), "--out", str(pair[1])]) == 2
    assert pair[1].read_bytes() == before
    assert "is also an input" in capsys.readouterr().err
    assert main(["average", "liveband-wide", str(pair[0]), "--out", str(tmp_path / "mean.ckpt")]) == 2
    assert "holds only what plays" in capsys.readouterr().err
