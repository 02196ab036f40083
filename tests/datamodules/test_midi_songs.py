"""Other people's MIDI files become songs; files that are none are left out, and nothing is lost."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from pyloudnorm import Meter
from symusic import Synthesizer

from datamodules.annotations import read_annotations
from datamodules.midi_songs import midi_files, read_midi, readable_songs, render_midi_songs
from datamodules.slakh_index import SlakhIndex
from livejam.cli.main import main
from livejam.errors import UserError

BAR_SECONDS = 2.0


def write_midi(
    path: Path, parts: dict[tuple[int, bool], int], bars: int = 6, tempo: float = 120.0, drum: int = 38
) -> Path:
    """A file with a note per beat on each (program, is drum), and the volume that goes with it."""
    from symusic.core import ControlChangeTick, NoteTick, ScoreTick, TempoTick, TrackTick

    score = ScoreTick(480)
    score.tempos.append(TempoTick(0, tempo))
    for (program, is_drum), volume in parts.items():
        track = TrackTick("", program, is_drum)
        track.controls.append(ControlChangeTick(0, 7, volume))
        for beat in range(4 * bars):
            track.notes.append(NoteTick(480 * beat, 400, drum if is_drum else 60, 90))
        score.tracks.append(track)
    path.parent.mkdir(parents=True, exist_ok=True)
    score.dump_midi(str(path))
    return path


def collection(root: Path) -> Path:
    write_midi(root / "a/Band (live).mid", {(0, False): 127, (33, False): 90, (0, True): 127})
    write_midi(root / "trio.MID", {(0, False): 127, (24, False): 127}, bars=8, tempo=90.0)
    return root


def test_a_folder_of_files_becomes_songs_that_training_can_read(tmp_path: Path) -> None:
    source, out = collection(tmp_path / "midi"), tmp_path / "songs"
    assert render_midi_songs(source, out, workers=1, test_fraction=1.0, validation_fraction=0.0) == []
    index = SlakhIndex.open(out)
    assert sorted(len(song.stems) for song in index.songs) == [2, 3]
    for folder in (out / "test").iterdir():
        truth = read_annotations(folder)
        assert truth is not None
        assert not truth.chords
        beat = 0.5 if "Band" in folder.name else 60 / 90
        assert np.allclose(np.diff(truth.beats_seconds), beat, atol=1e-3)
        stems = [soundfile.read(path)[0] for path in sorted((folder / "stems").glob("*.flac"))]
        mix = soundfile.read(folder / "mix.flac")[0]
        assert np.abs(np.sum(stems, axis=0) - mix).max() < 1e-4
        assert max(np.abs(mix).max(), *(np.abs(stem).max() for stem in stems)) == pytest.approx(10 ** (-1 / 20), 1e-3)


def test_files_that_are_added_join_and_the_others_stay(tmp_path: Path) -> None:
    source, out = collection(tmp_path / "midi"), tmp_path / "songs"
    render_midi_songs(source, out, workers=1)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/Track*/mix.flac")}
    write_midi(source / "0 first.mid", {(0, False): 127, (40, False): 127})
    render_midi_songs(source, out, workers=1)
    after = {path: path.stat().st_mtime_ns for path in out.glob("*/Track*/mix.flac")}
    assert len(before) == 2
    assert len(after) == 3
    assert before.items() <= after.items()


def test_the_volume_that_a_file_asks_for_is_heard(tmp_path: Path) -> None:
    path = write_midi(tmp_path / "loud.mid", {(0, False): 127, (33, False): 64, (0, True): 0})
    levels = {stem.instrument.program_num: stem.level_db for stem in read_midi(path).stems}
    assert levels[0] == 0
    assert levels[33] == pytest.approx(40 * np.log10(64 / 127))
    assert levels[128] < -80


def test_what_cannot_be_used_is_left_out_with_the_reason(tmp_path: Path) -> None:
    source = collection(tmp_path / "midi")
    shutil.copy(source / "trio.MID", source / "z copy.mid")
    write_midi(source / "solo.mid", {(0, False): 127})
    write_midi(source / "short.mid", {(0, False): 127, (33, False): 90}, bars=2)
    write_midi(source / "long.mid", {(0, False): 127, (33, False): 90}, bars=600, tempo=100)
    (source / "text.mid").write_text("no music")
    (source / "huge.mid").write_bytes(bytes(4_000_001))
    songs, left_out = readable_songs(midi_files(source))
    assert len(songs) == 2
    said = " ".join(left_out)
    for reason in ("a copy of", "holds 1 instrument", "lasts 4 s", "lasts 1440 s", "can be read", "larger than 4 MB"):
        assert reason in said, said


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_files_are_refused_or_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("midi")
    whole = bytearray(write_midi(folder / "a.mid", {(0, False): 127, (33, False): 90}).read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (folder / "b.mid").write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    songs, left_out = readable_songs([folder / "b.mid"])
    assert all(len(song.stems) >= 2 for song in songs)
    assert all(str(folder / "b.mid") in reason for reason in left_out)


def test_the_command_says_what_it_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = collection(tmp_path / "midi"), tmp_path / "songs"
    write_midi(source / "solo.mid", {(0, False): 127})
    assert main(["data", "midi", str(source), "--out", str(out), "--workers", "1"]) == 0
    assert "left out: " in capsys.readouterr().out
    assert main(["data", "midi", str(source), "--out", str(out), "--test", "1.5"]) == 2
    assert "not above 1 together" in capsys.readouterr().err
    assert main(["data", "midi", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert "holds no MIDI file" in capsys.readouterr().err


def test_a_song_that_is_not_heard_does_not_cost_the_others(tmp_path: Path) -> None:
    source, out = collection(tmp_path / "midi"), tmp_path / "songs"
    write_midi(source / "a/inaudible.mid", {(0, False): 127, (0, True): 127}, drum=1)  # no drum of General MIDI
    (said,) = render_midi_songs(source, out, workers=1)
    assert "fewer than two instruments of" in said
    assert "inaudible.mid" in said
    assert len(list(out.glob("*/Track*/mix.flac"))) == 2


@pytest.mark.parametrize("scale", [2e28, np.inf, np.nan])
def test_an_instrument_on_which_the_synthesiser_runs_away_does_not_silence_the_song(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    class Unstable:  # as the whistle of TimGM6mb.sf2 is, on some days
        def __init__(self, *options: Any) -> None:
            self.stable = Synthesizer(*options)

        def render(self, score: Any, stereo: bool) -> Any:
            audio = self.stable.render(score, stereo=stereo)
            with np.errstate(invalid="ignore"):  # 0 * inf
                return audio * np.float32(scale) if score.tracks[0].program == 78 else audio

    monkeypatch.setattr("symusic.Synthesizer", Unstable)
    source, out = tmp_path / "midi", tmp_path / "songs"
    write_midi(source / "whistle.mid", {(0, False): 127, (33, False): 127, (78, False): 127})
    assert render_midi_songs(source, out, workers=1) == []
    (folder,) = out.glob("*/Track*")
    peaks = [np.abs(soundfile.read(path)[0]).max() for path in sorted((folder / "stems").glob("*.flac"))]
    assert len(peaks) == 2
    assert min(peaks) > 0.1


def test_songs_of_another_origin_are_not_joined(tmp_path: Path) -> None:
    source, out = collection(tmp_path / "midi"), tmp_path / "songs"
    (out / "train/Track00001").mkdir(parents=True)
    (out / "train/Track00001/metadata.yaml").write_text("lmd_midi_dir: wide-songs/1\n")
    with pytest.raises(UserError, match="rendered otherwise"):
        render_midi_songs(source, out)


def test_equally_loud_instruments_are_equally_loud(tmp_path: Path) -> None:
    source = tmp_path / "midi"
    write_midi(source / "light drums.mid", {(0, False): 127, (33, False): 90, (0, True): 30})
    for name, options in (("written", []), ("equal", ["--equal-loudness"])):
        out = tmp_path / name
        assert main(["data", "midi", str(source), "--out", str(out), "--workers", "1", *options]) == 0
        (folder,) = out.glob("*/Track*")
        stems = [soundfile.read(path)[0] for path in sorted((folder / "stems").glob("*.flac"))]
        lufs = [Meter(44100).integrated_loudness(stem) for stem in stems]
        mix = soundfile.read(folder / "mix.flac")[0]
        assert np.abs(np.sum(stems, axis=0) - mix).max() < 1e-4
        assert max(np.abs(audio).max() for audio in (mix, *stems)) == pytest.approx(10 ** (-1 / 20), 1e-3)
        assert np.ptp(lufs) < 0.1 if options else np.ptp(lufs) > 15
    with pytest.raises(UserError, match="rendered otherwise"):
        render_midi_songs(source, tmp_path / "written", equal_loudness=True)


def test_an_instrument_that_the_file_mutes_is_not_made_loud(tmp_path: Path) -> None:
    source, out = tmp_path / "midi", tmp_path / "songs"
    write_midi(source / "a.mid", {(0, False): 127, (33, False): 127, (0, True): 0})
    render_midi_songs(source, out, workers=1, equal_loudness=True)
    (folder,) = out.glob("*/Track*")
    peaks = [np.abs(soundfile.read(path)[0]).max() for path in sorted((folder / "stems").glob("*.flac"))]
    assert peaks[0] > 0.1
    assert min(peaks) < 1e-3
