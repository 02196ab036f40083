"""A recipe of one's own is one file and one YAML: it trains, is measured, saves and plays without a change anywhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch

from livejam.checkpoints.player import load_player
from livejam.cli.main import main
from livejam.errors import UserError

STRANGER = Path(__file__).parent / "stranger"


def test_one_file_and_one_yaml(
    rendered_songs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lightning_command: Callable[..., tuple[int, str]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    for file in ("linear_band.py", "linear_band.yaml"):
        shutil.copy(STRANGER / file, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("TINY_SONGS", str(rendered_songs))
    monkeypatch.setenv("TINY_CACHE", str(tmp_path / "cache"))
    checkpoint = Path("runs/linear_band/checkpoints/last.ckpt")
    for command in (("fit",), ("test", "--ckpt_path", checkpoint)):
        status, err = lightning_command(*command, "--config", "linear_band.yaml")
        assert status == 0, err
    assert Path("runs/linear_band/results.json").is_file()
    assert main(["describe", str(checkpoint)]) == 0
    assert "linear_band.LinearBand" in capfd.readouterr().out

    soundfile.write("song.wav", torch.randn(22050).numpy() / 9, 22050)
    play = ["play", "--checkpoint", str(checkpoint), "--mix", "song.wav", "--out", "played"]
    assert main(play) == 2
    assert "names linear_band.LinearMap, which is none of livejam.codecs" in capfd.readouterr().err
    assert main([*play, "--trust", "linear_band"]) == 0
    assert soundfile.info("played/accompaniment.wav").frames == 22050
    with pytest.raises(UserError, match="cannot be played here"):
        load_player(checkpoint, trusted=("linear",))
