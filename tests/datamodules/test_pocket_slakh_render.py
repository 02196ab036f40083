"""Rendered songs: Slakh2100's format, sound that fits its annotations, and renders that survive interruption."""

from __future__ import annotations

import hashlib
import json
import time
from importlib.util import find_spec
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from datamodules.pocket_slakh import palette
from datamodules.pocket_slakh.render import SAMPLE_RATE_HZ, render_songs, split_names
from livejam.batch import Chord
from livejam.errors import UserError
from metrics.harmony import chord_tone_share

SONGS = 10
SEED = 0
METADATA_KEYS = {
    "UUID", "audio_dir", "lmd_midi_dir", "midi_dir", "normalization_factor", "normalized", "overall_gain", "stems",
    "target_peak",
}  # fmt: skip
STEM_KEYS = {
    "audio_rendered", "inst_class", "integrated_loudness", "is_drum", "midi_program_name", "midi_saved", "plugin_name",
    "program_num",
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ten songs")
    render_songs(root, SONGS, SEED, workers=1)
    return root


def _tracks(root: Path) -> list[Path]:
    return sorted(root.glob("*/Track*"), key=lambda track: track.name)


def _metadata(track: Path) -> dict[str, Any]:
    return yaml.safe_load((track / "metadata.yaml").read_text())


def _truth(track: Path) -> dict[str, Any]:
    return json.loads((track / "annotations.json").read_text())


def _digests(root: Path, names: set[str]) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[1] in names
    }


def test_layout_is_slakhs(root: Path) -> None:
    tracks = _tracks(root)
    assert [track.name for track in tracks] == [f"Track{number:05d}" for number in range(1, SONGS + 1)]
    assert {track.parent.name for track in tracks} == {"train", "validation", "test"}
    for track in tracks:
        metadata = _metadata(track)
        assert set(metadata) == METADATA_KEYS
        assert all(set(stem) == STEM_KEYS for stem in metadata["stems"].values())
        names = set(metadata["stems"])
        assert {path.stem for path in (track / "stems").glob("*.flac")} == names
        assert {path.stem for path in (track / "MIDI").glob("*.mid")} == names
        assert (track / "all_src.mid").is_file()


def test_audio_is_mono_16_bit_and_the_mix_is_the_sum_of_its_stems(root: Path) -> None:
    for track in _tracks(root)[:4]:
        info = soundfile.info(track / "mix.flac")
        assert (info.samplerate, info.channels, info.subtype, info.format) == (SAMPLE_RATE_HZ, 1, "PCM_16", "FLAC")
        mix, _ = soundfile.read(track / "mix.flac", dtype="int16")
        stems = [soundfile.read(path, dtype="int16")[0] for path in sorted((track / "stems").glob("*.flac"))]
        assert np.array_equal(mix, np.sum(stems, axis=0, dtype=np.int64))
        assert np.abs(mix.astype(int)).max() <= 10 ** (-1 / 20) * 32768 + len(stems)
        assert len(mix) / SAMPLE_RATE_HZ == pytest.approx(_truth(track)["duration_seconds"], abs=1e-5)


def test_stems_are_levelled(root: Path) -> None:
    """Drums lead, pads follow, and nothing differs wildly from song to song."""
    levels: dict[str, list[float]] = {"Drums": [], "Bass": [], "Piano": [], "Synth Pad": []}
    for track in _tracks(root):
        for stem in _metadata(track)["stems"].values():
            levels.setdefault(stem["inst_class"], []).append(stem["integrated_loudness"])
    means = {name: np.mean(values) for name, values in levels.items() if values}
    assert means["Drums"] > means["Bass"] > means["Synth Pad"]
    assert all(-24.5 <= level <= -18 for level in levels["Drums"])
    assert all(-36 <= level <= -17 for values in levels.values() for level in values)


def test_annotations_follow_the_schema_and_agree_with_the_midi(root: Path) -> None:
    from symusic import Score

    for track in _tracks(root):
        truth = _truth(track)
        beats, downbeats, duration = truth["beats"], truth["downbeats"], truth["duration_seconds"]
        assert np.allclose(np.diff(beats), 60 / truth["tempo_bpm"], atol=1e-5)
        assert set(downbeats) <= set(beats)
        assert len(beats) == len(downbeats) * {"4/4": 4, "3/4": 3, "6/8": 2}[truth["meter"]]
        for spans in (truth["chords"], truth["sections"]):
            assert spans[0]["start"] == 0
            assert all(a["end"] == b["start"] for a, b in pairwise(spans))
            assert spans[-1]["end"] <= duration
        assert all(3 <= len(set(chord["pitch_classes"])) <= 4 for chord in truth["chords"])
        score = Score(track / "all_src.mid")
        signature = score.time_signatures[0]
        assert f"{signature.numerator}/{signature.denominator}" == truth["meter"]
        quarters_per_beat = 1.5 if truth["meter"] == "6/8" else 1
        assert score.tempos[0].qpm == pytest.approx(truth["tempo_bpm"] * quarters_per_beat, rel=1e-4)
        assert len(score.tracks) == len(_metadata(track)["stems"])


def test_pitched_stems_sound_the_true_chords(root: Path) -> None:
    shares: dict[str, list[float]] = {}
    for track in _tracks(root):
        chords = [Chord(c["start"], c["end"], c["label"], tuple(c["pitch_classes"])) for c in _truth(track)["chords"]]
        for name, stem in _metadata(track)["stems"].items():
            if stem["program_num"] in palette.PITCHED:
                audio, rate = soundfile.read(track / "stems" / f"{name}.flac", dtype="float32")
                share = chord_tone_share(audio[::2], audio[::2], rate // 2, chords)
                shares.setdefault(stem["inst_class"], []).append(share)
    assert {"Bass", "Piano", "Guitar"} <= set(shares)
    assert {name: np.mean(values) for name, values in shares.items() if np.mean(values) < 0.7} == {}
    assert np.mean([share for values in shares.values() for share in values]) > 0.8


@pytest.mark.skipif(find_spec("madmom") is None, reason="needs the extra `metrics`")
def test_madmom_finds_the_true_beats_in_the_mix(root: Path) -> None:
    from metrics.beats import MadmomRNN, beat_f_measure

    scores = []
    tracker = MadmomRNN()
    start, seconds = 10, 20
    for track in _tracks(root):
        audio, rate = soundfile.read(
            track / "mix.flac", dtype="float32", start=start * SAMPLE_RATE_HZ, frames=seconds * SAMPLE_RATE_HZ
        )
        true_beats = [beat - start for beat in _truth(track)["beats"] if start <= beat < start + seconds]
        scores.append(beat_f_measure(true_beats, tracker([audio], rate)[0]))
    assert np.mean(scores) >= 0.95


def test_songs_depend_neither_on_their_number_nor_on_workers(root: Path, tmp_path: Path) -> None:
    render_songs(tmp_path, 3, SEED, workers=3)
    names = {track.name for track in _tracks(tmp_path)}
    assert len(names) == 3
    assert _digests(tmp_path, names) == _digests(root, names)


def test_a_second_render_finds_everything(root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    started = time.perf_counter()
    render_songs(root, SONGS, SEED)
    assert time.perf_counter() - started < 0.5
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_a_killed_render_goes_on_where_it_stopped(root: Path, tmp_path: Path) -> None:
    # a forked child starts at once; the renderer touches nothing that does not survive a fork
    child = get_context("fork").Process(target=render_songs, args=(tmp_path, 3, SEED, 1))
    child.start()
    while not _tracks(tmp_path) and child.is_alive():
        time.sleep(0.01)
    child.kill()
    child.join()
    finished = _tracks(tmp_path)
    assert 1 <= len(finished) < 3, "the render was killed too late to prove anything"
    kept = {track: track.stat().st_mtime_ns for track in finished}
    render_songs(tmp_path, 3, SEED, workers=1)
    assert all(track.stat().st_mtime_ns == changed for track, changed in kept.items())
    names = {track.name for track in _tracks(tmp_path)}
    assert _digests(tmp_path, names) == _digests(root, names)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_a_failed_song_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*arguments: object, **keywords: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(soundfile, "write", full_disk)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 0}))
    with pytest.raises(UserError, match="disk is full"):
        render_songs(tmp_path, 1, SEED)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_songs_of_two_seeds_do_not_mix(root: Path) -> None:
    with pytest.raises(UserError, match="seed 1"):
        render_songs(root, SONGS, SEED + 1)


@pytest.mark.parametrize(("songs", "validation", "test"), [(0, 0.1, 0.1), (5, 0.5, 0.5), (5, -0.1, 0.1)])
def test_senseless_numbers_are_refused(tmp_path: Path, songs: int, validation: float, test: float) -> None:
    with pytest.raises(UserError, match="at least one song"):
        render_songs(tmp_path, songs, 0, None, validation, test)


@pytest.mark.parametrize("songs", [1, 2, 3, 10, 57, 200])
def test_splits_keep_their_shares_and_never_change(songs: int) -> None:
    names = split_names(songs, 0.1, 0.1)
    assert names == split_names(500, 0.1, 0.1)[:songs]
    assert names[0] == "train"
    if songs >= 3:
        assert set(names) == {"train", "validation", "test"}
        assert all(abs(names.count(split) - 0.1 * songs) <= 1 for split in ("validation", "test"))
