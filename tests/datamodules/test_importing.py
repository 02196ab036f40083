"""Collections of stems in Slakh2100's layout, from miniature trees of the published sets, and from hostile ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import soundfile
import stem_collections
import yaml
from slakh_tree import FrameCodec
from stem_collections import RATE_HZ, sine, write

from datamodules import Slakh2100DataModule, SlakhIndex
from datamodules.annotations import read_annotations
from datamodules.categories import category_of
from datamodules.importing.instruments import category_named
from datamodules.importing.planning import folder_name
from livejam.batch import CATEGORIES
from livejam.cli.main import main


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "source"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def imported(source: Path, layout: str, out: Path, *options: str) -> SlakhIndex:
    """The index after an import through the command line."""
    assert main(["data", "import", str(source), "--layout", layout, "--out", str(out), *options]) == 0
    return SlakhIndex.open(out, deep=True)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence with which a command refuses."""
    assert main(["data", "import", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def stems(index: SlakhIndex, song: str) -> dict[str, str]:
    """Instrument → category."""
    (found,) = [entry for entry in index.songs if entry.name == song]
    return {stem.description: CATEGORIES[stem.category] for stem in found.stems}


def copied(out: Path) -> list[str]:
    """Sound files that are no links."""
    return sorted(p.name for p in out.rglob("*") if p.suffix in (".flac", ".wav") and not p.is_symlink())


def test_musdb18(source: Path, out: Path) -> None:
    index = imported(stem_collections.musdb18hq(source), "musdb18", out)
    assert not index.refusals
    splits = sorted(song.split_folder or "" for song in index.songs)
    assert splits == ["test", "train", "train", "train", "validation"], "validation comes from the training songs"
    assert stems(index, "Chör & Co - Lied") == {
        "bass": "Bass", "drums": "Percussive", "other": "Unknown", "vocals": "Vocal",
    }  # fmt: skip
    song = out / "test/Chör & Co - Lied"
    assert (song / "mix.wav").resolve() == (source / "test/Chör & Co - Lied/mixture.wav").resolve()
    assert copied(out) == []


def test_the_compressed_musdb18_says_what_to_do(source: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source / "train").mkdir(parents=True)
    (source / "train/Band - Song.stem.mp4").write_bytes(b"x")
    line = said(capsys, str(source), "--layout", "musdb18", "--out", str(out))
    assert "use MUSDB18-HQ, or convert it with `musdbconvert`" in line
    assert not out.exists()


def test_moisesdb_sums_the_tracks_of_one_stem_and_category(source: Path, out: Path) -> None:
    index = imported(stem_collections.moisesdb(source), "moisesdb", out)
    assert not index.refusals
    assert stems(index, "0f1d5a3e") == {
        "drums": "Percussive", "organ, electric organ": "Organ", "synth pad": "Synth Pad", "bass guitar": "Bass",
        "lead male singer": "Vocal",
    }  # fmt: skip
    assert sorted(song.split_folder or "" for song in index.songs) == ["test", "train", "validation"]
    folder = next(out.glob("*/0f1d5a3e"))
    assert copied(folder) == ["S00.flac"]
    drums, rate_hz = soundfile.read(folder / "stems/S00.flac", dtype="float32")
    assert rate_hz == RATE_HZ
    np.testing.assert_allclose(drums, sine(100, channels=2) + sine(130, channels=2), atol=1e-6)
    assert yaml.safe_load((folder / "metadata.yaml").read_text())["title"] == "Artist - Song 0"
    report = json.loads((out / "import.json").read_text())["report"]
    assert report["left_out"] == {"click track": 3}


def test_medleydb(source: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = imported(stem_collections.medleydb(source), "medleydb", out)
    assert not index.refusals
    for song in ("Artist_First", "Other_Third"):
        assert stems(index, song) == {
            "electric bass": "Bass", "drum set": "Percussive", "male singer": "Vocal", "sampler": "Unknown",
        }  # fmt: skip
    assert copied(out) == []
    assert "of unknown category, name them in a map: 3 sampler" in capsys.readouterr().out


def test_medleydb_without_metadata_says_where_it_belongs(source: Path, out: Path) -> None:
    stem_collections.medleydb(source)
    (source / "Metadata/Other_Third_METADATA.yaml").unlink()
    assert len(imported(source, "medleydb", out).songs) == 2
    refusals = json.loads((out / "import.json").read_text())["report"]["refusals"]
    assert refusals[0]["song"] == "Other_Third"
    assert f"into {source / 'Metadata'}" in refusals[0]["reason"]


def test_babyslakh_keeps_programs_midi_and_identity(source: Path, out: Path) -> None:
    index = imported(stem_collections.babyslakh(source), "babyslakh", out, "--test", "0.25")
    assert stems(index, "Track00001") == {
        "Drums": "Percussive", "Electric Bass (finger)": "Bass", "Electric Piano 1": "Piano",
    }  # fmt: skip
    assert sorted(song.uuid for song in index.songs) == [f"{number:032x}" for number in range(1, 5)]
    assert all(song.midi_md5 and song.sample_rate_hz == 16000 for song in index.songs)
    assert copied(out) == []


def test_any_folders_of_stems(source: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = imported(stem_collections.folders(source), "folders", out)
    assert not index.refusals
    assert stems(index, "My Song 0") == {
        "01_Kick_In": "Percussive", "drums": "Percussive", "Bass DI": "Bass", "Lead Vox": "Vocal", "Rhodes": "Piano",
        "Kazoo": "Unknown",
    }  # fmt: skip
    folder = next(out.glob("*/My Song 0"))
    assert len(copied(folder)) == 2, "only the microphones of the drums, and what has another rate, are written"
    (song,) = [entry for entry in index.songs if entry.name == "My Song 0"]
    kazoo = next(stem for stem in song.stems if stem.description == "Kazoo")
    audio, rate_hz = soundfile.read(folder / kazoo.file, dtype="float32")
    assert rate_hz == RATE_HZ
    np.testing.assert_allclose(audio[500:-500], sine(500)[500:-500, 0], atol=1e-3)
    printed = capsys.readouterr().out
    assert "3 songs (1 train, 1 validation, 1 test); 12 stems linked, 6 written" in printed
    assert "name them in a map: 3 kazoo" in printed


def test_songs_of_frets_on_fire_bring_their_tempo_map(tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "sectoid" / "Feelings"
    folder.mkdir(parents=True)
    for name in ("guitar", "song"):
        soundfile.write(folder / f"{name}.ogg", sine(440)[:, 0], RATE_HZ)
    midi = pretty_midi.PrettyMIDI(initial_tempo=95)
    midi.instruments.append(pretty_midi.Instrument(0))
    midi.instruments[0].notes.append(pretty_midi.Note(100, 60, 0.0, 5.0))
    midi.write(str(folder / "notes.mid"))
    imported(folder.parent, "folders", out, "--test", "0", "--validation", "0")
    annotations = read_annotations(next(out.glob("*/Feelings")))
    assert annotations is not None
    assert np.allclose(np.diff(annotations.beats_seconds), 60 / 95, atol=1e-4)


def test_a_folder_of_bands_is_no_folder_of_songs(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every song of a band would be one stem, its instruments summed."""
    for song in ("one", "two"):
        for name in ("guitar", "rest"):
            write(tmp_path / "music" / "a band" / song / f"{name}.flac", 440)
    band = tmp_path / "music" / "a band"
    assert f"name {band} as the source" in said(capsys, str(band.parent), "--layout", "folders", "--out", str(out))
    assert not out.exists()
    assert len(imported(band, "folders", out).songs) == 2


def test_folders_of_stems_may_share_the_names_of_their_files(tmp_path: Path, out: Path) -> None:
    song = tmp_path / "music" / "a song"
    for stem in ("drums", "lead guitar"):
        for name in ("left", "bass roll off"):
            write(song / stem / f"{name}.flac", 440)
    assert stems(imported(song.parent, "folders", out), "a song") == {"drums": "Percussive", "lead guitar": "Guitar"}


def test_the_map_names_groups_and_leaves_out(source: Path, out: Path, tmp_path: Path) -> None:
    stem_collections.folders(source)
    (tmp_path / "map.yaml").write_text(
        "instruments: {kazoo: Reed, lead vox: null}\n"
        "groups: {Kit: [kick in, drums]}\n"
        "splits: {test: [My Song 2], validation: [My Song 0]}\n"
    )
    index = imported(source, "folders", out, "--map", str(tmp_path / "map.yaml"))
    assert stems(index, "My Song 1") == {"Kit": "Percussive", "Bass DI": "Bass", "Rhodes": "Piano", "Kazoo": "Reed"}
    assert {song.name: song.split_folder for song in index.songs} == {
        "My Song 0": "validation", "My Song 1": "train", "My Song 2": "test",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("instruments: {kazoo: Kazoo}", "is none of Piano, Chromatic Percussion"),
        ("groups: {Kit: kick}", "is no list of names"),
        ("splits: {test: [My Song 9]}", "does not have; did you mean My Song"),
        ("splits: {dev: [My Song 1]}", "none of the splits train, validation, test"),
        ("stems: {}", "holds stems, which a map does not"),
        ("[" * 100_000, "is damaged"),
        ("instruments: [a]", "is no mapping"),
    ],
)
def test_a_mistake_in_a_map_is_one_sentence(
    source: Path, out: Path, tmp_path: Path, text: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(source / "My Song 1/kick.wav", 60)
    (tmp_path / "map.yaml").write_text(text)
    options = ("--layout", "folders", "--out", str(out), "--map", str(tmp_path / "map.yaml"))
    assert sentence in said(capsys, str(source), *options)
    assert not out.exists()


def test_an_import_goes_on_and_overwrites_nothing(source: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stem_collections.folders(source)
    before = {song.name: song.split_folder for song in imported(source, "folders", out).songs}
    marks = {path: path.lstat().st_mtime_ns for path in out.glob("*/*/metadata.yaml")}
    for number in (7, 8):
        write(source / f"My Song {number}/kick.wav", 60)
    after = {song.name: song.split_folder for song in imported(source, "folders", out).songs}
    assert {name: after[name] for name in before} == before, "no song moves to another split"
    assert {path: path.lstat().st_mtime_ns for path in marks} == marks
    assert "5 songs" in capsys.readouterr().out
    options = ("--layout", "folders", "--out", str(out))
    assert "with other settings (test); name a new folder" in said(capsys, str(source), *options, "--test", "0.3")
    (out / "import.json").unlink()
    assert "holds something that was not imported" in said(capsys, str(source), *options)
    assert "lies in the source" in said(capsys, str(source), *options[:3], str(source / "out"))
    assert "there is no folder" in said(capsys, str(source / "none"), *options)


def test_a_sum_beyond_full_scale_is_not_clipped(source: Path, out: Path) -> None:
    for name in ("a", "b"):
        write(source / "Song/drums/x.wav", 60)
        soundfile.write(source / f"Song/drums/{name}.wav", 8 * sine(100), RATE_HZ)
    imported(source, "folders", out)
    audio, _ = soundfile.read(next(out.rglob("S00.wav")), dtype="float32")
    assert np.abs(audio).max() > 1.5


def test_a_song_that_stands_twice_in_a_source_is_found(source: Path, out: Path) -> None:
    for place in ("train/A", "test/B"):
        write(source / place / "drums.wav", 60)
        write(source / place / "bass.wav", 80)
    index = imported(source, "folders", out)
    assert "across splits: 1" in index.summary()


def test_damaged_and_hostile_files_cost_only_themselves(
    source: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = write(tmp_path / "elsewhere/secret.wav", 60)
    for name in ("drums", "bass"):
        write(source / f"Song/{name}.wav", 60)
    (source / "Song/noise.wav").write_bytes(b"RIFF no sound")
    (source / "Song/empty.flac").write_bytes(b"")
    (source / "Song/video.mp4").write_bytes(b"x")
    os.symlink(secret, source / "Song/piano.wav")
    os.symlink(source / "gone.wav", source / "Song/organ.wav")
    os.symlink("guitar.wav", source / "Song/guitar.wav")
    os.symlink(source, source / "Song/loop")
    os.symlink(source, source / "loop")
    os.mkfifo(source / "Song/pipe.wav")
    index = imported(source, "folders", out)
    assert [(song.name, len(song.stems)) for song in index.songs] == [("Song", 2)]
    reasons = {r["stem"]: r["reason"] for r in json.loads((out / "import.json").read_text())["report"]["refusals"]}
    assert set(reasons) == {f"{n}.wav" for n in ("noise", "piano", "organ", "guitar", "pipe")} | {
        "empty.flac", "video.mp4", "loop",
    }  # fmt: skip
    assert "leads out of" in reasons["piano.wav"]
    assert ".mp4 cannot be read" in reasons["video.mp4"]
    again = imported(source, "folders", tmp_path / "trusting", "--follow-links")
    assert [len(song.stems) for song in again.songs if song.name == "Song"] == [3]


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "..", "a/b", 7, None])
def test_names_in_metadata_lead_nowhere(source: Path, out: Path, name: object) -> None:
    write(source.parent / "secret.wav", 60)
    stem_collections.moisesdb(source)
    path = source / "moisesdb_v0.1/0f1d5a3e/data.json"
    values = json.loads(path.read_text())
    values["stems"][0]["tracks"][0]["id"] = name
    values["stems"][2]["stemName"] = name
    path.write_text(json.dumps(values))
    imported(source, "moisesdb", out)
    links = [os.readlink(link) for link in out.rglob("*") if link.is_symlink()]
    assert links
    assert all(link.startswith(str(source)) for link in links)
    refusals = json.loads((out / "import.json").read_text())["report"]["refusals"]
    assert [refusal["reason"] for refusal in refusals] == ["a stem's entry in data.json is damaged"] * 2


def test_damaged_metadata_of_every_layout_costs_one_song(source: Path, tmp_path: Path) -> None:
    for layout, name in (("moisesdb", "data.json"), ("medleydb", "*_METADATA.yaml"), ("babyslakh", "metadata.yaml")):
        root = getattr(stem_collections, layout)(source / layout)
        files = sorted(root.rglob(name))
        for text in ("[" * 200_000, "", "stems: 7", '{"stems": [7, {"tracks": [[]]}]}'):
            files[0].write_text(text)
            index = imported(root, layout, tmp_path / f"{layout}-{len(text)}")
            assert len(index.songs) == len(files) - 1


def test_names_of_folders() -> None:
    assert folder_name("A Classic Education - NightOwl") == "A Classic Education - NightOwl"
    assert folder_name("a/b") != folder_name("a:b")
    for name in ("../x", "..", "x" * 300, "a\0b", "CON?", ".hidden"):
        plain = folder_name(name)
        assert "/" not in plain
        assert not plain.startswith(".")
        assert len(plain.encode()) < 255


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("01_Kick_L", "Percussive"), ("bass drum", "Percussive"), ("Bass DI 2", "Bass"), ("bassoon", "Reed"),
        ("LeadVox2", "Vocal"), ("distorted electric guitar", "Guitar"), ("guitar synth", "Synth Lead"),
        ("contrabass/double bass (bass of instrings)", "Bass"), ("tuba (bass of brass)", "Brass"),
        ("bassoon (bass of woodwind)", "Reed"), ("french horn section", "Brass"), ("English Horn", "Reed"),
        ("a-tonal percussion (claps, shakers, congas, cowbell etc)", "Percussive"), ("Hi-Hats", "Percussive"),
        ("pitched percussion (mallets, glockenspiel, ...)", "Chromatic Percussion"), ("strings", "Ensemble"),
        ("reeds (saxophone, clarinets, oboe, english horn, bagpipe)", "Reed"), ("violin (solo)", "Strings"),
        ("flutes (piccolo, bamboo flute, panpipes, flutes etc)", "Pipe"), ("other_keys", None), ("other", None),
        ("fx/processed sound", "Sound Effects"), ("kazoo", None), ("", None), ("42", None),
    ],
)  # fmt: skip
def test_names_of_instruments(name: str, category: str | None) -> None:
    found = category_named(name)
    assert (None if found is None else CATEGORIES[found]) == category


def test_names_of_general_midi() -> None:
    """All but "Lead 6 (voice)": who writes of a lead voice means a singer."""
    for program in set(range(128)) - {85}:
        name = pretty_midi.program_to_instrument_name(program)
        assert category_named(name) == category_of(program, is_drum=False), name


def test_an_import_trains(source: Path, out: Path) -> None:
    for number in range(3):
        for place, name in enumerate(("drums", "bass", "piano")):
            soundfile_path = source / f"Song {number}/{name}.wav"
            soundfile_path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(soundfile_path, sine(100 + 90 * place, 4.0), RATE_HZ)
    imported(source, "folders", out)
    data = Slakh2100DataModule(
        str(out), FrameCodec(), crop_frames=64, batch_size=2, eval_seconds=1.0, eval_items=1, bank_workers=0
    )
    data.prepare_data()
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch.mix.shape == batch.target.shape == (2, 64, 256)
    assert set(data.instruments) == {"Piano", "Bass", "Percussive"}
