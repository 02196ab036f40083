"""The index of Slakh-like data sets: layouts, splits, faults, cache."""

import json
import os
import shutil

import numpy as np
import pytest
import soundfile
from slakh_tree import PROGRAMS, tone, write_metadata, write_song, write_tree

from datamodules import SlakhIndex, SplitByFile, SplitByFolder, SplitByHash, SplitByTrackNumber
from datamodules import slakh_index as slakh_index_module
from datamodules.categories import PERCUSSIVE
from livejam.errors import UserError


def audio(count=4):
    return {name: tone(1, i) for i, name in enumerate(list(PROGRAMS)[:count])}


def one_song(root, **kwargs):
    folder = root / "train" / "Track00001"
    write_song(folder, audio(), **kwargs)
    return folder


def refused(root, deep=False):
    """Stem (or None for the song) to reason."""
    return {refusal.stem: refusal.reason for refusal in SlakhIndex.open(root, deep=deep).refusals}


def test_split_folders(tmp_path):
    index = SlakhIndex.open(write_tree(tmp_path, train=2, validation=1, test=1))
    names = {split: [s.name for s in index.split(split, SplitByFolder())] for split in ("train", "validation", "test")}
    assert names == {"train": ["Track00001", "Track00002"], "validation": ["Track00003"], "test": ["Track00004"]}
    song = index.songs[-1]
    assert [stem.name for stem in song.stems] == ["S00", "S01", "S02", "S03"]
    assert song.stems[0].category == PERCUSSIVE
    assert song.seconds == pytest.approx(2.0)
    assert not index.refusals


def test_flat_wav_at_another_rate_as_in_babyslakh(tmp_path):
    for number in (1, 2):
        write_song(tmp_path / f"Track{number:05d}", audio(), rate_hz=16000, suffix=".wav")
    index = SlakhIndex.open(tmp_path)
    assert [song.sample_rate_hz for song in index.songs] == [16000, 16000]
    assert len(index.split("train", SplitByFolder())) == 2
    assert "2 flat" in index.summary()


@pytest.mark.parametrize(
    ("number", "split"),
    [(1, "train"), (1500, "train"), (1501, "validation"), (1875, "validation"), (1876, "test"), (2100, "test")],
)
def test_original_split_is_by_track_number_wherever_a_song_lies(number, split):
    name = f"Track{number:05d}"
    assert SplitByTrackNumber().split_of(name, "train") == split
    assert SplitByFolder().split_of(name, None) == split


def test_redux_leaves_out_omitted_songs_and_the_original_split_takes_them(tmp_path):
    write_tree(tmp_path, train=1, validation=1, test=1)
    write_song(tmp_path / "omitted" / "Track00009", audio())
    index = SlakhIndex.open(tmp_path)
    assert len(index.songs) == 4
    assert "Track00009" not in {
        s.name for split in ("train", "validation", "test") for s in index.split(split, SplitByFolder())
    }
    assert "Track00009" in {s.name for s in index.split("train", SplitByTrackNumber())}


def test_split_lists_of_a_file(tmp_path):
    write_tree(tmp_path / "data", train=3, validation=0, test=0)
    lists = {"train": ["Track00002"], "validation": ["Track00001"], "test": [], "omitted": ["Track00003"]}
    (tmp_path / "splits_v2.json").write_text(json.dumps(lists))
    index, policy = SlakhIndex.open(tmp_path / "data"), SplitByFile(str(tmp_path / "splits_v2.json"))
    assert [s.name for s in index.split("train", policy)] == ["Track00002"]
    assert [s.name for s in index.split("validation", policy)] == ["Track00001"]
    assert not index.split("test", policy)
    with pytest.raises(UserError, match=r"there is no file .*missing\.json"):
        SplitByFile(str(tmp_path / "missing.json"))
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(UserError, match="not a split file"):
        SplitByFile(str(tmp_path / "other.json"))


def test_split_by_hash_is_stable_and_near_its_shares():
    names = [f"Track{i:05d}" for i in range(2000)]
    splits = [SplitByHash(0.2, 0.1, seed=3).split_of(name, None) for name in names]
    assert splits == [SplitByHash(0.2, 0.1, seed=3).split_of(name, "train") for name in names]
    assert splits.count("validation") / 2000 == pytest.approx(0.2, abs=0.03)
    assert splits.count("test") / 2000 == pytest.approx(0.1, abs=0.03)
    with pytest.raises(UserError, match="leave songs for training"):
        SplitByHash(0.5, 0.5)


@pytest.mark.parametrize("prefix", ["\ufeff", "x", "%", "`", "\x00"])
def test_a_stray_first_character_in_metadata_is_dropped(tmp_path, prefix):
    folder = one_song(tmp_path)
    write_metadata(folder, PROGRAMS, prefix=prefix)
    assert len(SlakhIndex.open(tmp_path).songs[0].stems) == 4


def test_a_faulty_audio_dir_is_not_believed(tmp_path):
    folder = one_song(tmp_path)
    write_metadata(folder, PROGRAMS, audio_dir="../../../etc")
    assert len(SlakhIndex.open(tmp_path).songs[0].stems) == 4


def test_every_fault_of_a_stem_is_listed_with_its_reason(tmp_path):
    folder = one_song(tmp_path)
    programs = {**PROGRAMS, **{f"S{i:02d}": 0 for i in range(4, 10)}}
    write_metadata(folder, programs)
    text = (folder / "metadata.yaml").read_text()
    head, tail = text.split("S04:", 1)
    (folder / "metadata.yaml").write_text(
        head + "S04:" + tail.replace("audio_rendered: true", "audio_rendered: false", 1)
    )
    stems = folder / "stems"
    (stems / "S06.flac").write_bytes(b"")
    whole = (stems / "S00.flac").read_bytes()
    (stems / "S07.flac").write_bytes(whole[: len(whole) // 2])
    soundfile.write(stems / "S08.flac", tone(1, 0), 44100)
    soundfile.write(stems / "S09.flac", np.zeros(0), 8000)
    reasons = refused(tmp_path)
    assert set(reasons) == {f"S{i:02d}" for i in range(4, 10)}
    assert "audio_rendered is false" in reasons["S04"]
    assert "missing" in reasons["S05"]
    assert "empty" in reasons["S06"]
    assert "truncated" in reasons["S07"]
    assert "44100 Hz, the song's is 8000 Hz" in reasons["S08"]
    assert len(SlakhIndex.open(tmp_path).songs[0].stems) == 4


def test_what_is_not_finite_is_found_by_the_deep_check(tmp_path):
    folder = one_song(tmp_path, suffix=".wav")
    bad = tone(1, 0)
    bad[1000] = np.nan
    soundfile.write(folder / "stems" / "S02.wav", bad, 8000, subtype="FLOAT")
    assert not refused(tmp_path)
    assert "not finite" in refused(tmp_path, deep=True)["S02"]
    # once found it stays known
    assert "not finite" in refused(tmp_path)["S02"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "metadata.yaml").unlink(), "metadata.yaml is missing"),
        (lambda folder: (folder / "metadata.yaml").write_text("{"), "damaged"),
        (lambda folder: (folder / "metadata.yaml").write_text("UUID: 1"), "lists no stems"),
        (lambda folder: shutil.rmtree(folder / "stems"), "no folder stems"),
        (lambda folder: [file.unlink() for file in (folder / "stems").iterdir()], "no usable stem"),
    ],
)
def test_a_song_that_cannot_be_used_is_listed_and_the_others_stay(tmp_path, damage, reason):
    write_tree(tmp_path, train=2)
    damage(tmp_path / "train" / "Track00001")
    index = SlakhIndex.open(tmp_path)
    assert "Track00001" not in {song.name for song in index.songs}
    assert any(r.stem is None and reason in r.reason for r in index.refusals if r.song == "Track00001")
    assert "Track00001" in index.summary()


def test_an_empty_or_wrong_root_says_what_to_do(tmp_path):
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=r"livejam data render --out .* --songs") as error:
            SlakhIndex.open(root)
        assert "\n" not in str(error.value)
        assert "TrackXXXXX" in str(error.value)
    write_tree(tmp_path / "inside")
    with pytest.raises(UserError, match=r"did you mean .*inside"):
        SlakhIndex.open(tmp_path)


def test_a_root_without_any_usable_song_says_why(tmp_path):
    folder = one_song(tmp_path)
    (folder / "metadata.yaml").unlink()
    with pytest.raises(UserError, match=r"none of the 1 songs .* metadata\.yaml is missing"):
        SlakhIndex.open(tmp_path)


def test_the_cache_spares_the_second_look_and_notices_changes(tmp_path, monkeypatch):
    write_tree(tmp_path, train=3)
    looked = []
    real = slakh_index_module.scan_track
    monkeypatch.setattr(
        slakh_index_module, "scan_track", lambda folder, *rest: looked.append(folder.name) or real(folder, *rest)
    )
    first = SlakhIndex.open(tmp_path)
    assert len(looked) == 5
    looked.clear()
    assert SlakhIndex.open(tmp_path) == first
    assert not looked
    (tmp_path / "train" / "Track00002" / "stems" / "S01.flac").unlink()
    changed = SlakhIndex.open(tmp_path)
    assert looked == ["Track00002"]
    assert [refusal.stem for refusal in changed.refusals] == ["S01"]
    looked.clear()
    shutil.rmtree(tmp_path / "train" / "Track00003")
    assert len(SlakhIndex.open(tmp_path).songs) == 4
    assert not looked


def test_a_rewritten_stem_is_noticed_and_changes_the_digest(tmp_path):
    folder = one_song(tmp_path)
    before = SlakhIndex.open(tmp_path).songs[0]
    path = folder / "stems" / "S00.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, len(tone(1, 0))), 8000)
    after = SlakhIndex.open(tmp_path).songs[0]
    assert after.digest != before.digest


@pytest.mark.parametrize("content", ["", "{", '{"schema": 0, "tracks": {}}', '{"schema": 1, "tracks": {"a": 3}}', "[]"])
def test_a_damaged_or_old_cache_is_made_anew(tmp_path, content):
    write_tree(tmp_path)
    cache = tmp_path / "index.json"
    cache.write_text(content)
    index = SlakhIndex.open(tmp_path, cache)
    assert len(index.songs) == 5
    assert json.loads(cache.read_text())["schema"] == slakh_index_module.SCHEMA
    assert SlakhIndex.open(tmp_path, cache) == index


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch):
    write_tree(tmp_path)

    def refuse(path):
        raise PermissionError(13, "read-only", os.fspath(path))

    monkeypatch.setattr(slakh_index_module, "atomic_path", refuse)
    assert len(SlakhIndex.open(tmp_path).songs) == 5
