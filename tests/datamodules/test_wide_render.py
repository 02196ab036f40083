"""Wide songs as sound: onsets where the MIDI has them, tuning, takes, loudness, and refusals."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from datamodules.audio import Audio
from datamodules.pocket_slakh.collection import SAMPLE_RATE_HZ
from datamodules.pocket_slakh.composer import Stem
from datamodules.pocket_slakh.palette import Instrument
from datamodules.pocket_slakh.render import render_songs
from datamodules.pocket_slakh.soundfont import corrected_soundfont
from datamodules.rendering import RenderIfMissing
from datamodules.wide_songs import effects
from datamodules.wide_songs.band import PROGRAMS
from datamodules.wide_songs.collection import WideSongs
from datamodules.wide_songs.composer import WideSong, compose
from datamodules.wide_songs.plan import SongRules
from datamodules.wide_songs.render import _origin, render_wide_songs, take_splits
from datamodules.wide_songs.sound import Timbre, doubled, limiting_curve, render_stem
from datamodules.wide_songs.tuning import Font, tuned_programs
from livejam.cli.main import main
from livejam.errors import UserError

SONGS, SEED = 4, 2
PLAIN = WideSongs(takes=2, effects=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("wide")
    render_wide_songs(root, SONGS, SEED, PLAIN, workers=1)
    return root


@pytest.fixture(scope="module")
def font() -> Font:
    return Font(corrected_soundfont(), frozenset(PROGRAMS))


def _tracks(root: Path) -> list[Path]:
    return sorted(root.glob("*/Track*"), key=lambda track: track.name)


def _metadata(track: Path) -> dict[str, Any]:
    return yaml.safe_load((track / "metadata.yaml").read_text())


def _digests(track: Path) -> dict[str, str]:
    return {
        str(p.relative_to(track)): hashlib.sha256(p.read_bytes()).hexdigest() for p in track.rglob("*") if p.is_file()
    }


def _a_song_with(inst_class: str) -> tuple[WideSong, Stem]:
    songs = (compose(SEED, index, SongRules()) for index in range(20))
    return next((song, stem) for song in songs for stem in song.stems if stem.instrument.inst_class == inst_class)


def test_takes_are_one_piece_in_one_split_with_other_sound(root: Path) -> None:
    first, second, third, fourth = _tracks(root)
    assert (
        _metadata(first)["UUID"] == _metadata(second)["UUID"] != _metadata(third)["UUID"] == _metadata(fourth)["UUID"]
    )
    assert first.parent == second.parent
    assert _digests(first)["mix.flac"] != _digests(second)["mix.flac"]
    truths = [json.loads((track / "annotations.json").read_text()) for track in (first, second)]
    assert truths[0]["beats"] == truths[1]["beats"]
    assert truths[0]["chords"] == truths[1]["chords"]
    assert truths[0]["tuning_cents"] != truths[1]["tuning_cents"]


def test_takes_share_splits() -> None:
    splits = take_splits(120, 3, 0.1, 0.1)
    assert set(splits) == {"train", "validation", "test"}
    assert all(len(set(splits[first : first + 3])) == 1 for first in range(0, 120, 3))
    with pytest.raises(UserError, match="at least one take"):
        take_splits(10, 0, 0.1, 0.1)


def test_the_mix_is_the_sum_of_its_stems_and_never_clips(root: Path) -> None:
    peaks = []
    for track in _tracks(root):
        mix, _ = soundfile.read(track / "mix.flac", dtype="int16")
        stems = [soundfile.read(path, dtype="int16")[0] for path in sorted((track / "stems").glob("*.flac"))]
        assert np.array_equal(mix, np.sum(stems, axis=0, dtype=np.int64))
        peaks.append(20 * np.log10(np.abs(mix.astype(int)).max() / 32768))
        assert peaks[-1] <= -0.99
    assert len({round(peak, 1) for peak in peaks}) > 1


def test_songs_depend_neither_on_their_number_nor_on_workers(root: Path, tmp_path: Path) -> None:
    render_wide_songs(tmp_path, 2, SEED, PLAIN, workers=2)
    for track in _tracks(tmp_path):
        assert _digests(track) == _digests(root / track.parent.name / track.name)


@pytest.mark.parametrize("cents", [-50.0, 0.0, 50.0])
def test_drums_sound_where_the_midi_says_in_every_tuning(cents: float, font: Font) -> None:
    """Energy rises at the onsets: in the 15 ms after one there is far more than in the 15 ms before."""
    song, stem = _a_song_with("Drums")
    audio, _ = render_stem(song, stem, Timbre((font,), cents, 0, 0.0))
    onsets = sorted({song.timeline.seconds(note.tick) for note in stem.notes if note.velocity > 60})
    alone = [b for a, b in pairwise(onsets) if b - a > 0.15]
    rises = []
    for onset in alone:
        at, width = round(onset * SAMPLE_RATE_HZ), round(0.015 * SAMPLE_RATE_HZ)
        before, after = audio[at - width : at], audio[at : at + width]
        rises.append(np.square(after).sum() > 3 * np.square(before).sum())
    assert len(rises) > 20
    assert np.mean(rises) > 0.9


@pytest.mark.parametrize("scale", [2e28, np.inf, np.nan])
def test_a_soundfont_on_which_the_synthesiser_runs_away_is_passed_over(
    font: Font, monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    song, stem = _a_song_with("Piano")
    first = Font(font.path, frozenset())
    audio_N, _ = render_stem(song, stem, Timbre((font,), 0.0, 0, 0.0))

    def synthesised(song: WideSong, stem: Stem, font: Font, cents: float) -> Audio:
        return np.full_like(audio_N, scale) if font is first else audio_N

    monkeypatch.setattr("datamodules.wide_songs.sound._synthesised", synthesised)
    heard_N, sounded = render_stem(song, stem, Timbre((first, font), 0.0, 0, 0.0))
    assert sounded is font
    assert np.array_equal(heard_N, audio_N)


def test_detuning_is_as_many_cents_as_the_truth_says(font: Font) -> None:
    song, stem = _a_song_with("Piano")
    peaks = []
    for cents in (0.0, 40.0):
        audio, _ = render_stem(song, stem, Timbre((font,), cents, 0, 0.0))
        spectrum = np.abs(np.fft.rfft(audio))
        log_hz = np.log2(np.maximum(np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE_HZ), 1)) * 1200
        bins = np.bincount((log_hz % 100 / 2).astype(int), spectrum**2 * (log_hz > 8000) * (log_hz < 12000), 50)
        peaks.append(np.angle(np.sum(bins * np.exp(2j * np.pi * np.arange(50) / 50))) / (2 * np.pi) * 100)
    assert (peaks[1] - peaks[0]) % 100 == pytest.approx(40, abs=4)


def test_octave_doublings_are_in_the_notes(font: Font) -> None:
    song = compose(1, 0, SongRules())
    stem = next(stem for stem in song.stems if not stem.instrument.is_drum)
    assert doubled(stem, 0) == stem
    higher = doubled(stem, 12)
    assert set(stem.notes) < set(higher.notes)
    assert {note.pitch for note in higher.notes} <= {
        p + o for p in {note.pitch for note in stem.notes} for o in (0, 12)
    }


def test_every_program_of_the_bundled_soundfont_is_in_tune_and_a_wrong_one_is_found(
    font: Font, monkeypatch: Any
) -> None:
    from datamodules.wide_songs import tuning

    some = PROGRAMS[::6]
    assert tuned_programs(font.path, some) == set(some)
    true_note = tuning._note
    monkeypatch.setattr(tuning, "_note", lambda path, program, pitch: true_note(path, program, pitch + 1))
    tuned_programs.cache_clear()
    assert tuned_programs(font.path, some[:3]) == frozenset()
    tuned_programs.cache_clear()


def test_the_limiter_lets_no_peak_pass() -> None:
    rng = np.random.default_rng(0)
    peaks = np.abs(rng.standard_normal(50_000).astype(np.float32)) ** 3
    curve = limiting_curve(peaks, 0.8)
    assert (peaks * curve).max() <= 0.8 + 1e-6
    assert curve.max() <= 1
    assert np.all(limiting_curve(peaks * 0, 0.8) == 1)


@pytest.mark.parametrize("is_drum", [False, True])
def test_effects_neither_delay_nor_lengthen(is_drum: bool) -> None:
    pytest.importorskip("pedalboard")
    click = np.zeros(SAMPLE_RATE_HZ, np.float32)
    click[10_000] = 0.5
    for seed in range(12):
        shaped = effects.with_effects(click, Instrument(0, is_drum), np.random.default_rng(seed))
        assert shaped.shape == click.shape
        assert np.isfinite(shaped).all()
        assert abs(int(np.abs(shaped).argmax()) - 10_000) <= 12


def test_effects_name_their_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(effects, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"livejam\[songs\]"):
        render_wide_songs(tmp_path, 1, 0, WideSongs())


def test_collections_do_not_mix(root: Path) -> None:
    for other in (
        WideSongs(takes=2),
        WideSongs(takes=2, effects=False, held_out_grooves=True),
        WideSongs(takes=2, effects=False, seconds=(16, 24)),
    ):
        with pytest.raises(UserError, match="rendered otherwise"):
            render_wide_songs(root, SONGS + 2, SEED, other)
    with pytest.raises(UserError, match="not rendered from seed"):
        render_songs(root, SONGS, SEED)


def test_whole_seconds_are_the_same_as_fractions() -> None:
    assert _origin(1, WideSongs(seconds=(16, 24))) == _origin(1, WideSongs(seconds=(16.0, 24.0)))
    assert _origin(1, WideSongs(seconds=(42, 58))) == _origin(1, WideSongs())


def test_a_config_renders_wide_songs_once(tmp_path: Path) -> None:
    rule = RenderIfMissing(songs=3, seed=SEED, workers=1, wide=WideSongs(effects=False))
    rule.render(tmp_path)
    tracks = {track: track.stat().st_mtime_ns for track in _tracks(tmp_path)}
    assert len(tracks) == 3
    rule.render(tmp_path)
    assert {track: track.stat().st_mtime_ns for track in _tracks(tmp_path)} == tracks
    with pytest.raises(UserError, match="rendered differently"):
        RenderIfMissing(songs=3, seed=SEED, workers=1).render(tmp_path)


def test_songs_of_before_there_were_lengths_are_known_again(tmp_path: Path) -> None:
    """Their marker says nothing of seconds, and their metadata have the same origin as today's."""
    rule = RenderIfMissing(songs=3, seed=SEED, workers=1, wide=WideSongs(effects=False))
    rule.render(tmp_path)
    marker = tmp_path / ".livejam/rendered.json"
    before = json.loads(marker.read_text())
    del before["wide"]["seconds"]
    marker.write_text(json.dumps(before))
    rule.render(tmp_path)
    replace(rule, songs=4).render(tmp_path)
    assert len(_tracks(tmp_path)) == 4
    with pytest.raises(UserError, match="rendered differently"):
        replace(rule, wide=WideSongs(effects=False, seconds=(16, 24))).render(tmp_path)


@pytest.mark.parametrize("seconds", [(24.0, 16.0), (1.0, 20.0), (20.0, 6000.0), (20.0, float("nan"))])
def test_lengths_are_sensible(seconds: tuple[float, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "render", "--out", str(tmp_path), "--songs", "1", "--wide", "--seconds", *map(str, seconds)]
    assert main(words) == 2
    assert "songs last 10 to 600 seconds" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_options_for_wide_songs_need_wide(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "render", "--out", str(tmp_path), "--songs", "1", "--event", "silence"]) == 2
    assert "add --wide" in capsys.readouterr().err
