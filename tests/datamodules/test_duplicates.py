"""Songs that are the same piece: found, listed, said at the start of a training, and kept apart by lists."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from slakh_tree import PROGRAMS, FrameCodec, tone, write_song, write_tree

from datamodules import Slakh2100DataModule, SlakhIndex, SplitByFile, SplitByFolder
from datamodules.duplicates import find_copies, leaks
from livejam.cli.main import main

AUDIO = {name: tone(9, i, 3.0) for i, name in enumerate(PROGRAMS)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """1 and 11 share a UUID, 2 and 12 a MIDI file; 3 and 13 share both, in one split; 4 is alone in validation."""
    root = write_tree(tmp_path / "songs", train=3, seconds=3.0)
    for name, split, like in (("11", "test", "1"), ("12", "validation", "2"), ("13", "train", "3")):
        write_song(root / split / f"Track000{name}", AUDIO)
        if like != "2":
            metadata = (root / f"train/Track0000{like}/metadata.yaml").read_text()
            (root / split / f"Track000{name}/metadata.yaml").write_text(metadata)
        if like != "1":
            for folder in (root / split / f"Track000{name}", root / f"train/Track0000{like}"):
                (folder / "all_src.mid").write_bytes(f"MIDI {like}".encode())
    return root


def test_by_uuid_and_by_midi_file(root: Path) -> None:
    policy = SplitByFolder()
    copies = find_copies(SlakhIndex.open(root).songs)
    assert [group.described(policy) for group in copies] == [
        "train/Track00001 (train), test/Track00011 (test): the same UUID",
        "train/Track00002 (train), validation/Track00012 (validation): the same MIDI file",
        "train/Track00003 (train), train/Track00013 (train): the same UUID and MIDI file",
    ]
    assert leaks(copies, policy) == copies[:2]


def test_copies_of_copies_are_one_group(root: Path) -> None:
    metadata = (root / "train/Track00001/metadata.yaml").read_text()
    (root / "train/Track00002/metadata.yaml").write_text(metadata)
    assert [len(group.songs) for group in find_copies(SlakhIndex.open(root).songs)] == [4, 2]


def test_a_song_without_identity_is_like_no_other(root: Path) -> None:
    for song in ("train/Track00001", "test/Track00011"):
        path = root / song / "metadata.yaml"
        path.write_text("UUID: '00000000'\n" + path.read_text().partition("\n")[2])
    assert len(find_copies(SlakhIndex.open(root).songs)) == 2


def training(root: Path, caplog: pytest.LogCaptureFixture, splits: SplitByFile | None = None) -> list[str]:
    """The lines of a training's start that speak of leaks."""
    data = Slakh2100DataModule(
        str(root), FrameCodec(), crop_frames=64, eval_seconds=1.0, bank_workers=0, eval_items=1, splits=splits
    )
    caplog.clear()
    data.prepare_data()
    data.setup("fit")
    return [record.message for record in caplog.records if "held out as well" in record.message]


def test_a_leaking_training_says_so_and_the_lists_that_it_names_cure_it(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = training(root, caplog)
    assert f"{root}: 2 training songs are held out as well, by UUID or MIDI file (Track00001, Track00002)" in line
    command = line.partition("`")[2].partition("`")[0]
    assert main([*shlex.split(command)[1:], "--redux", str(tmp_path / "redux.json")]) == 0
    assert "the same piece more than once: 3, of them across splits: 2" in capsys.readouterr().out
    lists = json.loads((tmp_path / "redux.json").read_text())
    assert lists == {
        "train": ["Track00001", "Track00002", "Track00003"],
        "validation": ["Track00004"],
        "test": ["Track00005"],
        "omitted": ["Track00011", "Track00012", "Track00013"],
    }
    assert not training(root, caplog, SplitByFile(str(tmp_path / "redux.json")))


def test_lists_without_overlap_keep_every_song(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "no_overlap.json"
    assert main(["data", "index", str(root), "--no-overlap", str(path)]) == 0
    lists = json.loads(path.read_text())
    assert lists["train"] == [f"Track000{name}" for name in ("01", "02", "03", "11", "12", "13")]
    assert not lists["omitted"]
    assert main(["data", "index", str(root), "--splits", str(path)]) == 0
    said = capsys.readouterr().out
    assert "used as: 6 train, 1 validation, 1 test" in said
    assert "the same piece more than once: 3, of them across splits: 0" in said
    assert main(["data", "index", str(root), "--no-overlap", str(path)]) == 2, "a list is not overwritten"
