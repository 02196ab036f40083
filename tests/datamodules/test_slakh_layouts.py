"""What a data set may look like besides its published form, and what strangers may have put into it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from slakh_tree import PROGRAMS, RATE_HZ, tone, write_metadata, write_song, write_tree

from datamodules import SlakhIndex
from datamodules.annotations import read_annotations
from livejam.errors import UserError

AUDIO = {name: tone(1, i) for i, name in enumerate(PROGRAMS)}


def one_song(root: Path, suffix: str = ".flac") -> Path:
    write_song(root / "train/Track00001", AUDIO, suffix=suffix)
    return root / "train/Track00001"


def convert(folder: Path, suffix: str) -> None:
    """All stems of a song to another format."""
    for file in sorted((folder / "stems").iterdir()):
        audio, rate_hz = soundfile.read(file)
        file.unlink()
        soundfile.write(str(file.with_suffix(suffix)), audio, rate_hz, format=suffix[1:].upper())


@pytest.mark.parametrize("suffix", [".FLAC", ".WAV", ".ogg", ".mp3", ".aiff"])
def test_every_format_in_small_letters_and_in_capitals(tmp_path: Path, suffix: str) -> None:
    convert(one_song(tmp_path), suffix)
    (song,) = SlakhIndex.open(tmp_path, deep=True).songs
    assert [stem.file for stem in song.stems] == [f"stems/{name}{suffix}" for name in PROGRAMS]


def test_the_best_of_several_formats(tmp_path: Path) -> None:
    folder = one_song(tmp_path)
    soundfile.write(folder / "stems/S00.mp3", AUDIO["S00"], RATE_HZ)
    (song,) = SlakhIndex.open(tmp_path).songs
    assert song.stems[0].file == "stems/S00.flac"


@pytest.mark.parametrize(("folder", "split"), [("Train", "train"), ("val", "validation"), ("VALID", "validation")])
def test_folders_by_other_names(tmp_path: Path, folder: str, split: str) -> None:
    one_song(tmp_path)
    (tmp_path / "train/Track00001/stems").rename(tmp_path / "train/Track00001/Stems")
    (tmp_path / "train").rename(tmp_path / folder)
    (song,) = SlakhIndex.open(tmp_path).songs
    assert (song.split_folder, song.folder, len(song.stems)) == (split, f"{folder}/Track00001", 4)


def test_a_file_that_is_no_stem_says_which_files_are(tmp_path: Path) -> None:
    folder = one_song(tmp_path)
    (folder / "stems/S00.flac").rename(folder / "stems/S00.m4a")
    (folder / "stems/S01.flac").unlink()
    (folder / "stems/S01.flac").symlink_to(tmp_path / "gone.flac")
    (folder / "stems/S02.flac").unlink()
    reasons = {refusal.stem: refusal.reason for refusal in SlakhIndex.open(tmp_path).refusals}
    assert "S00.m4a, which is none of .flac, .wav" in reasons["S00"]
    assert "gone.flac, which is gone" in reasons["S01"]
    assert "missing (any of .flac, .wav" in reasons["S02"]


def test_a_track_that_stands_twice_is_one(tmp_path: Path) -> None:
    write_tree(tmp_path, train=2, validation=1, test=0)
    write_song(tmp_path / "Track00001", AUDIO)
    write_song(tmp_path / "TRAIN/Track00002", AUDIO)
    index = SlakhIndex.open(tmp_path)
    assert sorted(song.name for song in index.songs) == ["Track00001", "Track00002", "Track00003"]
    assert [refusal.song for refusal in index.refusals] == ["Track00001", "Track00002"]
    assert all("it stands twice" in refusal.reason for refusal in index.refusals)
    assert SlakhIndex.open(tmp_path) == index


def test_a_category_that_no_program_says(tmp_path: Path) -> None:
    folder = one_song(tmp_path)
    text = (folder / "metadata.yaml").read_text()
    (folder / "metadata.yaml").write_text(text.replace("    inst_class: Drums\n", "    category: Vocal\n"))
    assert "1 Vocal" in SlakhIndex.open(tmp_path).summary()


def test_steady_white_noise_is_refused_and_noisy_music_is_not(tmp_path: Path) -> None:
    folder = one_song(tmp_path)
    noise = 0.1 * np.random.default_rng(0).normal(size=4 * RATE_HZ)
    hits = noise * np.exp(-40 * (np.arange(len(noise)) % 2000) / RATE_HZ)
    late = np.where(np.arange(len(noise)) < 2 * RATE_HZ, 0, noise)
    for name, audio in {"S00": noise, "S01": hits, "S02": late, "S03": 0 * noise}.items():
        soundfile.write(folder / f"stems/{name}.flac", audio, RATE_HZ)
    reasons = {refusal.stem: refusal.reason for refusal in SlakhIndex.open(tmp_path, deep=True).refusals}
    assert set(reasons) == {"S00", "S02"}
    assert "white noise (spectral flatness 0.9" in reasons["S00"]


@pytest.mark.parametrize(
    "text", ["[" * 200_000, "- " * 100_000, "a: " + "x" * (1 << 21), "a: 2020-13-45", "stems: {S00: !!python/name:os }"]
)
def test_hostile_metadata_costs_one_song(tmp_path: Path, text: str) -> None:
    """The first two killed the process: libyaml's binding recurses without end."""
    write_tree(tmp_path, train=2)
    (tmp_path / "train/Track00001/metadata.yaml").write_text(text)
    index = SlakhIndex.open(tmp_path)
    assert "Track00001" not in {song.name for song in index.songs}
    assert "Track00001" in {refusal.song for refusal in index.refusals}


def test_a_description_that_doubles_thirty_times_is_not_spelled_out(tmp_path: Path) -> None:
    folder = one_song(tmp_path)
    bomb = "\n".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 30))
    text = (folder / "metadata.yaml").read_text().replace("midi_program_name: program 128", "midi_program_name: *a29")
    (folder / "metadata.yaml").write_text(f"a0: &a0 [x, x]\n{bomb}\n{text}")
    (song,) = SlakhIndex.open(tmp_path).songs
    assert song.stems[0].description == "Drums"


def test_names_and_links_lead_nowhere(tmp_path: Path) -> None:
    folder = one_song(tmp_path)
    soundfile.write(tmp_path / "secret.flac", AUDIO["S00"], RATE_HZ)
    write_metadata(folder, {"../../../secret": 0, "..": 0, "a\0b": 0, "S00": 128})
    os.symlink(folder.parent, folder.parent / "loop")
    index = SlakhIndex.open(tmp_path)
    assert [stem.name for song in index.songs for stem in song.stems] == ["S00"]


def test_annotations_that_nest_too_deeply_are_damaged(tmp_path: Path) -> None:
    folder = one_song(tmp_path)
    (folder / "annotations.json").write_text("[" * 200_000)
    with pytest.raises(UserError, match="is damaged"):
        read_annotations(folder)
