"""The C++ player plays what a session plays, and its audio thread neither allocates nor locks."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import livejam
from livejam.cli.main import main
from livejam.export.model import example_mix, step_model
from livejam.streaming import Session
from livejam.streaming.timing import counter_of

pytestmark = pytest.mark.export


def said(*command: str | Path) -> dict[str, float]:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found: dict[str, float] = json.loads(run.stdout)
    return found


def require_parity(found: dict[str, float]) -> None:
    assert found.pop("missed") == 0
    assert found.pop("noise") <= 1e-5
    assert found.keys() == {"whole", "pieces", "thread"}
    assert max(found.values()) <= 1e-4


def test_the_test_vectors(programs: Path, exported: Path) -> None:
    """At once, in pieces of all sizes after a reset, and in a thread that computes."""
    require_parity(said(programs / "vectors", exported))


def test_the_test_vectors_in_openvino(build: Callable[..., Path], exported: Path, tmp_path: Path) -> None:
    folder = os.environ.get("OpenVINO_DIR", "")  # noqa: SIM112 (CMake's own name)
    if importlib.util.find_spec("openvino") is None and not (folder and Path(folder).is_dir()):
        pytest.skip("OpenVINO is not here (pip install openvino, or set OpenVINO_DIR)")
    options = [f"-DOpenVINO_DIR={folder}"] if folder else []
    require_parity(said(build(tmp_path, "-DLIVEJAM_RUNTIME=openvino", *options) / "vectors", exported))


@pytest.mark.parametrize("rate", [22050, 48000])
def test_the_audio_thread_neither_allocates_nor_locks(programs: Path, exported: Path, rate: int) -> None:
    """In pieces of all sizes, with NaN, resets and other instruments between; the watch counts what it ought to."""
    found = said(programs / "audio_thread", exported, str(rate), "6")
    assert found["watch_works"]
    assert found["allocations"] == found["locks"] == 0
    assert found["damaged"] > 0
    assert not found["failure"]


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_its_lead_is_a_sessions(programs: Path, exported: Path, rate: int) -> None:
    player = livejam.load("liveband-pocket")
    wanted = counter_of(player.accompanist, player.codec, rate).lead_samples
    assert said(programs / "lead", exported, str(rate))["lead"] == wanted


@pytest.fixture(scope="module")
def minute() -> np.ndarray:
    """A minute of sound (N) at the model's rate."""
    return example_mix(step_model(livejam.load("liveband-pocket")), 646)[0, 0].numpy()


def played(programs: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([programs / "livejam-wav", *options], capture_output=True, text=True, check=False)


def test_a_minute_as_a_session_plays_it(programs: Path, exported: Path, minute: np.ndarray, tmp_path: Path) -> None:
    song, out = tmp_path / "song.wav", tmp_path / "drums.wav"
    soundfile.write(song, minute, 22050, subtype="FLOAT")
    run = played(programs, "--model", exported, "--mix", song, "--instrument", "drums", "--seed", "3", "--out", out)
    assert run.returncode == 0, run.stderr
    assert "times real time" in run.stdout
    session = Session(livejam.load("liveband-pocket"), instruments=["Drums"], seeds=[3])
    wanted = session.process(torch.from_numpy(minute)[None]).numpy()[0]
    made, _ = soundfile.read(out, dtype="float32")
    assert made.shape == wanted.shape
    assert np.abs(wanted).max() > 0.05
    assert np.abs(made - wanted).max() <= 1e-4
    assert np.abs(made - wanted).max() <= 1e-4


def test_a_stereo_recording_at_another_rate_as_livejam_play_plays_it(
    programs: Path, exported: Path, minute: np.ndarray, tmp_path: Path
) -> None:
    song, own, out = tmp_path / "song.wav", tmp_path / "played", tmp_path / "drums.wav"
    soundfile.write(song, np.stack([minute, 0.5 * minute], axis=1)[:500_000], 48000, subtype="PCM_24")
    common = ["--mix", str(song), "--instrument", "Drums", "--seed", "1"]
    assert main(["play", "--checkpoint", "liveband-pocket", "--out", str(own), "--no-beats", *common]) == 0
    run = played(programs, "--model", exported, "--out", out, *common)
    assert run.returncode == 0, run.stderr
    (wanted, rate), (made, made_rate) = soundfile.read(own / "accompaniment.wav"), soundfile.read(out)
    assert (made.shape, made_rate) == (wanted.shape, rate)
    assert np.abs(wanted).max() > 0.01
    # in 24 bits, livejam play clips
    assert np.abs(np.clip(made, -1, 1) - wanted).max() <= 1e-4
    # livejam play clips
    assert np.abs(np.clip(made, -1, 1) - wanted).max() <= 1e-4


def _edit(**changes: object) -> Callable[[Path], object]:
    def edit(folder: Path) -> object:
        path = folder / "signature.json"
        return path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def _longer_header(folder: Path) -> object:
    path = folder / "state0.safetensors"
    return path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])


MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "another format": (_edit(format=2), "has format 2, but this player reads format 1"),
    "no signature": (lambda folder: (folder / "signature.json").unlink(), "has no signature.json"),
    "half a signature": (lambda folder: (folder / "signature.json").write_text("{"), "signature.json is damaged"),
    "no block": (_edit(block_samples=0), "block_samples is 0"),
    "another block": (_edit(block_samples=1024), "the input mix is missing or of another shape"),
    "no graphs": (_edit(graphs=[]), "the input mix is missing or of another shape"),
    "no decoder": (lambda folder: (folder / "decoder.onnx").unlink(), "decoder.onnx is missing"),
    "half a decoder": (lambda folder: (folder / "decoder.onnx").write_bytes(b"x"), "decoder.onnx is damaged"),
    "another decoder": (
        lambda folder: shutil.copy(folder / "encoder.onnx", folder / "decoder.onnx"),
        "export the model",
    ),
    "no states": (lambda folder: (folder / "state0.safetensors").unlink(), "state0.safetensors is missing"),
    "half the states": (lambda folder: (folder / "state0.safetensors").write_bytes(b"x" * 20), "is damaged"),
    "a header beyond the file": (_longer_header, "its header is cut off"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_faulty_directory(name: str, programs: Path, exported: Path, tmp_path: Path) -> None:
    spoil, sentence = MISTAKES[name]
    folder, song, out = tmp_path / "faulty", tmp_path / "song.wav", tmp_path / "out.wav"
    shutil.copytree(exported, folder)
    spoil(folder)
    soundfile.write(song, np.zeros(9000), 22050)
    run = played(programs, "--model", folder, "--mix", song, "--out", out)
    assert run.returncode == 2
    assert sentence in run.stderr
    assert run.stderr.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("mix", "rate", "options", "sentence"),
    [
        (np.full(100, np.nan), 22050, [], "contains NaN or infinite samples, the first at 0.0"),
        (np.zeros(0), 22050, [], "holds no sound"),
        (np.zeros(100), 1000, [], "a sample rate of 1000 Hz cannot be played"),
        (np.zeros(100), 22050, ["--instrument", "flute"], "never learnt to play flute; it learnt Piano"),
        (np.zeros(100), 22050, ["--seed", "-1"], "the seed -1 is outside"),
        (np.zeros(100), 22050, ["--sead", "1"], "there is no option --sead"),
    ],
)
def test_a_faulty_wish(
    mix: np.ndarray, rate: int, options: list[str], sentence: str, programs: Path, exported: Path, tmp_path: Path
) -> None:
    song, out = tmp_path / "song.wav", tmp_path / "out.wav"
    soundfile.write(song, mix, rate, subtype="FLOAT")
    run = played(programs, "--model", exported, "--mix", song, "--out", out, *options)
    assert run.returncode == 2
    assert sentence in run.stderr
    assert not out.exists()


def test_nothing_is_written_over(programs: Path, exported: Path, tmp_path: Path) -> None:
    song, out = tmp_path / "song.wav", tmp_path / "out.wav"
    soundfile.write(song, np.zeros(9000), 22050)
    out.write_text("mine")
    run = played(programs, "--model", exported, "--mix", song, "--out", out)
    assert "exists" in run.stderr
    assert out.read_text() == "mine"
    assert "also the mix" in played(programs, "--model", exported, "--mix", song, "--out", song, "--overwrite").stderr
