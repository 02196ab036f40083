"""The paper's variant of LiveBand, shipped config and all, with CLAP's real audio tower: random weights in a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from commands import REPOSITORY, tiny_overlay
from safetensors.torch import load_file
from slakh_tree import RATE_HZ, write_tree

from datamodules.audio import read_audio
from livejam.checkpoints.player import load_player
from livejam.cli.main import main
from livejam.streaming import Session, read_reference
from metrics.embeddings import LaionClap
from metrics.embeddings.laion_clap import AudioTower

pytestmark = pytest.mark.slow

CONFIG = REPOSITORY / "configs/liveband/reference_slakh.yaml"
SECONDS, EXCERPT_SECONDS = 32.0, 10
CONFIGS = ["--config", str(CONFIG), "--config", str(tiny_overlay(CONFIG))]
FIT = [sys.executable, "-m", "lightning_modules.cli", "fit", *CONFIGS]
AS_SHIPPED = [
    "--model.init_args.reference.analysis.encoder", "metrics.embeddings.LaionClap",
    "--model.init_args.reference.analysis.excerpt_seconds", str(EXCERPT_SECONDS),
    "--model.init_args.generator.init_args.reference_channels", "512",
    "--model.init_args.discriminator.init_args.reference_channels", "512",
    "--trainer.limit_val_batches", "0",
]  # fmt: skip
"""What the small overlay replaces."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Songs, and the file that `livejam weights fetch clap_music` would fetch."""
    folder = tmp_path_factory.mktemp("clap")
    write_tree(folder / "songs", train=1, test=0, seconds=SECONDS)
    (folder / "weights/clap_music").mkdir(parents=True)
    torch.manual_seed(0)
    tensors = {f"module.{name}": tensor for name, tensor in AudioTower().state_dict().items()}
    path = folder / "weights/clap_music/music_audioset_epoch_15_esc_90.14.pt"
    torch.save({"epoch": 15, "best": np.float64(90.14), "state_dict": tensors}, path)
    return folder


def fitted(home: Path, weights: str) -> subprocess.CompletedProcess[str]:
    saving = {"folder": str(home / "run/checkpoints"), "every_n_iterations": 2}
    callbacks = json.dumps([{"class_path": "callbacks.LastCheckpoint", "init_args": saving}])
    places = {name: str(home / value) for name, value in (("SONGS", "songs"), ("CACHE", "cache"), ("ROOT", "run"))}
    environment = {f"TINY_{name}": place for name, place in places.items()} | {"LIVEJAM_WEIGHTS": str(home / weights)}
    command = [*FIT, *AS_SHIPPED, "--trainer.callbacks", callbacks]
    return subprocess.run(command, cwd=REPOSITORY, env=os.environ | environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def checkpoint(home: Path) -> Path:
    done = fitted(home, "weights")
    assert done.returncode == 0, done.stderr
    path = home / "run/checkpoints/last.ckpt"
    held = torch.load(path, weights_only=True)
    # two iterations teach too little to be heard
    torch.nn.init.normal_(held["state_dict"]["generator.project_reference.weight"])
    torch.save(held, path)
    return path


def test_the_bank_holds_claps_embeddings_of_the_stems(home: Path, checkpoint: Path) -> None:
    encoder, player = LaionClap(next((home / "weights/clap_music").iterdir())), load_player(checkpoint)
    rate = player.codec.spec.sample_rate_hz
    paths = sorted(home.rglob("references/*.safetensors"))
    assert len(paths) == 1, "the song that is trained on"
    held = load_file(paths[0])
    embeddings_SXE, starts_SX = held["embeddings_SXE"], held["starts_SX"]
    assert embeddings_SXE.shape == (4, 6, 512)
    assert starts_SX[:, :3].tolist() == [[0, 10 * rate, 20 * rate]] * 4
    assert (starts_SX[:, 3:] < 0).all()
    song = next((home / "songs").rglob(paths[0].stem))
    for stem, place in ((0, 0), (3, 2)):
        audio_N = torch.tensor(read_audio(song / f"stems/S0{stem}.flac", rate, 1))[0]
        excerpt_N = audio_N[place * 10 * rate :][: 10 * rate]
        expected_WE = encoder(excerpt_N * (0.1 / excerpt_N.square().mean().sqrt()), rate)
        assert expected_WE.shape == (1, 512)
        assert torch.allclose(embeddings_SXE[stem, place].float(), expected_WE[0], rtol=1e-3, atol=1e-5)


def test_it_plays_like_a_recording_and_needs_no_clap_without_one(
    home: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIVEJAM_WEIGHTS", str(home / "weights"))
    rng = np.random.default_rng(0)
    soundfile.write("song.wav", 0.1 * rng.standard_normal(3 * RATE_HZ), RATE_HZ)
    soundfile.write("sound.wav", 0.1 * rng.standard_normal((12 * 44_100, 2)), 44_100)
    given = ["play", "--checkpoint", str(checkpoint), "--mix", "song.wav", "--no-beats", "--out"]
    assert main([*given, "alike", "--like", "sound.wav"]) == 0, capfd.readouterr().err
    assert json.loads(Path("alike/report.json").read_text())["like"] == ["sound.wav"]
    player = load_player(checkpoint)
    session = Session(player, sample_rate_hz=RATE_HZ)
    session.set_reference(read_reference(Path("sound.wav"), player))
    mix_NA, _ = soundfile.read("song.wav", dtype="float32", always_2d=True)
    expected_N = session.process(torch.from_numpy(mix_NA.T))[0].numpy()
    monkeypatch.setenv("LIVEJAM_WEIGHTS", str(tmp_path / "nowhere"))
    assert main([*given, "plain"]) == 0
    alike_N, plain_N = (soundfile.read(f"{name}/accompaniment.wav")[0] for name in ("alike", "plain"))
    late = session.timing.late_samples
    assert np.allclose(alike_N[: len(expected_N) - late], expected_N[late:], atol=1e-3)
    assert np.abs(alike_N - plain_N).max() > 1e-3
    capfd.readouterr()
    assert main([*given, "lost", "--like", "sound.wav"]) == 2
    said = capfd.readouterr().err
    assert said.count("error:") == 1
    assert "livejam weights fetch clap_music" in said
    # other weights than those of the training
    other = tmp_path / "nowhere/clap_music"
    other.mkdir(parents=True)
    torch.manual_seed(1)
    torch.save({"state_dict": AudioTower().state_dict()}, other / "music_audioset_epoch_15_esc_90.14.pt")
    assert main([*given, "lost", "--like", "sound.wav"]) == 2
    assert "was trained on references by laion_clap" in capfd.readouterr().err


def test_without_the_weights_no_training_begins(home: Path) -> None:
    done = fitted(home, "nowhere")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error:") == 1
    assert "livejam weights fetch clap_music" in done.stderr
