"""Model cards say what is known, and that the rest is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import effective, experiments, relative

from livejam.checkpoints.card import fenced, licences, model_card
from livejam.cli import main as livejam_cli

SAID = "not known"


def of_codec(class_path: str, **arguments: Any) -> str:
    model = {"init_args": {"codec": {"class_path": class_path, "init_args": arguments}}}
    return next(licence for part, licence in licences(model, {}, "").items() if part.startswith("the codec"))


SHIPPED = [path for path in experiments() if "codec" in effective(path)["model"].get("init_args", {})]


@pytest.mark.parametrize("path", [path for path in SHIPPED if "codec" not in path.parts], ids=relative)
def test_codec_and_songs_of_every_shipped_config_have_a_licence(path: Path) -> None:
    config = effective(path)
    found = licences(config["model"], config["data"], "")
    codec = next(licence for part, licence in found.items() if part.startswith("the codec"))
    assert codec in ("Apache-2.0", "Stability AI Community License", "CC BY-NC 4.0")
    songs = next(licence for part, licence in found.items() if part.startswith("the songs"))
    rendered = config["data"]["init_args"].get("render_if_missing") is not None
    assert ("GPL" in songs) == rendered
    assert (SAID in songs) != rendered


def test_what_is_somebodys_own_is_not_known() -> None:
    assert of_codec("livejam.codecs.pretrained_codec", weights="mine.safetensors") == SAID
    assert of_codec("livejam.codecs.load_codec", path="mine.safetensors") == SAID
    assert of_codec("mine.Codec") == SAID
    inner = {"class_path": "livejam.codecs.Music2Latent.from_weights", "init_args": {"weights": "here"}}
    assert of_codec("livejam.codecs.WindowedCodec", codec=inner) == "CC BY-NC 4.0"
    assert SAID in licences({}, {}, "")["the codec, not known"]


def test_soundfonts_of_wide_songs_are_named() -> None:
    rendered = {"songs": 9, "seed": 1, "wide": {"soundfonts": ["/usr/share/sounds/sf2/FluidR3_GM.sf2"]}}
    found = licences({}, {"init_args": {"root": "data/wide", "render_if_missing": rendered}}, "")
    songs = next(licence for part, licence in found.items() if part.startswith("the songs"))
    assert "wide songs, 9 of seed 1" in songs
    assert "with FluidR3_GM.sf2, TimGM6mb.sf2" in songs
    assert "pocket-Slakh" not in songs


def test_weights_that_a_part_reads_are_named() -> None:
    encoder = {"class_path": "livejam.networks.T5Encoder", "init_args": {"weights": "t5_base"}}
    found = licences({"init_args": {"generator": {"init_args": {"prompt_encoder": encoder}}}}, {}, "")
    assert next(v for k, v in found.items() if k.startswith("T5Encoder")) == "Apache License 2.0"


def test_a_start_from_foreign_weights_is_said() -> None:
    assert licences({}, {}, "unknown recipe ? → FlowMatching 10")["the weights that training began with"] == SAID
    assert "the weights that training began with" not in licences({}, {}, "FlowMatching 10")


def test_nothing_in_a_checkpoint_ends_a_block_of_code() -> None:
    text = fenced("a\n````\n# not a heading", "yaml")
    assert text.startswith("`````yaml\n")
    assert text.endswith("\n`````\n")


def test_a_card_without_numbers_and_configuration_says_so() -> None:
    card = model_card("some.ckpt", "0", "recipe  unknown", {}, "", None)
    assert "Not known: no test of this checkpoint was given" in card
    assert card.count("```yaml\nnot known\n```") == 2


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A checkpoint that holds what every recipe writes, and no more."""
    spec = {"name": "pocket", "sample_rate_hz": 22050, "audio_channels": 1, "hop_samples": 2048}
    facts = {"codec_spec": spec | {"latent_channels": 2, "delay_samples": 0}, "latents_hash": "0"}
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    torch.save({"state_dict": {"iteration": torch.tensor(3)}, "livejam": facts}, path)
    return path


@pytest.mark.parametrize(
    "config", [{"model": [1]}, {"data": "songs"}, {"data": {"init_args": {"render_if_missing": {}}}}]
)
def test_an_odd_configuration_is_one_sentence(bare: Path, config: object, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({**torch.load(bare, weights_only=True), "config": config}, bare)
    assert livejam_cli.main(["card", str(bare)]) == 2
    assert "does not hold what a recipe writes" in capsys.readouterr().err
    assert not bare.with_name("MODEL_CARD.md").exists()


def test_numbers_of_other_weights_are_no_ones_of_this(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Found beside the checkpoint they are left out, named they are refused."""
    cell = {"value": 1.0, "drift": None, "count": 1}
    facts = {"data": {}, "codec": {}, "measures": {}, "models": {"trained": {"sha256": "012345678901"}}}
    results = bare.parent.parent / "results.json"
    results.write_text(json.dumps({"trained": {"beat_f1": cell}, "measured_on": facts}))
    assert livejam_cli.main(["card", str(bare), "--results", str(results)]) == 2
    assert "holds no test of" in capsys.readouterr().err
    assert livejam_cli.main(["card", str(bare)]) == 0
    assert "without numbers" in capsys.readouterr().out
    card = bare.with_name("MODEL_CARD.md")
    assert "beat F1, mix ↑" not in card.read_text()

    card.write_text("what its maker added")
    assert livejam_cli.main(["card", str(bare)]) == 2
    assert card.read_text() == "what its maker added"
