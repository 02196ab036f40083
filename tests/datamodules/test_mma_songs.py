"""Charts that MMA plays, and what becomes of them; MMA itself is asked where it is installed."""

from __future__ import annotations

import re
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.annotations import read_annotations
from datamodules.mma_charts import BEATS, Style, draw_chart, read_styles
from datamodules.mma_songs import LIBRARY, PROGRAM, write_mma_songs
from livejam.cli.main import main
from livejam.errors import UserError

STYLES = (
    Style("rock/plain", 4, ("Plain", "Plain1", "PlainSus"), ("PlainFill",)),
    Style("waltz/slow", 3, ("Slow",), ()),
    Style("jazz/five", 5, ("Five", "FivePlus"), ("FiveFill1", "FiveFill2")),
)
FILE = """\
Time {time}
TimeSig {metre}
Begin Bass Define
    // DefGroove NotOne
End
DefGroove Band   a band
DefGroove BandPlus   with more
DefGroove BandFill   leads on
DefGroove BandIntro
DefGroove BandEnd2
"""
FAKE = """\
#!/usr/bin/env python3
import pathlib, sys
out, chart = sys.argv[-2:]
text = pathlib.Path(chart).read_text()
path = next(line for line in text.splitlines() if line.startswith("SetLibPath")).split()[1]
if not pathlib.Path(path, "some/band0.mma").is_file():
    sys.exit(f"Error: no library in {path}")
if "Solo" in text:
    sys.exit("Error: <Line 3> no solos today")
pathlib.Path(out).write_bytes(f"made of {chart}: {text}".encode())
"""


def library(root: Path) -> Path:
    for number in range(16):
        path = root / f"some/band{number}.mma"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FILE.format(time=4, metre="4 4"))
    return root


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / PROGRAM
    program.parent.mkdir()
    program.write_text(FAKE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return library(tmp_path / "lib")


@given(st.integers(0, 2**31), st.integers(0, 10_000))
def test_charts_are_whole_bars_of_known_grooves(seed: int, index: int) -> None:
    chart = draw_chart(STYLES, seed, index)
    assert chart == draw_chart(STYLES, seed, index)
    beats = int(re.findall(r"^TimeSig (\d) 4$", chart, re.MULTILINE)[0])
    known = {f"{style.name}:{name}" for style in STYLES for name in (*style.grooves, *style.fills)}
    assert set(re.findall(r"^Groove (\S+)$", chart, re.MULTILINE)) <= known
    bars = re.findall(r"^(\d+) ([^{\n]+?)(?: \{(.*)\})?$", chart, re.MULTILINE)
    assert [int(number) for number, _, _ in bars] == list(range(1, len(bars) + 1))
    assert 15 < len(bars) * beats * 60 / float(re.findall(r"^Tempo (\d\S*)$", chart, re.MULTILINE)[0]) < 30
    for _, chords, tune in bars:
        assert 1 <= len(chords.split()) <= beats
        lengths = [Fraction(4, int(re.match(r"\d+", note)[0])) for note in tune.split(";") if note]  # type: ignore[index]
        assert not lengths or sum(lengths) == beats


@pytest.mark.parametrize(("time", "metre", "beats"), [(4, "4 4", 4), (3, "3/4", 3), (5, "5 4", 5)])
def test_a_library_is_read_by_its_grooves(tmp_path: Path, time: int, metre: str, beats: int) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/band.mma").write_text(FILE.format(time=time, metre=metre))
    assert read_styles(tmp_path) == (Style("a/band", beats, ("Band", "BandPlus"), ("BandFill",)),)


@pytest.mark.parametrize(("time", "metre"), [(6, "6 8"), (4, "12 8"), (2, "4 4"), (4, "4 4\nTimeSig 3 4")])
def test_files_whose_beat_is_not_known_are_left_out(tmp_path: Path, time: int, metre: str) -> None:
    (tmp_path / "band.mma").write_text(FILE.format(time=time, metre=metre))
    with pytest.raises(UserError, match=r"holds no groove of MMA's library; name its folder `lib` with --library"):
        read_styles(tmp_path)


def test_seen_and_held_out_share_no_file(tmp_path: Path) -> None:
    styles = read_styles(library(tmp_path))
    seen = {style.name for style in styles if not style.is_held_out}
    assert 0 < len(seen) < len(styles)


def test_what_is_there_stays_and_what_fails_does_not_cost_the_others(
    fake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "charts"
    reasons = write_mma_songs(out, 12, seed=4, library=fake)
    written = sorted(path.name for path in out.iterdir())
    assert written
    assert len(written) + len(reasons) == 12
    assert all("no solos today" in reason for reason in reasons)
    mine = out / written[0]
    mine.write_bytes(b"changed by its owner")
    command = ["data", "mma", "--out", str(out), "--songs", "14", "--seed", "4", "--library", str(fake)]
    assert main(command) == 0
    assert mine.read_bytes() == b"changed by its owner"
    assert set(written) < {path.name for path in out.iterdir()}
    assert "left out: mma_4_seen_" in capsys.readouterr().out
    held_out = {style.name for style in read_styles(fake) if style.is_held_out}
    for path in out.glob("mma_*"):
        assert path == mine or not any(f"{name}:" in path.read_text() for name in held_out)


def test_equal_seeds_give_equal_songs_wherever_the_library_is(fake: Path, tmp_path: Path) -> None:
    """MMA writes the name of the chart into the song, draws as it likes, and takes a path up to its first space."""
    shutil.copytree(fake, tmp_path / "my own library")
    first, second = tmp_path / "first", tmp_path / "second"
    reasons = write_mma_songs(first, 12, seed=4, library=fake)
    assert write_mma_songs(second, 12, seed=4, library=tmp_path / "my own library", workers=1) == reasons
    songs = {path.name: path.read_text() for path in first.iterdir()}
    assert songs
    assert songs == {path.name: path.read_text() for path in second.iterdir()}
    seeds = [re.findall(r"(?m)^RndSeed (\d+)$", song) for song in songs.values()]
    assert all(len(own) == 1 for own in seeds)
    assert len(set(map(tuple, seeds))) == len(songs)


def test_without_mma_its_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["data", "mma", "--out", str(tmp_path / "charts"), "--songs", "1"]) == 2
    assert "MMA is not installed: get it from your system (Debian: apt install mma)" in capsys.readouterr().err
    assert not (tmp_path / "charts").exists()


needs_mma = pytest.mark.skipif(shutil.which(PROGRAM) is None or not LIBRARY.is_dir(), reason="MMA is not installed")


@needs_mma
def test_mma_itself_plays_equal_songs(tmp_path: Path) -> None:
    shutil.copytree(LIBRARY, tmp_path / "my own library")
    assert write_mma_songs(tmp_path / "first", 3, seed=1) == []
    assert write_mma_songs(tmp_path / "second", 3, seed=1, library=tmp_path / "my own library") == []
    for song in (tmp_path / "first").iterdir():
        assert song.read_bytes() == (tmp_path / "second" / song.name).read_bytes()


@needs_mma
def test_mma_plays_charts_and_they_become_songs_whose_beats_are_known(tmp_path: Path) -> None:
    charts, songs = tmp_path / "charts", tmp_path / "songs"
    assert write_mma_songs(charts, 3, seed=1) == []
    assert main(["data", "midi", str(charts), "--out", str(songs), "--test", "1", "--validation", "0"]) == 0
    folders = list((songs / "test").iterdir())
    assert folders
    for folder in folders:
        known = read_annotations(folder)
        assert known is not None
        per_bar = np.diff(np.searchsorted(known.beats_seconds, np.array(known.downbeats_seconds) - 1e-3))
        assert set(per_bar.tolist()) <= set(BEATS.values())
        assert 0.25 < np.median(np.diff(known.beats_seconds)) < 1.1
