"""`livejam evaluate`: folders and tables of recordings, broken files, going on, and the numbers of the callbacks."""

from __future__ import annotations

import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from torch import Tensor

from livejam.cli.main import main
from livejam.errors import UserError
from metrics import embeddings
from metrics.embeddings import LogMel
from metrics.evaluation import pair_parts
from metrics.evaluation.clips import Clip, Stem, takes_of
from metrics.evaluation.fad_measure import FADMeasure
from metrics.evaluation.kad_measure import KADMeasure
from metrics.evaluation.pairs import RATE_HZ, find_pairs, partners_of, read_mono

CHEAP = ["--segment-seconds", "2", "--without", "beats", "chords", "cocola"]
SONGS = 6


def write(folder: Path, number: int, rate: int, ending: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng, seconds_N = np.random.default_rng(number), np.arange(3 * rate) / rate
    pitch_hz = 110 * 2 ** (number / 12)
    hits_N = 0.2 * ((2 * seconds_N) % 1 < 0.05) * rng.normal(size=len(seconds_N))
    tone_N = 0.2 * np.sin(2 * np.pi * pitch_hz * seconds_N)
    soundfile.write(folder / f"mix.{ending}", 0.5 * tone_N + hits_N, rate)
    soundfile.write(folder / "stem.wav", 0.7 * tone_N + 0.01 * rng.normal(size=len(seconds_N)), rate)
    soundfile.write(folder / "reference.flac", tone_N, rate)


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    for number in range(SONGS):
        rate, ending = ((44_100, "wav"), (22_050, "flac"), (48_000, "mp3"))[number % 3]
        write(tmp_path / "songs" / f"song{number}", number, rate, ending)
    return tmp_path / "songs"


def judged(*arguments: str | Path) -> dict[str, Any]:
    out = Path(arguments[arguments.index("--out") + 1])
    assert main(["evaluate", *map(str, arguments), *CHEAP]) == 0
    return json.loads((out / "results.json").read_text())


def test_a_folder_is_judged_as_callbacks_judge(songs: Path, tmp_path: Path) -> None:
    rows = judged(songs, "--out", tmp_path / "out")
    assert list(rows) == ["songs", "ground_truth", "random_pairing", "silence", "echo", "noise", "measured_on"]
    clips = []
    for pair, partner in zip(find_pairs(songs), partners_of(find_pairs(songs)), strict=True):
        assert pair.reference is not None
        assert partner is not None
        audio = [read_mono(path, 4.0) for path in (pair.mix, pair.reference, pair.stem)]
        length = min(map(len, audio))
        audio = [audio_N[:length].astype(np.float32) for audio_N in audio]
        clips.append(Clip(*audio, RATE_HZ, pair.category, pair.song, 0.0, None))
    takes = takes_of(clips, [Stem(clip.generated_N, clip.song) for clip in clips], 2.0, 512)
    for measure, column in ((FADMeasure(LogMel(), None, False), "fad"), (KADMeasure(LogMel()), "kad_log_mel")):
        metrics = measure.new_metrics()
        for metric in metrics.values():
            metric.keep_songs()
        measure.update(takes, metrics, keep=False)
        expected, found = measure.read(metrics)[measure.name], rows["songs"][column]
        assert found["value"] == pytest.approx(expected.value, rel=1e-3)
        assert found["count"] == expected.count
        assert found["interval"] == pytest.approx(list(expected.interval), rel=0.02)
    assert rows["ground_truth"]["apa_log_mel"]["value"] > 0.9 > 0.1 > rows["random_pairing"]["apa_log_mel"]["value"]
    assert rows["echo"]["copied"]["value"] == pytest.approx(1)
    assert rows["songs"]["loudness_db"]["value"] == pytest.approx(20 * np.log10(0.7), abs=0.2)
    assert "click_db" not in rows["songs"]
    assert (tmp_path / "out" / "results.png").stat().st_size > 10_000
    assert main(["compare", str(tmp_path / "out")]) == 0


def test_a_broken_file_is_skipped_and_named_and_the_rest_goes_on_where_it_was(
    songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for unneeded in ("song0", "song1", "song2"):
        shutil.rmtree(songs / unneeded)
    (songs / "song3" / "stem.wav").write_bytes(b"RIFFbroken")
    rows = judged(songs, "--out", out)
    assert rows["songs"]["copied"]["count"] == 2
    skipped = rows["measured_on"]["data"]["skipped"]
    assert list(skipped) == ["song3"]
    assert "stem.wav cannot be read" in skipped["song3"]
    assert "skipped song3" in capsys.readouterr().out
    part = out / "parts" / "000000.safetensors"
    before = part.stat().st_mtime_ns
    assert main(["evaluate", str(songs), "--out", str(out), *CHEAP]) == 2, "results are there"
    assert judged(songs, "--out", out, "--overwrite") == rows
    assert part.stat().st_mtime_ns == before
    part.write_bytes(part.read_bytes()[:1000])
    write(songs / "song3", 3, 44_100, "wav")
    assert judged(songs, "--out", out, "--overwrite")["songs"]["copied"]["count"] == 3


def test_without_references_nothing_is_said_that_needs_them(songs: Path, tmp_path: Path) -> None:
    lines = ["mix,stem,song,instrument,name"]
    for path in sorted(songs.glob("song*")):
        mix = next(path.glob("mix.*"))
        lines.append(f"{mix.relative_to(tmp_path)},{path.name}.x.wav,{path.name},Bass,{path.name}")
        (path / "stem.wav").rename(tmp_path / f"{path.name}.x.wav")
    table = tmp_path / "pairs.csv"
    table.write_text("\n".join(lines))
    rows = judged(table, "--out", tmp_path / "out", "--name", "theirs", "--hop-samples", "2048")
    assert list(rows) == ["theirs", "random_pairing", "silence", "echo", "noise", "measured_on"]
    columns = set(rows["theirs"])
    assert {"chroma_agreement", "loudness_lufs", "click_db", "copied"} <= columns
    assert not any(column.startswith(("fad", "kad", "apa", "loudness_db", "onset")) for column in columns)


def test_neither_recordings_nor_embeddings_are_kept(
    songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory must not grow with the number of pairs: three parts are measured and summed up one after the other."""
    made: dict[str, list[weakref.ref[Any]]] = {"clips": [], "embeddings": []}
    most = dict.fromkeys(made, 0)

    def seen(kind: str, thing: Any) -> Any:
        made[kind].append(weakref.ref(thing))
        most[kind] = max(most[kind], sum(one() is not None for one in made[kind]))
        return thing

    read_clip, read_clouds = pair_parts.clip_of, pair_parts.Part.clouds
    monkeypatch.setattr(pair_parts, "PAIRS_PER_PART", 2)
    monkeypatch.setattr(pair_parts, "clip_of", lambda *arguments: seen("clips", read_clip(*arguments)))
    monkeypatch.setattr(
        pair_parts.Part,
        "clouds",
        lambda part, names: ((n, seen("embeddings", x_WD), of_W) for n, x_WD, of_W in read_clouds(part, names)),
    )
    rows = judged(songs, "--out", tmp_path / "out")
    assert rows["songs"]["copied"]["count"] == len(made["clips"]) == SONGS
    assert most["clips"] <= 2, "the one before is let go when the next one is there"
    assert len(made["embeddings"]) > 30
    assert most["embeddings"] <= 3, "that of the loop, the one before, and the last of the loop before"


class StandIn(LogMel):
    """In place of a network whose weights are not here; it has the interface, and no weights."""

    name = "vggish"

    def __init__(self) -> None:
        super().__init__(bands=4, window_seconds=0.5)


class LongStandIn(StandIn):
    """Embeds ten seconds, as CLAP does, hence nothing of segments that are shorter."""

    name = "laion_clap"

    def __call__(self, audio_N: Tensor, sample_rate_hz: int) -> Tensor:
        return super().__call__(audio_N, sample_rate_hz)[: 10**6 if len(audio_N) >= 10 * sample_rate_hz else 0]


def test_other_embeddings_have_columns_of_their_own(
    songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "VGGish", StandIn)
    monkeypatch.setattr(embeddings, "LaionClap", LongStandIn)
    rows = judged(songs, "--out", tmp_path / "out", "--vggish", "--clap")
    for kind in ("fad", "kad", "apa"):
        assert rows["ground_truth"][f"{kind}_vggish"]["count"] > 2
        assert rows["ground_truth"][f"{kind}_vggish"]["value"] is not None
        assert rows["ground_truth"][f"{kind}_laion_clap"]["value"] is None
    assert "Fréchet VGGish ↓" in (tmp_path / "out" / "results.md").read_text(encoding="utf-8")


def test_weights_that_are_not_here_are_one_sentence(
    songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIVEJAM_WEIGHTS", str(tmp_path / "none"))
    assert main(["evaluate", str(songs), "--out", str(tmp_path / "out"), *CHEAP, "--vggish"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "livejam weights fetch vggish" in said
    assert not (tmp_path / "out" / "results.json").exists()


@pytest.mark.slow
def test_processes_share_the_work(songs: Path, tmp_path: Path) -> None:
    for number in range(SONGS, 20):
        write(songs / f"song{number}", number, 22_050, "wav")
    one, two = (judged(songs, "--out", tmp_path / workers, "--workers", workers) for workers in ("1", "2"))
    assert one.pop("measured_on") == two.pop("measured_on")
    for row, cells in one.items():
        for column, cell in cells.items():
            # processes compute in one thread each, and threads round otherwise
            expected = cell["value"] if cell["value"] is None else pytest.approx(cell["value"], rel=1e-4, abs=1e-4)
            assert two[row][column]["value"] == expected, (row, column)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("mix,stm\na,b", "needs mix and stem"),
        ("mix,stem\na.wav,", "line 2 .* lacks a mix or a stem"),
        ("mix,stem,instrument\na.wav,b.wav,Kazoo", "no such instrument Kazoo"),
        ("mix,stem\na.wav,b.wav\nc.wav,b.wav", "two pairs of the name b.wav"),
        ("mix,stem", "there are no pairs"),
    ],
)
def test_tables_that_are_none(lines: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(lines)
    with pytest.raises(UserError, match=said):
        find_pairs(path)


def test_folders_that_are_unclear(tmp_path: Path) -> None:
    for name in ("a.mix.wav", "a_stem.flac", "b-mix.mp3"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"b in .* has no stem"):
        find_pairs(tmp_path)
    (tmp_path / "b.STEM.WAV").touch()
    assert [pair.name for pair in find_pairs(tmp_path)] == ["a", "b"]
    (tmp_path / "a.stem.wav").touch()
    with pytest.raises(UserError, match="both the stem"):
        find_pairs(tmp_path)
    with pytest.raises(UserError, match="no folder or CSV"):
        find_pairs(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no recording"):
        read_mono(tmp_path / "nowhere.wav", 1.0)


IMPOSSIBLE = (["--workers", "0"], ["--segment-seconds", "0"], ["--hop-samples", "1"], ["--name", "echo"])


@pytest.mark.parametrize("option", IMPOSSIBLE)
def test_impossible_options(option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tmp_path), "--out", str(tmp_path / "out"), *option]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
