"""The generative delay in C++: what `livejam delay` makes of the same model, alone, in Pure Data and as a plug-in."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from plugin_hosts import RATE, delay_of, lv2_played, pd_played

import livejam
from livejam.streaming import DelayGains, GenerativeDelay, Session, answering

pytestmark = pytest.mark.export
MINUTE = 60 * RATE
PLUGIN = "urn:livejam:last-delay"


@pytest.fixture(scope="module")
def song(delay_checkpoint: Path, rendered_songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of the songs that it was trained with."""
    path = tmp_path_factory.mktemp("song") / "song.wav"
    mixes = [soundfile.read(file, dtype="float32")[0] for file in sorted(rendered_songs.rglob("mix.flac"))]
    sound = np.resize(np.concatenate(mixes), 2 * MINUTE)
    soundfile.write(path, 0.5 * (sound[::2] + sound[1::2]), RATE, subtype="FLOAT")
    return path


def played(programs: Path, folder: Path, song: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [programs / "livejam-wav", "--model", folder, "--mix", song, "--out", out, "--instrument", "piano"]
    return subprocess.run([*command, "--seed", "3", *options], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def answers(programs: Path, delay: Path, song: Path) -> np.ndarray:
    """What livejam-wav answers to the beginning of the song, a delay later."""
    short, out = song.with_name("short.wav"), song.with_name("answers.wav")
    soundfile.write(short, soundfile.read(song, dtype="float32")[0][: 10 * RATE], RATE, subtype="FLOAT")
    run = played(programs, delay, short, out, "--dry", "0")
    assert run.returncode == 0, run.stderr
    return soundfile.read(out, dtype="float32")[0]


def test_a_minute_with_feedback_as_in_pytorch(
    programs: Path, delay: Path, delay_checkpoint: Path, song: Path, tmp_path: Path
) -> None:
    run = played(programs, delay, song, tmp_path / "out.wav", "--dry", "0.8", "--wet", "0.9", "--feedback", "0.5")
    assert run.returncode == 0, run.stderr
    session = Session(answering(livejam.load(delay_checkpoint)), instruments=["Piano"], seeds=[3])
    machine = GenerativeDelay(session, DelayGains(0.8, 0.9, 0.5))
    heard = np.pad(soundfile.read(song, dtype="float32")[0], (0, machine.delay_samples))
    wanted = machine.process(torch.from_numpy(heard)).numpy()[0]
    made, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert made.shape == wanted.shape
    assert np.abs(wanted - 0.8 * heard).max() > 0.05
    assert np.abs(made - wanted).max() <= 1e-4


def test_stereo_keeps_its_sides(programs: Path, delay: Path, song: Path, answers: np.ndarray, tmp_path: Path) -> None:
    mono = soundfile.read(song, dtype="float32")[0][: 10 * RATE]
    sides = np.stack([1.5 * mono, 0.5 * mono], axis=1)
    soundfile.write(tmp_path / "stereo.wav", sides, RATE, subtype="FLOAT")
    run = played(programs, delay, tmp_path / "stereo.wav", tmp_path / "out.wav", "--dry", "1")
    assert run.returncode == 0, run.stderr
    made = soundfile.read(tmp_path / "out.wav", dtype="float32")[0]
    assert np.abs(made[: len(sides)] - sides - answers[: len(sides), None]).max() <= 1e-4
    assert np.abs(made[len(sides) :] - answers[len(sides) :, None]).max() <= 1e-4


def test_the_audio_thread_neither_allocates_nor_locks(programs: Path, delay: Path) -> None:
    """Gains that change and feedback included."""
    command = [programs / "audio_thread", delay, str(RATE), "5"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found["delay"]
    assert found["watch_works"]
    assert found["allocations"] == found["locks"] == 0


def test_in_pure_data(programs: Path, delay: Path, song: Path, answers: np.ndarray) -> None:
    """Later than in a file by the time for computing; there `delay 0.5 1 0` adds half of the input."""
    heard = soundfile.read(song.with_name("short.wav"), dtype="float32")[0]
    made, latency, said = pd_played(programs, delay, song.with_name("short.wav"), "piano", "delay 0.5 1 0")
    assert "missed 0" in said
    first = len(answers) - len(heard)
    wanted = 0.5 * heard
    wanted[latency:] += answers[first : first + len(heard) - latency]
    assert np.abs(answers).max() > 0.05
    # the gains glide at the beginning
    assert np.abs(made[RATE : len(wanted)] - wanted[RATE:]).max() <= 1e-5


def test_as_a_plug_in(programs: Path, song: Path, answers: np.ndarray) -> None:
    """Half of the input and half of the answers; the latency reported is none, so the input is not delayed."""
    heard = soundfile.read(song.with_name("short.wav"), dtype="float32")[0]
    made = lv2_played(programs, song.with_name("short.wav"), PLUGIN, instrument=0, mix=0.5) - 0.5 * heard
    first = len(answers) - len(heard)
    late = delay_of(made, answers[first:])
    assert late >= first
    gained = slice(late + RATE, None)
    assert np.abs(made[gained] - 0.5 * answers[first + RATE : first + len(heard) - late]).max() <= 1e-5


@pytest.mark.parametrize(
    ("gains", "sentence"),
    [
        (["--feedback", "1"], "from 0 to less than 1"),
        (["--feedback", "nan"], "from 0 to less than 1"),
        (["--dry", "1.5"], "go from 0 to 1"),
        (["--wet", "loud"], "--wet loud is no number"),
    ],
)
def test_gains_out_of_range(
    gains: list[str], sentence: str, programs: Path, delay: Path, song: Path, tmp_path: Path
) -> None:
    run = played(programs, delay, song, tmp_path / "out.wav", *gains)
    assert run.returncode == 2
    assert sentence in run.stderr
    assert not (tmp_path / "out.wav").exists()


def test_a_model_that_plays_ahead_is_no_delay(programs: Path, exported: Path, song: Path, tmp_path: Path) -> None:
    run = played(programs, exported, song, tmp_path / "out.wav", "--feedback", "0.5")
    assert run.returncode == 2
    assert "plays ahead of what it hears; export an LMDM with `--cutoff 1`" in run.stderr
