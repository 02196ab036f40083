"""`livejam-player` plays what a session plays, without PyTorch, and says what is wrong in one sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import livejam
from livejam.checkpoints.player import load_player
from livejam.cli.main import main
from livejam.export.directory import VECTORS
from livejam.export.model import example_mix, step_model
from livejam.streaming import Session

pytestmark = pytest.mark.export

HOST = Path(__file__).parents[3] / "hosts" / "python"
sys.path.insert(0, str(HOST))

from livejam_player import Player  # noqa: E402
from livejam_player.cli import main as play  # noqa: E402
from livejam_player.model import read_tensors  # noqa: E402


@pytest.fixture(scope="module")
def minute() -> np.ndarray:
    """A minute of sound (AN) at the model's rate."""
    model = step_model(load_player("liveband-pocket"))
    return example_mix(model, 646)[0].numpy()


def test_a_minute_as_a_session_plays_it(exported: Path, minute: np.ndarray) -> None:
    session = Session(livejam.load("liveband-pocket"), instruments=["Drums"], seeds=[3])
    player = Player(exported, "drums", seed=3)
    sizes = [1, 700, 2048, 5000]
    at, worst, loudest = 0, 0.0, 0.0
    while at < minute.shape[1]:
        chunk_AN = minute[:, at : at + sizes[at % 4]]
        wanted_AN, made_AN = session.process(torch.from_numpy(chunk_AN)).numpy(), player.process(chunk_AN)
        assert made_AN.shape == chunk_AN.shape
        worst = max(worst, float(np.abs(made_AN - wanted_AN).max()))
        loudest, at = max(loudest, float(np.abs(wanted_AN).max())), at + chunk_AN.shape[1]
    assert worst <= 1e-4
    assert loudest > 0.05


def test_the_test_vectors(exported: Path) -> None:
    held, player = read_tensors(exported / VECTORS), Player(exported, seed=7)
    silence = player.model.signature["first_output_sample"]
    mix_AN, wanted_AN = held["mix"][0], held["accompaniment"][0]
    played_AN = player.process(np.pad(mix_AN, ((0, 0), (0, silence))))
    assert not played_AN[:, :silence].any()
    assert np.abs(played_AN[:, silence : silence + wanted_AN.shape[1]] - wanted_AN).max() <= 1e-4
    noise = player.model.signature["noise"]
    assert held["noise"].shape[1:] == (noise["draws"], noise["frames"], noise["channels"])


def test_a_stereo_recording_at_another_rate_as_livejam_play_plays_it(
    exported: Path, minute: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    song, own, out = tmp_path / "song.wav", tmp_path / "played", tmp_path / "drums.wav"
    soundfile.write(song, np.repeat(minute[:, :300_000], 2, axis=0).T, 44100, subtype="FLOAT")
    common = ["--mix", str(song), "--instrument", "Drums", "--seed", "1"]
    assert main(["play", "--checkpoint", "liveband-pocket", "--out", str(own), "--no-beats", *common]) == 0
    assert play(["--model", str(exported), "--out", str(out), *common]) == 0
    (wanted, rate), (made, made_rate) = soundfile.read(own / "accompaniment.wav"), soundfile.read(out)
    assert (made.shape, made_rate) == (wanted.shape, rate)
    assert np.abs(wanted).max() > 0.01
    assert np.abs(made - wanted).max() <= 1e-4
    assert "times real time" in capsys.readouterr().out


def test_it_needs_no_torch(exported: Path, minute: np.ndarray, tmp_path: Path) -> None:
    song, out = tmp_path / "song.wav", tmp_path / "out.wav"
    soundfile.write(song, minute[0, :100_000], 22050)
    code = (
        "import sys; from livejam_player.cli import main; status = main(sys.argv[1:]); "
        "assert not {'torch', 'livejam', 'safetensors'} & set(sys.modules); sys.exit(status)"
    )
    command = [sys.executable, "-c", code, "--model", exported, "--mix", song, "--out", out]
    run = subprocess.run(command, env={"PYTHONPATH": str(HOST)}, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert soundfile.info(out).frames == 100_000


def test_how_well_it_plays_test_songs(rendered_songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "small"
    common = ["export", "--checkpoint", "liveband-pocket", "--parity-steps", "10", "--precision", "int8"]
    assert main([*common, "--out", str(folder), "--songs", str(rendered_songs), "--items", "3"]) == 0
    said, facts = capsys.readouterr().out, json.loads((folder / "music.json").read_text())
    assert "chord tones" in said
    assert "kept" in said
    assert facts["precision"] == "int8"
    assert facts["measures"]["distance"]["songs"] == 1
    assert not facts["sure"]  # one song says nothing
    assert abs(facts["measures"]["chord_tones"]["difference"]) < 0.05
    assert main([*common, "--out", str(folder), "--overwrite"]) == 0
    assert not (folder / "music.json").exists()  # of graphs that are gone
    assert main([*common, "--out", str(tmp_path / "other"), "--songs", str(tmp_path / "nowhere")]) == 2
    assert "there is no data set" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def _other_format(folder: Path) -> None:
    path = folder / "signature.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))


MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "another format": (_other_format, "has format 2, but this player reads format 1"),
    "no signature": (lambda folder: (folder / "signature.json").unlink(), "has no signature.json"),
    "half a signature": (lambda folder: (folder / "signature.json").write_text("{"), "signature.json is damaged"),
    "no decoder": (lambda folder: (folder / "decoder.onnx").unlink(), "decoder.onnx is missing"),
    "half a decoder": (lambda folder: (folder / "decoder.onnx").write_bytes(b"x"), "decoder.onnx is damaged"),
    "no states": (lambda folder: (folder / "state0.safetensors").unlink(), "state0.safetensors cannot be read"),
    "half the states": (lambda folder: (folder / "state0.safetensors").write_bytes(b"x" * 20), "is damaged"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_faulty_directory(name: str, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, sentence = MISTAKES[name]
    folder = tmp_path / "faulty"
    shutil.copytree(exported, folder)
    spoil(folder)
    soundfile.write(tmp_path / "song.wav", np.zeros(9000), 22050)
    status = play(["--model", str(folder), "--mix", str(tmp_path / "song.wav"), "--out", str(tmp_path / "out.wav")])
    said = capsys.readouterr().err
    assert status == 2
    assert sentence in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize(
    ("mix", "rate", "options", "sentence"),
    [
        (np.full(100, np.nan), 22050, [], "NaN or infinite"),
        (np.zeros(0), 22050, [], "holds no sound"),
        (np.zeros(100), 1000, [], "a sample rate of 1000 Hz cannot be played"),
        (np.zeros(100), 22050, ["--instrument", "flute"], "never learnt to play flute; it learnt Piano"),
        (np.zeros(100), 22050, ["--seed", "-1"], "the seed -1 is outside"),
    ],
)
def test_a_faulty_wish(
    mix: np.ndarray,
    rate: int,
    options: list[str],
    sentence: str,
    exported: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    soundfile.write(tmp_path / "song.wav", mix, rate, subtype="FLOAT")
    given = ["--mix", str(tmp_path / "song.wav"), "--out", str(tmp_path / "out.wav"), *options]
    assert play(["--model", str(exported), *given]) == 2
    assert sentence in capsys.readouterr().err
