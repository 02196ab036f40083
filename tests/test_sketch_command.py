"""`livejam play --sketch`: the shipped recipe at a small size, trained, saved, and played from its file."""

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
from sung_notes import NOTE_SECONDS, NOTES, sung

import livejam.sketch
from benchmarks.cutoff_sweep import Items, model_of
from benchmarks.sketch_adherence import COLUMNS, measured, table
from livejam.audio_files import open_recording
from livejam.checkpoints.player import load_player
from livejam.cli.main import main
from livejam.cli.sketch import CONTROLS, read_sketch
from livejam.sketch import SketchAnalysis
from livejam.streaming import Session

RATE = 22050


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sketch")
    config = REPOSITORY / "configs/lmdm/sketch_pocket.yaml"
    songs = write_tree(folder / "songs", train=2, seconds=15.0)
    places = {"TINY_SONGS": str(songs), "TINY_CACHE": str(folder / "cache"), "TINY_ROOT": str(folder / "run")}
    command = [sys.executable, "-m", "lightning_modules.cli", "fit", "--config", str(config)]
    command += ["--config", str(tiny_overlay(config)), "--trainer.limit_val_batches", "0"]
    done = subprocess.run(command, cwd=REPOSITORY, env=os.environ | places, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "run" / "checkpoints" / "last.ckpt"


def recorded(
    path: Path, seconds: float, rate: int = RATE, channels: int = 1, seed: int = 0, level: float = 0.1
) -> Path:
    noise_NA = level * np.random.default_rng(channels).standard_normal((round(seconds * rate), channels))
    soundfile.write(path, noise_NA, rate, subtype="FLOAT")
    return path


Play = Callable[..., tuple[int, str]]


@pytest.fixture
def play(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Play:
    monkeypatch.chdir(tmp_path)
    recorded(tmp_path / "song.wav", 6.0)

    def command(out: str, *arguments: str) -> tuple[int, str]:
        capfd.readouterr()
        given = ["play", "--checkpoint", str(checkpoint), "--mix", "song.wav", "--out", out, "--no-beats", *arguments]
        status = main(given)
        return status, capfd.readouterr().err

    return command


def test_it_plays_what_a_session_plays_with_that_sketch(play: Play, checkpoint: Path) -> None:
    recorded(Path("voice.wav"), 8.0, 48_000, 2)
    status, err = play("followed", "--sketch", "voice.wav")
    assert status == 0
    assert "sketch" not in err
    assert json.loads(Path("followed/report.json").read_text())["sketch"] == "voice.wav"
    player = load_player(checkpoint)
    assert player.accompanist.sketch == SketchAnalysis()
    voice = open_recording(Path("voice.wav"))
    session = Session(player, sample_rate_hz=RATE)
    session.set_sketch(read_sketch(voice.path, player, None))
    mix_NA, _ = soundfile.read("song.wav", dtype="float32", always_2d=True)
    expected_AN = torch.cat([session.process(part) for part in torch.from_numpy(mix_NA.T).split(4096, dim=1)], dim=1)
    heard_NA, _ = soundfile.read("followed/accompaniment.wav", dtype="float32", always_2d=True)
    assert np.allclose(heard_NA.T, expected_AN.numpy(), atol=1e-3)


def test_a_voice_asks_for_the_notes_that_are_sung_when_they_are_sung(play: Play, checkpoint: Path) -> None:
    soundfile.write("sung.wav", sung(48_000).numpy(), 48_000, subtype="FLOAT")
    status, _ = play("sung", "--sketch", "sung.wav", "--voice")
    assert status == 0
    assert json.loads(Path("sung/report.json").read_text())["voice"] is True
    player = load_player(checkpoint)
    plain_TP, voice_TP = (read_sketch(Path("sung.wav"), player, None, of_voice) for of_voice in (False, True))
    assert voice_TP.shape == plain_TP.shape
    assert torch.equal(voice_TP[:, :2], plain_TP[:, :2])
    for index, note in enumerate(NOTES):
        middle = round((index + 0.5) * NOTE_SECONDS * RATE / player.codec.spec.hop_samples - 0.5)
        assert voice_TP[middle, 2] == note
    status, err = play("nothing", "--voice")
    assert status == 2
    assert "give a --sketch" in err


def test_it_follows_the_controls_that_are_named(play: Play, checkpoint: Path) -> None:
    assert CONTROLS == livejam.sketch.CONTROLS
    soundfile.write("sung.wav", sung(48_000).numpy(), 48_000, subtype="FLOAT")
    player = load_player(checkpoint)
    whole_TP = read_sketch(Path("sung.wav"), player, None)
    places = {"loudness": slice(0, 1), "brightness": slice(1, 2), "pitch": slice(2, None)}
    for name, place in places.items():
        part_TP = read_sketch(Path("sung.wav"), player, None, controls=[name])
        assert torch.equal(part_TP[:, place], whole_TP[:, place])
        assert all(part_TP[:, other].isnan().all() for key, other in places.items() if key != name)
    status, _ = play("by_pitch", "--sketch", "sung.wav", "--sketch-controls", "pitch")
    assert status == 0
    assert json.loads(Path("by_pitch/report.json").read_text())["sketch_controls"] == ["pitch"]
    assert play("by_all", "--sketch", "sung.wav")[0] == 0
    assert Path("by_pitch/accompaniment.wav").read_bytes() != Path("by_all/accompaniment.wav").read_bytes()
    status, err = play("nothing", "--sketch-controls", "pitch")
    assert status == 2
    assert "give a --sketch" in err


def test_one_that_ends_early_or_is_silent_is_said(play: Play) -> None:
    recorded(Path("short.wav"), 1.5)
    status, err = play("short", "--sketch", "short.wav")
    assert status == 0
    assert "the sketch ends after 1.5 s" in err
    recorded(Path("silent.wav"), 6.0, level=0.0)
    status, err = play("silent", "--sketch", "silent.wav")
    assert status == 0
    assert "silent.wav is silent" in err


def test_a_broken_sketch_is_one_sentence(play: Play) -> None:
    Path("text.wav").write_text("la la la")
    recorded(Path("empty.wav"), 0.0)
    broken_N = np.zeros(1000, np.float32)
    broken_N[500] = np.nan
    soundfile.write("nan.wav", broken_N, RATE, subtype="FLOAT")
    recorded(Path("slow.wav"), 1.0, rate=1000)
    for name, said in (
        ("missing.wav", "there is no recording"),
        ("text.wav", "cannot be read as audio"),
        ("empty.wav", "is empty"),
        ("nan.wav", "not finite"),
        ("slow.wav", "1000 Hz"),
    ):
        status, err = play("broken", "--sketch", name)
        assert status == 2
        assert said in err
        assert err.count("\n") == 1
        assert not Path("broken").exists()


def test_the_description_says_who_follows(checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for model, said in ((str(checkpoint), "follows loudness, brightness and pitch"), ("liveband-pocket", "none")):
        assert main(["describe", model]) == 0
        line = next(line for line in capfd.readouterr().out.splitlines() if line.split()[:1] == ["sketch"])
        assert said in line


def test_a_model_that_follows_none_says_so(play: Play, capfd: pytest.CaptureFixture[str]) -> None:
    given = ["play", "--checkpoint", "liveband-pocket", "--mix", "song.wav", "--out", "none", "--sketch", "song.wav"]
    assert main(given) == 2
    assert "follows no sketch" in capfd.readouterr().err


@pytest.mark.parametrize(("by_voice", "without"), [(False, ()), (True, ()), (False, ("brightness", "pitch"))])
def test_the_benchmark_has_every_row(checkpoint: Path, by_voice: bool, without: tuple[str, ...]) -> None:
    songs = checkpoint.parents[2] / "songs"
    rows = table(measured(model_of(str(checkpoint)), Items(str(songs), 2, 4.0), by_voice, without), COLUMNS)
    assert list(rows) == [
        "asked",
        "asked, against the mix",
        "none",
        "another item's",
        "another time's",
        "true stem, coded",
    ]
    counted = rows["true stem, coded"]["loudness"]
    assert counted["items"] in (0, 1, 2)
