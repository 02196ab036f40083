"""Published models: small files that play as their checkpoint does, found by name, read without trust."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_band import band_checkpoint

import livejam
from livejam.accompanist import Controls, accompany
from livejam.checkpoints import published
from livejam.checkpoints.card import NOT_KNOWN
from livejam.checkpoints.file import played_weights
from livejam.checkpoints.player import Player, load_player
from livejam.checkpoints.published import BUNDLED, bundled_names, read_model
from livejam.checkpoints.publishing import LARGEST_CHANGE, _codec, publish
from livejam.cli.main import main
from livejam.codecs.pretrained import pretrained_codec
from livejam.codecs.windowed import WindowedCodec
from livejam.errors import UserError

LARGEST_BUNDLED_BYTES = 16 * 2**20


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return band_checkpoint(tmp_path / "last.ckpt")


@pytest.fixture
def model(checkpoint: Path) -> Path:
    path = checkpoint.with_name("my-band.safetensors")
    publish(checkpoint, path, "CC0")
    return path


def played(player: Player) -> torch.Tensor:
    mix_BTC = player.codec.encode(0.1 * torch.randn(1, 1, 20 * 2048, generator=torch.Generator().manual_seed(0)))
    controls = Controls(torch.tensor([14]), torch.tensor([0]))
    return accompany(player.accompanist, mix_BTC, controls, player.silence_C)


def held(path: Path) -> dict[str, Any]:
    with safe_open(str(path), framework="pt") as file:
        return json.loads(file.metadata()["livejam"])


def test_a_published_model_plays_as_its_checkpoint(checkpoint: Path, model: Path) -> None:
    original, small = livejam.load(checkpoint), livejam.load(str(model))
    torch.testing.assert_close(played(small), played(original), rtol=0, atol=LARGEST_CHANGE)
    assert small.instruments == original.instruments == ("Percussive",)
    assert small.codec.latents_hash == original.codec.latents_hash
    assert torch.equal(small.silence_C, original.silence_C)
    assert model.stat().st_size < 200_000, "neither codec nor anything that only training needs"
    exact, half = (played_weights(read_model(path)["state_dict"]) for path in (checkpoint, model))
    assert all(torch.equal(half[name], weight.half().float()) for name, weight in exact.items())
    assert held(model)["published"]["precision"] == "float16"


@pytest.mark.parametrize("name", ["blocks.0.attention.project_in.weight", "blocks.0.attention.sink_H"])
def test_what_float16_would_change_stays_in_float32(name: str, checkpoint: Path, tmp_path: Path) -> None:
    """Because it is beyond the range of float16, even if it hardly matters."""
    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"][f"generator.{name}"] -= 1e6
    torch.save(content, checkpoint)
    made = publish(checkpoint, tmp_path / "loud.safetensors", None)
    assert (made.precision, made.change <= LARGEST_CHANGE) == ("float32", False)
    torch.testing.assert_close(played(livejam.load(tmp_path / "loud.safetensors")), played(livejam.load(checkpoint)))


def test_a_codec_of_ones_own_is_part_of_the_file(tmp_path: Path) -> None:
    codec = pretrained_codec()
    with torch.no_grad():
        next(iter(codec.projection.state_dict().values())).mul_(0.5)
    path = band_checkpoint(tmp_path / "own.ckpt", codec)
    assert publish(path, tmp_path / "own.safetensors", None).with_codec
    loaded = load_player(tmp_path / "own.safetensors").codec
    assert loaded.latents_hash == codec.latents_hash != pretrained_codec().latents_hash
    assert all(torch.equal(weight, codec.state_dict()[name]) for name, weight in loaded.state_dict().items())


def test_codecs_of_others_are_not_copied() -> None:
    with pytest.raises(UserError, match="have a licence of their own"):
        _codec(WindowedCodec(pretrained_codec(), 1, 1, 1))


def test_nothing_says_where_it_was_trained(model: Path) -> None:
    assert "someone" not in json.dumps(held(model))
    assert held(model)["config"]["data"]["init_args"]["root"] == "songs"


def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], object]) -> Path:
    """The model with other metadata or tensors."""
    said, tensors = held(path), load_file(path)
    change(said, tensors)
    save_file(tensors, path, {"livejam": json.dumps(said)})
    return path


def generator_settings(said: dict[str, Any]) -> dict[str, Any]:
    return said["facts"]["player"]["init_args"]["generator"]["init_args"]


CHANGES = {
    "too wide": (lambda said, _: generator_settings(said).update(width=2**15), "more weights than it holds"),
    "much too wide": (lambda said, _: generator_settings(said).update(width=2**40), "does not fit"),
    "too deep": (lambda said, _: generator_settings(said).update(blocks=10**12), "more weights than it holds"),
    "too long": (lambda said, _: generator_settings(said).update(window_frames=10**6), "from 1 to 65536"),
    "too far ahead": (lambda said, _: said["facts"]["player"]["init_args"].update(anticipation_frames=10**9), "65536"),
    "another width": (lambda said, _: generator_settings(said).update(width=64), "does not fit"),
    "other code": (lambda said, _: said["facts"]["player"].update(class_path="os.system"), "cannot be played here"),
    "not a number": (lambda _, tensors: tensors["generator.blocks.0.attention.sink_H"].fill_(torch.nan), "not finite"),
    "no silence": (lambda _, tensors: tensors.pop("silence_C"), "does not fit"),
    "no statistics": (lambda _, tensors: tensors.pop("latent_std_C"), "no model that livejam published"),
    "another codec": (lambda said, _: said["facts"].update(latents_hash="0"), "the codec that comes with this livejam"),
    "a later format": (lambda said, _: said.update(format=2), "update livejam"),
    "facts that are none": (lambda said, _: said.update(facts=[]), "no model that livejam published"),
    "a configuration that is none": (lambda said, _: said.update(config=[]), "lacks what a livejam recipe writes"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_odd_models_are_one_sentence(name: str, model: Path) -> None:
    change, says = CHANGES[name]
    with pytest.raises(UserError, match=says) as refusal:
        livejam.load(rewritten(model, change))
    assert str(model) in str(refusal.value) or name in ("other code", "another codec")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"livejam": "{"}, {"livejam": "[" * 100_000}])
def test_safetensors_of_others_are_one_sentence(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors", metadata)
    with pytest.raises(UserError, match="no model that livejam published"):
        livejam.load(tmp_path / "other.safetensors")


def test_a_codec_file_is_no_model() -> None:
    from livejam.codecs import pretrained

    with pytest.raises(UserError, match="no model that livejam published"):
        livejam.load(pretrained.BUNDLED / "pocket.safetensors")


@pytest.mark.parametrize("kept", [0, 5, 100, 0.5, -1])
def test_a_file_that_was_not_copied_whole_is_one_sentence(kept: float, model: Path) -> None:
    content = model.read_bytes()
    model.write_bytes(content[: int(kept * len(content)) if kept == 0.5 else int(kept)])
    with pytest.raises(UserError, match="damaged"):
        livejam.load(model)


@pytest.fixture
def bundled(model: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a model that comes with livejam."""
    monkeypatch.setattr("livejam.checkpoints.published.BUNDLED", model.parent)
    return model.stem


def test_names(bundled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path.parent)
    assert livejam.load(bundled).instruments == ("Percussive",)
    with pytest.raises(UserError, match=r"no checkpoint my-bnad; did you mean my-band\? \(livejam brings my-band\)"):
        livejam.load("my-bnad")
    monkeypatch.setattr(published, "BUNDLED", tmp_path / "none")
    with pytest.raises(UserError, match="livejam brings no model"):
        livejam.load("my-band")


def test_commands_know_names(
    bundled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path.parent)
    before = set(tmp_path.iterdir())
    assert main(["weights", "list"]) == 0
    assert main(["describe", bundled]) == 0
    assert main(["card", bundled]) == 0
    said = capsys.readouterr().out
    assert "an accompanist that plays Percussive (CC0)" in said
    assert "  licence  CC0\n" in said
    assert "| these weights | CC0 |" in said
    assert set(tmp_path.iterdir()) == before, "a card of a bundled model is printed"
    assert main(["card", bundled, "--out", str(tmp_path / "card.md")]) == 0
    assert "# Model card: my-band.safetensors" in (tmp_path / "card.md").read_text()


def test_the_command(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "band.safetensors"
    command = ["publish", str(checkpoint), "--licence", "CC BY 4.0", "--out"]
    assert main([*command, str(tmp_path / "band.pt")]) == 2
    assert "call it band.safetensors" in capsys.readouterr().err
    assert main([*command, str(out)]) == 0
    assert "in float16 without its codec" in capsys.readouterr().out
    card = out.with_suffix(".md").read_text()
    assert "| these weights | CC BY 4.0 |" in card
    assert "# Model card: band.safetensors" in card
    assert NOT_KNOWN not in card.partition("## Licences")[2].partition("the songs")[0]
    said = tmp_path / "said.safetensors"
    assert main([*command, str(said), "--songs", "my own, CC0"]) == 0
    assert "| the songs | my own, CC0 |" in said.with_suffix(".md").read_text()
    before = out.read_bytes()
    assert main([*command, str(out)]) == 2
    out.unlink()
    assert main([*command, str(out)]) == 2, "the card alone is kept too"
    assert main([*command, str(out), "--overwrite"]) == 0
    assert out.read_bytes() == before
    assert main(["publish", str(out), "--out", str(tmp_path / "again.safetensors")]) == 2
    assert "published already" in capsys.readouterr().err


@pytest.mark.parametrize("name", bundled_names())
def test_bundled_models_are_small_and_play(name: str) -> None:
    assert (BUNDLED / f"{name}.safetensors").stat().st_size <= LARGEST_BUNDLED_BYTES
    assert played(livejam.load(name)).isfinite().all()
    card = (BUNDLED / f"{name}.md").read_text(encoding="utf-8")
    assert "Not known: no test" not in card
    assert "not stated" not in card
