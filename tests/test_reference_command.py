"""`--like`: the shipped recipe at a small size, trained, saved, played and exported from its file, and measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from commands import REPOSITORY, tiny_overlay
from slakh_tree import write_tree

from benchmarks import reference_sound
from livejam.audio_files import open_recording
from livejam.checkpoints.description import describe
from livejam.checkpoints.player import load_player
from livejam.cli.main import main
from livejam.streaming import Session, read_reference

RATE = 22050


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("reference") / "songs", train=2, test=6, seconds=8.0)


@pytest.fixture(scope="module")
def checkpoint(songs: Path) -> Path:
    folder, config = songs.parent, REPOSITORY / "configs/liveband/reference_pocket.yaml"
    places = {"TINY_SONGS": str(songs), "TINY_CACHE": str(folder / "cache"), "TINY_ROOT": str(folder / "run")}
    command = [sys.executable, "-m", "lightning_modules.cli", "fit", "--config", str(config)]
    command += ["--config", str(tiny_overlay(config)), "--trainer.limit_val_batches", "0"]
    command += ["--data.init_args.crop_frames", "76", "--model.init_args.discriminator_lead", "0"]
    done = subprocess.run(command, cwd=REPOSITORY, env=os.environ | places, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    path = folder / "run" / "checkpoints" / "last.ckpt"
    held = torch.load(path, weights_only=True)
    for name in ("generator", "ema_generator"):  # two iterations teach too little to be heard
        torch.nn.init.normal_(held["state_dict"][f"{name}.project_reference.weight"])
    torch.save(held, path)
    return path


def recorded(path: Path, seconds: float, rate: int = RATE, channels: int = 1, level: float = 0.1) -> Path:
    noise_NA = level * np.random.default_rng(channels).standard_normal((round(seconds * rate), channels))
    soundfile.write(path, noise_NA, rate, subtype="FLOAT")
    return path


Play = Callable[..., tuple[int, str]]


@pytest.fixture
def play(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Play:
    monkeypatch.chdir(tmp_path)
    recorded(tmp_path / "song.wav", 4.0)

    def command(out: str, *arguments: str) -> tuple[int, str]:
        capfd.readouterr()
        given = ["play", "--checkpoint", str(checkpoint), "--mix", "song.wav", "--out", out, "--no-beats", *arguments]
        status = main(given)
        return status, capfd.readouterr().err

    return command


def test_it_plays_what_a_session_plays_with_that_reference(play: Play, checkpoint: Path) -> None:
    recorded(Path("sound.wav"), 3.0, 48_000, 2)
    assert play("alike", "--like", "sound.wav")[0] == 0
    assert play("plain")[0] == 0
    alike, plain = (soundfile.read(f"{name}/accompaniment.wav")[0] for name in ("alike", "plain"))
    player = load_player(checkpoint)
    session = Session(player)
    session.set_reference(read_reference(Path("sound.wav"), player))
    mix_AN = torch.from_numpy(np.concatenate(list(open_recording(Path("song.wav")).blocks(4096)), axis=1))
    expected = session.process(mix_AN)[0].numpy()
    late = session.timing.late_samples
    assert np.allclose(alike[: len(expected) - late], expected[late:], atol=1e-3)
    assert np.abs(alike - plain).max() > 1e-3
    assert json.loads(Path("alike/report.json").read_text())["like"] == ["sound.wav"]
    assert "takes one, by LogMel" in describe(checkpoint)


def test_each_instrument_has_its_own_or_all_have_one(play: Play) -> None:
    recorded(Path("one.wav"), 2.0)
    recorded(Path("two.wav"), 2.0, channels=2)
    band = ("--instrument", "Drums", "--instrument", "Bass")
    assert play("each", *band, "--like", "one.wav", "--like", "two.wav")[0] == 0
    assert play("all", *band, "--like", "one.wav")[0] == 0
    status, err = play("many", *band, *["--like", "one.wav"] * 3)
    assert status == 2
    assert "2 instruments but 3 --like" in err


@pytest.mark.parametrize(
    ("seconds", "level", "said"), [(2.0, 0.0, "is silent"), (0.05, 0.1, "shorter"), (2.0, np.nan, "finite")]
)
def test_what_is_no_reference_gives_one_sentence(play: Play, seconds: float, level: float, said: str) -> None:
    recorded(Path("sound.wav"), seconds, level=level)
    status, err = play("alike", "--like", "sound.wav")
    assert status == 2
    assert err.count("error:") == 1
    assert said in err
    assert not Path("alike").exists()


def test_models_that_take_none_say_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sound, mix = (recorded(tmp_path / f"{name}.wav", 2.0) for name in ("sound", "mix"))
    given = ["play", "--checkpoint", "liveband-pocket", "--mix", str(mix), "--out", str(tmp_path / "out")]
    assert main([*given, "--like", str(sound)]) == 2
    assert "takes no reference" in capfd.readouterr().err


def test_an_exported_graph_always_sounds_like_its_reference(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    sound = recorded(tmp_path / "sound.wav", 3.0)
    given = ["export", "--checkpoint", str(checkpoint), "--parity-steps", "40"]
    for name, more in (("alike", ["--like", str(sound)]), ("plain", [])):
        assert main([*given, "--out", str(tmp_path / name), *more]) == 0, capfd.readouterr().err
    graphs = [(tmp_path / name / "generator.onnx").read_bytes() for name in ("alike", "plain")]
    assert graphs[0] != graphs[1]


def test_how_closely_it_is_followed_is_measured(checkpoint: Path, songs: Path, tmp_path: Path) -> None:
    band = reference_sound.band_of(str(checkpoint), str(checkpoint))
    items = list(reference_sound.items_of(band, songs, 5, 4.0, tmp_path))
    assert len(items) == 5
    rows = reference_sound.table(reference_sound.measured(band, items))
    assert {*reference_sound.SIMILARITY, *reference_sound.NAMING} <= rows.keys()
    one = rows["the true stem: its own"]["encoder cosine"]
    assert one["items"] == 5
    assert -1 <= one["value"] <= 1
    assert rows["without − base"]["phase lock"]["value"] == pytest.approx(0, abs=1e-6), "the same model"
