"""What every player of an exported model says to what it cannot play: one clear sentence, and numbers alone as sound.

A codec that cannot stream is refused by `livejam export` (test_graphs.py), so that no player ever meets one. Players
take host's blocks of any size; a model's own block must fit its graphs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import REPOSITORY
from page_scripts import runner
from plugin_hosts import RATE, bundles, lv2proc, pd_played

pytestmark = pytest.mark.export


@dataclass(frozen=True)
class Jam:
    """A model and a song for a player.

    Args:
        folder: the exported directory.
        song: a WAV file.
        programs: what was compiled.
        node: Node.js.
    """

    folder: Path
    song: Path
    programs: Path
    node: str


def livejam_player(jam: Jam) -> str:
    words = ["--model", jam.folder, "--mix", jam.song, "--out", jam.song.parent / "o.wav"]
    command = [sys.executable, "-m", "livejam_player.cli", *words]
    host = REPOSITORY / "hosts/python"
    run = subprocess.run(command, cwd=host, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    return run.stderr


def livejam_wav(jam: Jam) -> str:
    command = [
        jam.programs / "livejam-wav",
        "--model",
        jam.folder,
        "--mix",
        jam.song,
        "--out",
        jam.song.parent / "o.wav",
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    return run.stderr


def pure_data(jam: Jam) -> str:
    rate = soundfile.info(jam.song).samplerate
    played, _, said = pd_played(jam.programs, jam.folder, jam.song, "drums", rate=rate)
    assert np.isfinite(played).all()
    assert said.count("livejam_player~: ") <= 1
    return said


def lv2(jam: Jam) -> str:
    bundle = jam.song.parent / "plugins" / "livejam.lv2"
    shutil.copytree(bundles(jam.programs) / "livejam-liveband-pocket.lv2", bundle)
    shutil.rmtree(bundle / "model")
    bundle.joinpath("model").symlink_to(jam.folder)
    run = lv2proc(bundle.parent, jam.song, "urn:livejam:liveband-pocket")
    assert run.returncode >= 0, "it crashed"
    out = jam.song.with_name("lv2.wav")
    if run.returncode == 0 and out.exists():
        assert np.isfinite(soundfile.read(out)[0]).all()
    return run.stdout + run.stderr


def browser(jam: Jam) -> str:
    folder = jam.song.parent / "page"
    folder.mkdir()
    script = """
import { existsSync, readFileSync } from "node:fs";
import { readModel } from "./model.js";
const read = async (name) => {
  if (!existsSync(`FOLDER/${name}`)) return null;
  const file = readFileSync(`FOLDER/${name}`);
  return file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength);
};
console.log(JSON.stringify(await readModel(read).then(() => "", (error) => error.message)));
"""
    return str(runner(REPOSITORY / "hosts/web", folder, jam.node)(script.replace("FOLDER", str(jam.folder))))


def signature(**changes: object) -> Callable[[Jam], object]:
    def edit(jam: Jam) -> object:
        path = jam.folder / "signature.json"
        return path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def song(mix: np.ndarray, rate: int = RATE) -> Callable[[Jam], object]:
    return lambda jam: soundfile.write(jam.song, mix, rate, subtype="FLOAT")


def with_nan() -> np.ndarray:
    mix = np.full(20_000, 0.1)
    mix[5000:5010] = np.nan
    return mix


SPOIL: dict[str, Callable[[Jam], object]] = {
    "another version": signature(format=2),
    "a file is missing": lambda jam: (jam.folder / "decoder.onnx").unlink(),
    "half a file": lambda jam: (jam.folder / "state0.safetensors").write_bytes(b"x" * 20),
    "a block that does not fit": signature(block_samples=1024),
    "a rate of the model that is none": signature(sample_rate_hz=-1),
    "a rate of the song that does not fit": song(np.zeros(3000), rate=1000),
    "NaN": song(with_nan()),
}
SAID: dict[str, dict[Callable[[Jam], str], str]] = {
    "another version": {
        livejam_player: "has format 2, but this player reads format 1",
        livejam_wav: "has format 2, but this player reads format 1; export the model again",
        pure_data: "has format 2, but this player reads format 1",
        lv2: "has format 2, but this player reads format 1",
        browser: "The model has format 2, but this page plays format 1. Export it again.",
    },
    "a file is missing": {
        livejam_player: "decoder.onnx is missing",
        livejam_wav: "decoder.onnx is missing; export the model again",
        pure_data: "decoder.onnx is missing; export the model again",
        lv2: "decoder.onnx is missing; export the model again",
        browser: "The model's file decoder.onnx is missing.",
    },
    "half a file": {
        livejam_player: "state0.safetensors is damaged",
        livejam_wav: "state0.safetensors is damaged",
        pure_data: "state0.safetensors is damaged",
        lv2: "state0.safetensors is damaged",
        browser: "state0.safetensors is damaged. Export the model again.",
    },
    "a block that does not fit": {
        livejam_player: "signature.json is damaged",
        livejam_wav: "the input mix is missing or of another shape",
        pure_data: "the input mix is missing or of another shape",
        lv2: "the input mix is missing or of another shape",
        browser: "signature.json is damaged (the input mix is of another shape). Export the model again.",
    },
    "a rate of the model that is none": {
        livejam_player: "signature.json is damaged",
        livejam_wav: "signature.json is damaged (sample_rate_hz is -1)",
        pure_data: "signature.json is damaged (sample_rate_hz is -1)",
        lv2: "signature.json is damaged (sample_rate_hz is -1)",
        browser: "signature.json is damaged (sample_rate_hz). Export the model again.",
    },
    # the page hears any rate at which a browser opens its sound
    "a rate of the song that does not fit": {
        livejam_player: "a sample rate of 1000 Hz cannot be played",
        livejam_wav: "a sample rate of 1000 Hz cannot be played",
        pure_data: "a sample rate of 1000 Hz cannot be played",
        lv2: "a sample rate of 1000 Hz cannot be played",
    },
    # those that play live hear silence there; test_web_steps.py has the page
    "NaN": {
        livejam_player: "contains NaN or infinite samples",
        livejam_wav: "contains NaN or infinite samples, the first at 0.226757 s",
        pure_data: "livejam: damaged 10",
        lv2: "",
    },
}


@pytest.mark.parametrize(
    ("row", "player"),
    [(row, player) for row in SAID for player in SAID[row]],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_it_is_said(
    row: str, player: Callable[[Jam], str], programs: Path, exported: Path, node: str, tmp_path: Path
) -> None:
    jam = Jam(tmp_path / "model", tmp_path / "song.wav", programs, node)
    shutil.copytree(exported, jam.folder)
    song(np.zeros(9000))(jam)
    SPOIL[row](jam)
    assert SAID[row][player] in player(jam)
