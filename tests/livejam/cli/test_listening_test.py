"""`livejam listening-test`: what listeners get, and what their answers say."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from livejam.cli.listening_page import page
from livejam.cli.listening_test import ANCHOR, TRUTH, excerpts_of
from livejam.cli.main import main
from metrics.listening import COLUMNS, complete_sessions, friedman, holm, judge, read_ratings, wilcoxon
from metrics.loudness import gated_level_dbfs

RATE_HZ = 16_000
PARTS = {"target": 220.0, "generated": 330.0, "noise": 440.0, "mix": 110.0}


def tone(frequency_hz: float, level: float) -> np.ndarray:
    return level * np.sin(2 * np.pi * frequency_hz * np.arange(RATE_HZ // 2) / RATE_HZ)


def write_run(folder: Path, songs: int = 3, generated_hz: float = 330.0) -> Path:
    """Every part of every item has a frequency of its own; drums are fifty times as high as bass."""
    (folder / "audio").mkdir(parents=True)
    for song, (instrument, factor) in itertools.product(range(songs), {"Bass": 1.0, "Synth-Lead": 4.0}.items()):
        for part, frequency_hz in (PARTS | {"generated": generated_hz}).items():
            sound_N = tone(factor * (frequency_hz + 7 * song), 0.02 * (song + 1))
            soundfile.write(folder / "audio" / f"my_song{song}_{instrument}_{part}.wav", sound_N, RATE_HZ)
    return folder


def pitches(path: Path) -> set[int]:
    audio_N, rate = soundfile.read(path)
    spectrum = np.abs(np.fft.rfft(audio_N))
    return {round(k * rate / len(audio_N)) for k in np.flatnonzero(spectrum > 0.2 * spectrum.max())}


def embedded(path: Path) -> dict[str, Any]:
    found = re.search(r'<script id="test" type="application/json">(.*?)</script>', path.read_text(), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    runs = [write_run(tmp_path / "one"), write_run(tmp_path / "two", generated_hz=550.0)]
    out = tmp_path / "test"
    assert main(["listening-test", *map(str, runs), "--out", str(out), "--items", "4", "--seed", "3"]) == 0
    return out, embedded(out / "index.html")


def test_two_parts_with_all_conditions_in_every_item(made: tuple[Path, dict[str, Any]]) -> None:
    out, test = made
    assert [part["name"] for part in test["parts"]] == ["quality", "adherence"]
    for part in test["parts"]:
        assert len(part["items"]) == 4
        assert len(part["questions"]) == 2
        for item in part["items"]:
            assert [clip["condition"] for clip in item["clips"]] == ["one", "two", TRUTH, ANCHOR]
    files = [clip["file"] for part in test["parts"] for item in part["items"] for clip in item["clips"]]
    assert len(set(files)) == len(files) == len(list((out / "clips").iterdir())) == 32
    # Neither name nor level tells who plays.
    assert all(re.fullmatch(r"clips/[0-9a-f]{12}\.flac", file) for file in files)
    levels = [gated_level_dbfs(soundfile.read(out / file)[0], RATE_HZ) for file in files]
    assert np.ptp(levels) < 0.1


def test_clips_are_what_they_are_said_to_be(made: tuple[Path, dict[str, Any]]) -> None:
    out, test = made
    for part in test["parts"]:
        for item in part["items"]:
            name = re.fullmatch(r"my_song(\d)_(.*)", item["name"])
            assert name is not None
            song, factor = int(name[1]), {"Bass": 1, "Synth-Lead": 4}[name[2]]
            heard = {clip["condition"]: pitches(out / clip["file"]) for clip in item["clips"]}
            hz = {key: factor * (f + 7 * song) for key, f in (PARTS | {"two": 550}).items()}
            stems = {"one": hz["generated"], "two": hz["two"], TRUTH: hz["target"]}
            if part["name"] == "quality":
                assert heard == {name: {hz} for name, hz in (stems | {ANCHOR: hz["noise"]}).items()}
            else:
                foreign = heard.pop(ANCHOR) - {hz["mix"]}
                assert heard == {name: {hz["mix"], own} for name, own in stems.items()}
                assert foreign < {factor * (220 + 7 * other) for other in range(3) if other != song}


def test_the_page_needs_nothing_else(made: tuple[Path, dict[str, Any]]) -> None:
    text = (made[0] / "index.html").read_text()
    assert "://" not in text
    assert not re.search(r"<(link|img|iframe)|<script[^>]+src|@import|url\(", text)
    harmless = page({"id": "</script><script>alert(1)</script>"})
    assert harmless.count("<script") == 2


def test_equal_seeds_make_equal_tests(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    texts = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert main(["listening-test", str(run), "--out", str(tmp_path / name), "--items", "3", "--seed", seed]) == 0
        texts.append((tmp_path / name / "index.html").read_text())
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["RUN"], "add --out"),
        (["RUN", "--out", "NEW", "--items", "9"], "give --items"),
        (["RUN", "--out", "RUN"], "not empty"),
        (["NONE", "--out", "NEW"], "AudioLogger"),
        (["analyse"], "name the files"),
        (["analyse", "NONE"], "cannot be read"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "RUN", songs=2)
    words = [str(tmp_path / word) if word.isupper() else word for word in words]
    assert main(["listening-test", *words]) == 2
    assert message in capsys.readouterr().err
    (tmp_path / "RUN" / "audio" / "my_song0_Bass_noise.wav").write_bytes(b"no sound")
    assert main(["listening-test", str(tmp_path / "RUN"), "--out", str(tmp_path / "x"), "--items", "4"]) == 2
    assert "run `lightning test` again" in capsys.readouterr().err


def test_names_of_excerpts(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    for name in ("Track00001_Bass", "a_b_Synth-Lead_12.5s", "x_Any", "no instrument"):
        (tmp_path / "audio" / f"{name}_generated.wav").touch()
    found = {name: (e.song, e.instrument) for name, e in excerpts_of(tmp_path).items()}
    assert found == {
        "Track00001_Bass": ("Track00001", "Bass"),
        "a_b_Synth-Lead_12.5s": ("a_b", "Synth-Lead"),
        "x_Any": ("x", "Any"),
    }


Opinion = Callable[[str, int], int]


def write_answers(path: Path, opinion: Opinion, listener: int, leave_out: int = 0) -> Path:
    lines = [
        ["t", str(listener), part, item, condition, "question", opinion(condition, listener), 1]
        for part in ("quality", "adherence")
        for item in ("a", "b")
        for condition in ("truth", "model", "anchor")
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *lines[leave_out:]])
    return path


def test_clear_opinions_are_significant_and_incomplete_sessions_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clear = {"truth": 5, "model": 3, "anchor": 1}
    files = [
        write_answers(tmp_path / f"{i}.csv", lambda c, i: clear[c] - (i % 2) * (c == "truth"), i) for i in range(9)
    ]
    files.append(write_answers(tmp_path / "half.csv", lambda c, i: 1, 9, leave_out=3))
    ratings, incomplete = complete_sessions(read_ratings(files))
    verdicts = judge(ratings)
    assert incomplete == 1
    assert [verdict.question for verdict in verdicts] == ["quality: question", "adherence: question"]
    for verdict in verdicts:
        assert verdict.listeners == 9
        assert list(verdict.means) == ["truth", "model", "anchor"]
        assert verdict.means["model"] == 3
        assert verdict.p < 0.001
        assert all(pair.difference > 0 and pair.p < 0.02 for pair in verdict.pairs)
    page = tmp_path / "listening.md"
    assert main(["listening-test", "analyse", *map(str, files), "--markdown", str(page)]) == 0
    assert "9 complete sessions, 1 incomplete" in capsys.readouterr().out
    assert "| truth | 4.56 |" in page.read_text()


def test_no_opinion_is_no_difference(tmp_path: Path) -> None:
    files = [write_answers(tmp_path / f"{i}.csv", lambda c, i: 1 + i % 5, i) for i in range(6)]
    for verdict in judge(read_ratings(files)):
        assert verdict.p == 1
        assert [pair.p for pair in verdict.pairs] == [1, 1, 1]


def test_one_listener_proves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_answers(tmp_path / "0.csv", lambda c, i: len(c) % 5 + 1, 0)
    assert main(["listening-test", "analyse", str(file)]) == 0
    assert "p = –" in capsys.readouterr().out


def test_statistics_are_the_textbook_s() -> None:
    # Holm (1979): the smallest times three, the next times two, never falling.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, float("nan"), 0.9])[0] == 1.0
    # Six listeners who all agree on an order of three: 12 n / (k (k + 1)) · Σ (rank - 2)² = 12.
    agreed = [[3.0] * 6, [2.0] * 6, [1.0] * 6]
    assert friedman(agreed) == pytest.approx((12.0, np.exp(-6.0)))
    # Six differences of one sign: two of 2⁶ outcomes are as extreme.
    assert wilcoxon([2, 3, 4, 5, 6, 7], [1, 1, 1, 1, 1, 1]) == pytest.approx(2 / 64)


@pytest.mark.parametrize("spoilt", ["rating", "columns", "test"])
def test_files_of_others_are_refused(tmp_path: Path, spoilt: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_answers(tmp_path / "0.csv", lambda c, i: 3, 0)
    text = file.read_text()
    other = tmp_path / "1.csv"
    replacement = {"rating": (",3,", ",6,"), "columns": ("rating", "stars"), "test": ("\nt,", "\nu,")}[spoilt]
    other.write_text(text.replace(*replacement))
    assert main(["listening-test", "analyse", str(file), str(other)]) == 2
    message = {"rating": "from 1 to 5", "columns": "needs the columns", "test": "another listening test"}[spoilt]
    assert message in capsys.readouterr().err
