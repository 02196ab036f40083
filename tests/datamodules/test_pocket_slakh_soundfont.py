"""The corrected SoundFont sounds every program at the pitch that MIDI asks for, octave included."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datamodules.pocket_slakh import palette
from datamodules.pocket_slakh.render import render_songs
from datamodules.pocket_slakh.soundfont import (
    SAMPLE_HEADER_BYTES,
    _chunks,
    bundled_soundfont,
    corrected_soundfont,
    with_root_keys_in_headers,
)
from livejam.cli import main as cli
from livejam.errors import UserError

SAMPLE_RATE_HZ = 44_100
TOLERANCE_SEMITONES = 0.3
BASS_NOTES = (33, 38, 43)
NOTES = (55, 62, 69)


def _render(soundfont: Path, program: int, pitch: int) -> np.ndarray:
    from symusic import Note, Score, Synthesizer, Tempo, Track

    score = Score(480)
    score.tempos.append(Tempo(0, 120.0))
    track = Track("note", program, False)
    track.notes.append(Note(0, 960, pitch, 90))
    score.tracks.append(track)
    audio_N = Synthesizer(str(soundfont), SAMPLE_RATE_HZ, 0).render(score, stereo=False)[0]
    return np.asarray(audio_N[2205:22050], np.float64)


def _pitch(audio_N: np.ndarray, lowest: float, highest: float) -> float:
    """YIN (de Cheveigné and Kawahara 2002, steps 1 to 5) over one long window, as a MIDI pitch."""

    def period(pitch: float) -> float:
        return SAMPLE_RATE_HZ / (440 * 2 ** ((pitch - 69) / 12))

    longest, shortest = int(period(lowest)) + 2, int(period(highest))
    window = len(audio_N) - longest
    size = 2 * len(audio_N)
    product = np.conj(np.fft.rfft(audio_N[:window], size)) * np.fft.rfft(audio_N, size)
    energy = np.concatenate([[0.0], np.cumsum(audio_N**2)])
    lags = np.arange(longest)
    difference = energy[window] + energy[window + lags] - energy[lags] - 2 * np.fft.irfft(product, size)[:longest]
    normalised = np.ones(longest)
    normalised[1:] = difference[1:] * lags[1:] / np.maximum(np.cumsum(difference[1:]), 1e-12)
    middle = normalised[shortest : longest - 1]
    is_dip = (middle < normalised[shortest - 1 : longest - 2]) & (middle <= normalised[shortest + 1 : longest])
    deep = np.nonzero(is_dip & (middle < 0.15))[0]
    lag = shortest + int(deep[0] if len(deep) else np.argmin(middle))
    left, centre, right = difference[lag - 1 : lag + 2]
    lag_refined = lag + 0.5 * (left - right) / (left - 2 * centre + right)
    return float(69 + 12 * np.log2(SAMPLE_RATE_HZ / lag_refined / 440))


def _errors(soundfont: Path, program: int) -> list[float]:
    """Semitones, searched within more than two octaves to either side."""
    notes = BASS_NOTES if program in palette.BASSES else NOTES
    return [_pitch(_render(soundfont, program, note), note - 26, note + 30) - note for note in notes]


@pytest.mark.parametrize("program", palette.PITCHED)
def test_every_program_is_in_tune(program: int) -> None:
    assert max(map(abs, _errors(corrected_soundfont(), program))) < TOLERANCE_SEMITONES


def test_the_shipped_soundfont_is_out_of_tune() -> None:
    """The test above can fail: without the correction most programs do."""
    wrong = [max(map(abs, _errors(bundled_soundfont(), program))) > 0.5 for program in palette.PITCHED]
    assert np.mean(wrong) > 0.5


def test_correction_keeps_the_samples_and_ends_with_the_terminal_header() -> None:
    before = bundled_soundfont().read_bytes()
    after = with_root_keys_in_headers(before)
    assert struct.unpack_from("<I", after, 4)[0] == len(after) - 8
    lists_before, lists_after = (dict((p[:4], p) for _, p in _chunks(data, 12)) for data in (before, after))
    assert lists_before[b"sdta"] == lists_after[b"sdta"]
    headers = [dict(_chunks(lists[b"pdta"], 4))[b"shdr"] for lists in (lists_before, lists_after)]
    assert len(headers[1]) > len(headers[0])
    assert headers[0][-SAMPLE_HEADER_BYTES:] == headers[1][-SAMPLE_HEADER_BYTES:]
    assert with_root_keys_in_headers(after) == after


def test_the_copy_is_cached_where_xdg_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = corrected_soundfont()
    assert path.is_relative_to(tmp_path)
    changed = path.stat().st_mtime_ns
    assert corrected_soundfont() == path
    assert path.stat().st_mtime_ns == changed


def _without_padding(font: bytes) -> bytes:
    """The font with a first list of odd length, and the next one right behind it."""
    size = struct.unpack_from("<I", font, 16)[0]
    return font[:16] + struct.pack("<I", size + 1) + font[20 : 20 + size] + b"\0" + font[20 + size :]


def test_bad_soundfonts_are_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no SoundFont"):
        corrected_soundfont(tmp_path / "missing.sf2")
    with pytest.raises(UserError, match="is no SoundFont"):
        with_root_keys_in_headers(b"RIFF\0\0\0\0WAVE")


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda font: font[: len(font) // 2], "cut off"),
        (lambda font: font.replace(b"ifil\4\0\0\0\2", b"ifil\4\0\0\0\3", 1), "no SoundFont 2"),
        # an .sf3 as MuseScore writes it: lists of odd length without padding
        (lambda font: _without_padding(font.replace(b"ifil\4\0\0\0\2", b"ifil\4\0\0\0\3", 1)), "no SoundFont 2"),
        (lambda font: font.replace(b"shdr", b"abcd", 1), "damaged"),
        (lambda font: b"", "is no SoundFont"),
    ],
)
def test_a_damaged_soundfont_is_named(tmp_path: Path, broken: Callable[[bytes], bytes], says: str) -> None:
    path = tmp_path / "broken.sf2"
    path.write_bytes(broken(bundled_soundfont().read_bytes()))
    with pytest.raises(UserError, match=rf"broken.sf2 cannot be used: .*{says}"):
        corrected_soundfont(path)


def test_songs_say_which_soundfont_made_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    other = tmp_path / "other.sf2"
    other.write_bytes(bundled_soundfont().read_bytes())
    out = tmp_path / "songs"
    assert cli.main(["data", "render", "--out", str(out), "--songs", "1", "--soundfont", str(other)]) == 0
    metadata = next(out.glob("**/metadata.yaml")).read_text()
    assert "plugin_name: other.sf2" in metadata
    with pytest.raises(UserError, match=r"not rendered with TimGM6mb\.sf2"):
        render_songs(out, 2, 0)
    other.write_bytes(other.read_bytes() + b"\0\0")
    with pytest.raises(UserError, match=r"not rendered with other\.sf2"):
        render_songs(out, 2, 0, soundfont=other)
