"""A user's list of bad stems: what index and training leave out because of it, and mistakes in it."""

import logging

import pytest
import torch
from slakh_tree import FrameCodec, write_tree

from datamodules import Slakh2100DataModule, SlakhIndex
from datamodules.bad_stems import read_bad_stems
from livejam.cli.main import main
from livejam.errors import UserError

LIST = "# heard twice\n\nTrack00001/S02   # clicks / hum\n  Track00002/S00\nTrack00002/S01\nTrack00099/S07\n"


@pytest.fixture
def root(tmp_path):
    return write_tree(tmp_path / "songs", train=3)


@pytest.fixture
def bad(tmp_path):
    (tmp_path / "bad.txt").write_text(LIST)
    return str(tmp_path / "bad.txt")


def test_the_index_lists_what_is_left_out_and_what_is_not_there(root, bad, capsys):
    assert main(["data", "index", str(root), "--bad-stems", bad]) == 0
    said = capsys.readouterr().out
    assert "refused: 3" in said
    assert "Track00001/S02: it is in the list of bad stems" in said
    assert "in the list of bad stems, but no usable stem here: Track00099/S07" in said
    assert not SlakhIndex.open(root).refusals, "the list is no part of the cached index"


def test_training_never_hears_them_and_encodes_their_songs_anew(root, bad, caplog):
    def data_of(bad_stems):
        return Slakh2100DataModule(str(root), FrameCodec(), crop_frames=16, bad_stems=bad_stems)

    data_of(None).prepare_data()
    data = data_of(bad)
    assert [song.name for song in data.bank_builder.pending()] == ["Track00001", "Track00002"]
    data.prepare_data()
    with caplog.at_level(logging.WARNING):
        data.setup("fit")
    assert f"--bad-stems {bad}` lists them" in caplog.text
    bank = data.open_bank()
    assert {song.name: [stem.name for stem in song.stems] for song in map(bank.__getitem__, range(3))} == {
        "Track00001": ["S00", "S01", "S03"], "Track00002": ["S02", "S03"], "Track00003": ["S00", "S01", "S02", "S03"],
    }  # fmt: skip
    assert not data.bank_builder.pending()
    whole, lost = (
        next(s for s in songs if s.name == "Track00001") for songs in (SlakhIndex.open(root).songs, data.index.songs)
    )
    assert {lost.digest, lost.name_digest}.isdisjoint({whole.digest, whole.name_digest})
    assert torch.isfinite(data.latent_statistics.mean_C).all()


@pytest.mark.parametrize("line", ["Track00001", "Track00001/", "/S05", "train/Track00001/S05", "Track00001/S05 S06"])
def test_a_line_that_names_no_stem_is_one_sentence(root, tmp_path, line, capsys):
    (tmp_path / "bad.txt").write_text(f"Track00001/S01\n{line}\n")
    assert main(["data", "index", str(root), "--bad-stems", str(tmp_path / "bad.txt")]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert f"line 2 of {tmp_path / 'bad.txt'} is {line!r}" in said


def test_names_with_spaces_and_signs(tmp_path):
    (tmp_path / "bad.txt").write_text("My #1 Song/S00 # noisy\r\nMy #1 Song/S01\r\n", encoding="utf-8")
    assert read_bad_stems(tmp_path / "bad.txt") == {"My #1 Song": {"S00", "S01"}}


def test_a_list_that_is_missing_or_leaves_nothing(root, tmp_path):
    with pytest.raises(UserError, match=r"no\.txt is no list of stems: no\.txt is missing"):
        SlakhIndex.open(root).without(tmp_path / "no.txt")
    songs = SlakhIndex.open(root).songs
    (tmp_path / "all.txt").write_text("".join(f"{song.name}/{stem.name}\n" for song in songs for stem in song.stems))
    with pytest.raises(UserError, match="shorten that list"):
        SlakhIndex.open(root).without(tmp_path / "all.txt")
