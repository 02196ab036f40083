"""The C++ player plays models that take words and sketches: as if never asked, or a prompt that was exported."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import livejam
from livejam.streaming import Session

pytestmark = pytest.mark.export

RATE = 22050


def wav(programs: Path, model: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    mix_1N = 0.1 * np.random.default_rng(0).standard_normal((1, 3 * RATE))
    soundfile.write(folder / "song.wav", mix_1N.T, RATE, subtype="FLOAT")
    command = [programs / "livejam-wav", "--model", model, "--mix", folder / "song.wav", "--out", folder / "out.wav"]
    return subprocess.run([*command, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("prompt", "negative"),
    [(None, None), ("Jazz Piano", None), ("bass", None), (None, "Jazz Piano"), ("Jazz Piano", "bass")],
)
def test_prompts_that_were_exported(
    programs: Path,
    sketch_model: Path,
    sketch_checkpoint: Path,
    tmp_path: Path,
    prompt: str | None,
    negative: str | None,
) -> None:
    asked = [] if prompt is None else ["--prompt", prompt.upper()]
    asked += [] if negative is None else ["--negative-prompt", negative.upper()]
    done = wav(programs, sketch_model, tmp_path, "--instrument", "drums", *asked)
    assert done.returncode == 0, done.stderr
    played_AN = soundfile.read(tmp_path / "out.wav", dtype="float32", always_2d=True)[0].T
    session = Session(
        livejam.load(sketch_checkpoint), instruments=["Drums"], prompts=None if prompt is None else [prompt]
    )
    session.set_negative_prompt(negative)
    song_AN = soundfile.read(tmp_path / "song.wav", dtype="float32", always_2d=True)[0].T
    late = session.timing.late_samples  # of which the file knows nothing
    wanted_AN = session.process(torch.from_numpy(song_AN)).numpy()[:, late:]
    assert np.abs(played_AN[:, :-late] - wanted_AN).max() <= 2e-4 * max(1.0, np.abs(wanted_AN).max())


def test_a_prompt_that_was_not_exported_is_one_sentence(
    programs: Path, sketch_model: Path, exported: Path, tmp_path: Path
) -> None:
    known = "there are Bass, Percussive, Jazz Piano"
    for model, option, said in (
        (sketch_model, "--prompt", known),
        (sketch_model, "--negative-prompt", known),
        (exported, "--prompt", "takes no words"),
        (exported, "--negative-prompt", "takes no words"),
    ):
        done = wav(programs, model, tmp_path, option, "zither")
        assert done.returncode == 2
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
