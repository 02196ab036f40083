"""What a training never hears is said in one line, and the command in that line lists it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from slakh_tree import RATE_HZ, FrameCodec, tone, write_song, write_tree

from datamodules import Slakh2100DataModule, SplitByHash
from livejam.cli.main import main


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two songs that are whole, and one of each kind that is not."""
    root = write_tree(tmp_path / "songs", train=2, seconds=3.0)
    whole = {"S00": tone(5, 0, 3.0), "S02": tone(5, 2, 3.0)}
    write_song(root / "train/Track00011", {name: stem[:RATE_HZ] for name, stem in whole.items()})
    write_song(root / "train/Track00012", {"S02": whole["S02"]})
    write_song(root / "train/Track00013", {"S00": whole["S00"], "S05": whole["S02"]}, programs={"S00": 128, "S05": 128})
    write_song(root / "train/Track00014", {"S00": whole["S00"], "S02": 0 * whole["S02"]})
    write_song(root / "train/Track00015", whole, annotations=False)
    (root / "train/Track00015/all_src.mid").write_bytes(b"no MIDI")
    (root / "train/Track00002/stems/S01.flac").write_bytes(b"")
    return root


def said(root: Path, caplog: pytest.LogCaptureFixture, **settings: Any) -> str:
    """The one line of a training's start."""
    data = Slakh2100DataModule(
        str(root), FrameCodec(), crop_frames=64, eval_seconds=1.0, bank_workers=0, targets=["Piano"], **settings
    )
    caplog.clear()
    data.prepare_data()
    data.setup("fit")
    (line,) = [record.message for record in caplog.records if "left out are" in record.message]
    return line


def listed(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command in a line prints."""
    (command,) = re.findall("`(.*)`", line)
    capsys.readouterr()
    assert main(shlex.split(command)[1:]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("mode", ["bank", "audio"])
def test_every_loss_is_counted_and_listed(
    root: Path, mode: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    line = said(root, caplog, mode=mode)
    for loss in ("1 of 7 songs of one stem", "1 of 7 songs too short for a crop", "1 of 7 songs without a target"):
        assert loss in line
    assert "1 stems or songs that cannot be used" in line
    assert ("sounds with others for a crop (Track00014)" in line) is (mode == "bank")
    assert ("the beats of 1 songs" in line) is (mode == "bank"), "training on audio never reads beats"
    text = listed(line, capsys)
    for name, reason in (("11", "too short"), ("12", "of one stem"), ("13", "without a target"), ("02/S01", "empty")):
        assert re.search(rf"Track000{name}: .*{reason}", text)
    assert mode == "audio" or "Track00015/all_src.mid: it cannot be read" in text


def test_with_another_cache_and_another_split(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    line = said(root, caplog, cache_root=str(tmp_path / "cache"), splits=SplitByHash(0.3, 0.1, seed=10))
    assert f"--cache {tmp_path / 'cache'}" in line
    assert "Track00002/S01: its audio file is empty" in listed(line, capsys)
    assert not (root / ".livejam").exists()


def test_damage_that_only_decoding_finds_is_left_out_once_it_is_listed(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    stem = root / "train/Track00001/stems/S02.wav"
    soundfile.write(stem, np.full(3 * RATE_HZ, np.nan), RATE_HZ, subtype="FLOAT")
    stem.with_suffix(".flac").unlink()
    for cache in ({}, {"cache_root": str(tmp_path / "cache")}):
        line = said(root, caplog, **cache)
        assert "2 stems or songs" in line
        assert "--deep" in line
        assert "Track00001/S02: its audio holds numbers that are not finite" in listed(line, capsys)
        assert "left out: " not in said(root, caplog, **cache)
        assert not any("not finite" in record.message for record in caplog.records)


def test_other_processes_are_silent(
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Slakh2100DataModule, "_rank", 1)
    with pytest.raises(ValueError, match="not enough values"):
        said(root, caplog)


def test_a_whole_data_set_needs_no_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="not enough values"):
        said(write_tree(tmp_path, seconds=3.0), caplog)
