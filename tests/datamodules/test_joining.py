"""Several data sets as one: nothing is lost, nothing changes its split, nothing is written into a set."""

from __future__ import annotations

from pathlib import Path

import pytest
from slakh_tree import write_tree

from datamodules.joining import join_data_sets
from datamodules.slakh_index import SlakhIndex
from datamodules.splits import SplitByFolder
from livejam.cli.main import main
from livejam.errors import UserError


def splits(root: Path) -> dict[str, set[str]]:
    index = SlakhIndex.open(root, root.parent / f"{root.name}.json")
    return {
        name: {song.name.rpartition("_")[2].removeprefix("Track") for song in index.split(name, SplitByFolder())}
        for name in ("train", "validation", "test")
    }


def test_every_song_keeps_its_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = [write_tree(tmp_path / "a set", train=3), write_tree(tmp_path / "b", train=2)]
    before = [sorted(path.relative_to(root) for path in root.rglob("*")) for root in sets]
    assert main(["data", "join", *map(str, sets), "--out", str(tmp_path / "both")]) == 0
    joined, parts = SlakhIndex.open(tmp_path / "both"), [splits(root) for root in sets]
    assert len(joined.songs) == sum(len(names) for part in parts for names in part.values())
    assert {song.name.split("_0")[0] for song in joined.songs} == {"Track_a_set", "Track_b"}
    for name, numbers in splits(tmp_path / "both").items():
        assert numbers == parts[0][name] | parts[1][name]
    assert before == [sorted(path.relative_to(root) for path in root.rglob("*")) for root in sets]
    assert "train" in capsys.readouterr().out


def test_songs_that_are_added_join(tmp_path: Path) -> None:
    first, later = write_tree(tmp_path / "a", train=1), tmp_path / "both"
    before = join_data_sets([first], later)
    write_tree(tmp_path / "more", train=2)
    assert join_data_sets([first, tmp_path / "more"], later)["train"] == before["train"] + 2
    assert join_data_sets([first, tmp_path / "more"], later)["train"] == before["train"] + 2


def test_what_cannot_be_joined_is_refused(tmp_path: Path) -> None:
    sets = [write_tree(tmp_path / place / "songs", train=1) for place in ("a", "b")]
    with pytest.raises(UserError, match=r"two data sets are called songs.*rename"):
        join_data_sets(sets, tmp_path / "both")
    join_data_sets(sets[:1], tmp_path / "both")
    with pytest.raises(UserError, match="another song"):
        join_data_sets(sets[1:], tmp_path / "both")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no Slakh data set"):
        join_data_sets([tmp_path / "empty"], tmp_path / "both")
