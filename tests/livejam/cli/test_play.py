"""`livejam play`: a recording goes in as if live; accompaniment, sum, report and picture come out, or one sentence."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from commands import REPOSITORY
from fake_sounddevice import STEP, FakeSoundDevice, PortAudioError, device
from pyloudnorm import Meter
from small_band import band_checkpoint

import livejam
from livejam.audio_files import open_recording
from livejam.checkpoints.publishing import publish
from livejam.cli.main import main
from livejam.cli.play_picture import envelope
from livejam.cli.play_report import report_text
from livejam.cli.stage import at_rate
from livejam.cli.together import CEILING, TARGET_LUFS, write_alone, write_together
from livejam.streaming import Session

RATE, SAMPLES = 48_000, 60_001


@pytest.fixture(scope="module")
def band(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published model that learnt drums and bass."""
    folder = tmp_path_factory.mktemp("band")
    checkpoint = band_checkpoint(folder / "last.ckpt", targets=("Bass", "Percussive"))
    publish(checkpoint, folder / "band.safetensors", None)
    return folder / "band.safetensors"


@pytest.fixture
def song(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recording in the working directory."""
    monkeypatch.chdir(tmp_path)
    return recorded(tmp_path / "song.wav")


def recorded(path: Path, rate: int = RATE, channels: int = 2, samples: int = SAMPLES) -> Path:
    noise_NA = 0.02 * np.random.default_rng(0).standard_normal((samples, channels))
    soundfile.write(path, noise_NA, rate)
    return path


def played(path: str) -> np.ndarray:
    return soundfile.read(path, dtype="float32", always_2d=True)[0].T


Play = Callable[..., tuple[int, str, str]]


@pytest.fixture
def play(band: Path, song: Path, capfd: pytest.CaptureFixture[str]) -> Play:
    """Run the command without beats: further arguments → (status, output, standard error)."""

    def command(*arguments: str, out: str = "played", mix: str = "song.wav") -> tuple[int, str, str]:
        capfd.readouterr()
        given = ["play", "--checkpoint", str(band), "--mix", mix, "--out", out, "--no-beats", *arguments]
        status = main(given)
        return status, *capfd.readouterr()

    return command


def test_the_command_writes_what_the_model_plays(band: Path, song: Path) -> None:
    """In a process of its own, with beats and two instruments that listen to each other."""
    command = ["play", "--checkpoint", str(band), "--mix", "song.wav", "--out", "played", "--seed", "3"]
    command += ["--instrument", "drums", "--instrument", "bass", "--listen-to-each-other"]
    done = subprocess.run(
        [sys.executable, "-m", "livejam.cli.main", *command],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "HOME": str(song.parent), "PATH": "/usr/bin:/bin"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "played/accompaniment.wav\n" in done.stdout
    rows = ("accompaniment_1_percussive.wav", "accompaniment_2_bass.wav")
    names = ("accompaniment.wav", *rows, "picture.png", "report.json", "together.wav")
    assert tuple(sorted(path.name for path in Path("played").iterdir())) == names
    for name in ("accompaniment.wav", *rows, "together.wav"):
        info = soundfile.info(f"played/{name}")
        assert (info.frames, info.samplerate, info.channels, info.subtype) == (SAMPLES, RATE, 2, "PCM_24")

    offline = Session(
        livejam.load(band), sample_rate_hz=RATE, channels=2, instruments=["drums", "bass"], seeds=[3, 4],
        hear_each_other=True,
    ).process_rows(torch.from_numpy(played("song.wav")))  # fmt: skip
    assert float(offline.abs().amax()) > 1e-3
    for row_AN, name in zip(offline.numpy(), rows, strict=True):
        np.testing.assert_allclose(played(f"played/{name}"), row_AN.clip(-1, 1), atol=1e-5)
    sum_AN = offline.sum(0).numpy()
    np.testing.assert_allclose(played("played/accompaniment.wav"), sum_AN.clip(-1, 1), atol=1e-5)
    check_together(played("song.wav") + sum_AN.clip(-1, 1), played("played/together.wav"))
    check_report(json.loads(Path("played/report.json").read_text()))
    assert Path("played/picture.png").read_bytes().startswith(b"\x89PNG")
    assert Path("played/picture.png").stat().st_size > 20_000


def check_together(both_AN: np.ndarray, written_AN: np.ndarray) -> None:
    """Equal but for the gain, which reaches the loudness or the ceiling."""
    gain = np.abs(written_AN).max() / np.abs(both_AN).max()
    np.testing.assert_allclose(written_AN, gain * both_AN, atol=1e-5)
    lufs = Meter(RATE).integrated_loudness(written_AN.T.astype(np.float64))
    peak = np.abs(written_AN).max()
    assert lufs == pytest.approx(TARGET_LUFS, abs=0.1) or (peak == pytest.approx(CEILING, abs=1e-5) and lufs < -18)


def check_report(report: dict[str, Any]) -> None:
    assert report["instruments"] == ["Percussive", "Bass"]
    assert report["seeds"] == [3, 4]
    assert report["timing"]["anticipation_ms"] == pytest.approx(92.88, abs=0.02)
    assert 0 < report["timing"]["lead_ms"] < 92.88
    stages = report["speed"]["stages_ms"]
    assert set(stages) == {"encode", "generate", "decode", "total"}
    for quantiles in stages.values():
        assert 0 < quantiles["p50"] <= quantiles["p95"] <= quantiles["p99"] <= quantiles["max"]
    assert report["speed"]["steps"] == SAMPLES * 22050 // 48000 // 2048
    assert report["speed"]["real_time_factor"] > 1
    assert (report["failed_blocks"], report["engine"]) == (0, None)
    said = report_text({**report, "clipped_samples": 1, "failed_blocks": 2}, None)
    assert "  clipped    1 sample of the accompaniment; lower it with --level\n" in said
    assert said.endswith("the model gave no finite output in 2 blocks")


def test_a_model_that_learnt_several_anticipations_plays_at_the_one_asked_for(
    song: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(band_checkpoint(song.parent / "told.ckpt", anticipations=8))
    arguments = ["--checkpoint", checkpoint, "--mix", "song.wav", "--out", "played", "--no-beats"]
    assert main(["play", *arguments, "--anticipation", "5"]) == 0
    timing = json.loads(Path("played/report.json").read_text())["timing"]
    assert timing["anticipation_ms"] == pytest.approx(5 * 92.88, abs=0.1)
    assert main(["play", *arguments, "--anticipation", "8", "--overwrite"]) == 2
    assert "the generator knows 0 to 7" in capfd.readouterr().err
    assert main(["describe", checkpoint]) == 0
    assert "1 frame; learnt 0 to 7" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("rate", "channels", "samples", "name"),
    [
        (96_000, 6, 60_000, "song.wav"),
        (8000, 1, 9000, "song.flac"),
        (44_100, 2, 1, "one.wav"),
        (22_050, 1, 99, "a.wav"),
    ],
)
def test_any_rate_length_and_number_of_channels(rate: int, channels: int, samples: int, name: str, play: Play) -> None:
    recorded(Path(name), rate, channels, samples)
    status, out, err = play(mix=name)
    assert (status, err) == (0, "")
    assert ("shorter than a block" in out) == (samples < 100)
    for file in ("accompaniment.wav", "together.wav"):
        info = soundfile.info(f"played/{file}")
        assert (info.frames, info.samplerate, info.channels) == (samples, rate, channels)
        assert np.isfinite(played(f"played/{file}")).all()
    assert Path("played/picture.png").is_file()


def test_options_change_what_is_played(play: Play) -> None:
    """Level, seed and instrument."""
    for out, options in {
        "plain": [],
        "softer": ["--level", "-6.0206"],
        "other": ["--seed", "1"],
        "drums": ["--instrument", "Drums"],
    }.items():
        assert play(*options, out=out)[0] == 0
    plain_AN, softer_AN, other_AN, drums_AN = (
        played(f"{name}/accompaniment.wav") for name in ("plain", "softer", "other", "drums")
    )
    np.testing.assert_allclose(softer_AN, plain_AN / 2, atol=1e-5)
    for different_AN in (other_AN, drums_AN):
        assert np.abs(different_AN - plain_AN).max() > 1e-4


@pytest.mark.parametrize("length", [SAMPLES - 7, SAMPLES, SAMPLES + 300_000])
def test_what_is_too_loud_is_clipped_and_counted(length: int, song: Path) -> None:
    """And what was played is as long as the mix, whatever a sound card gave."""
    loud_NA = np.random.default_rng(0).uniform(-2, 2, (length, 2))
    soundfile.write("loud.wav", loud_NA, RATE, subtype="FLOAT")
    mix, loud = open_recording(song), open_recording(Path("loud.wav"))
    clipped = write_alone(mix, loud, Path("clipped.wav"), "PCM_24")
    assert clipped == (np.abs(loud_NA[:SAMPLES]) > 1).sum()
    expected_AN = np.pad(loud_NA[:SAMPLES], ((0, max(0, SAMPLES - length)), (0, 0))).T.clip(-1, 1)
    np.testing.assert_allclose(played("clipped.wav"), expected_AN, atol=1e-6)
    write_together(mix, open_recording(Path("clipped.wav")), Path("together.wav"), "PCM_24")
    check_together(played("song.wav") + expected_AN, played("together.wav"))


def test_through_the_engine_by_the_clock(play: Play) -> None:
    status, out, err = play("--realtime", "--instrument", "drums", "--instrument", "bass")
    assert status == 0, err
    assert "  engine     1.3 s heard" in out
    assert play("--instrument", "drums", "--instrument", "bass", out="at_once")[0] == 0
    live_AN, at_once_AN = (played(f"{out}/accompaniment.wav") for out in ("played", "at_once"))
    engine = json.loads(Path("played/report.json").read_text())["engine"]
    assert engine["seconds"] == pytest.approx(SAMPLES / RATE)
    same = np.abs(live_AN - at_once_AN).max(axis=0) < 1e-5
    assert 1 - same.mean() <= engine["missed_ms"] / 1000 * RATE / SAMPLES + 0.02 * engine["misses"]
    assert not Path("played/accompaniment_1_percussive.wav").exists()


def test_without_madmom_the_picture_has_no_beats(
    band: Path, song: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # also what other tests of this process have imported of it
    for name in {"madmom", *(name for name in sys.modules if name.startswith("madmom."))}:
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["play", "--checkpoint", str(band), "--mix", "song.wav", "--out", "played"]) == 0
    said = capfd.readouterr().err
    assert said.startswith("note: the picture has no beats: beat tracking needs madmom")
    assert Path("played/picture.png").is_file()


def test_nothing_is_overwritten_unless_asked(play: Play) -> None:
    assert play()[0] == 0
    Path("played/notes.txt").write_text("mine")
    before = Path("played/accompaniment.wav").read_bytes()
    status, _, err = play("--seed", "5")
    assert (status, err) == (
        2,
        "error: the accompaniment played/accompaniment.wav exists; choose another name, or replace it with "
        "--overwrite\n",
    )
    assert Path("played/accompaniment.wav").read_bytes() == before
    Path("played/accompaniment.wav").unlink()
    assert "the sum played/together.wav exists" in play("--seed", "5")[2]
    assert play("--seed", "5", "--overwrite")[0] == 0
    assert Path("played/accompaniment.wav").read_bytes() != before
    assert Path("played/notes.txt").read_text() == "mine"


BAD = [
    (["--instrument", "drumms"], "there is no instrument 'drumms'"),
    (["--instrument", "piano"], "never learnt to play Piano; it learnt Bass, Percussive"),
    (["--prompt", "a slow waltz"], "LiveBand takes no prompts"),
    (["--prompt", "one", "--prompt", "two"], "there are 1 instruments but 2 prompts"),
    (["--guidance", "3"], "without guidance"),
    (["--guidance", "mix=two"], "give one weight, as 3, or some"),
    (["--negative-prompt", "drums"], "takes no prompts"),
    (["--guidance-rescale", "0.5"], "without guidance"),
    (["--guidance-rescale", "1.5"], "--guidance-rescale is 1.5; it must be from 0 to 1"),
    (["--anticipation", "3"], "1 frames ahead and learnt nothing else"),
    (["--anticipation", "-1"], "--anticipation is -1"),
    (["--level", "100"], "a level of 100.0 dB"),
    (["--level", "nan"], "a level of nan dB"),
    (["--seed", "-1"], "--seed is -1"),
    (["--buffer", "0"], "--buffer is 0"),
    (["--checkpoint", "missing.ckpt"], "there is no checkpoint missing.ckpt"),
    (["--checkpoint", "text.ckpt"], "text.ckpt holds something else than tensors"),
    (["--checkpoint", "half.ckpt"], "half.ckpt is damaged or was not copied whole"),
    (["--checkpoint", "half.safetensors"], "half.safetensors is damaged"),
    (["--checkpoint", "foreign.safetensors"], "no model that livejam published"),
    (["--checkpoint", "foreign.ckpt"], "was not written by a livejam recipe"),
    (["--mix", "missing.wav"], "there is no recording missing.wav"),
    (["--mix", "text.ckpt"], "cannot be read as audio"),
    (["--mix", "empty.wav"], "empty.wav is empty"),
    (["--mix", "nothing.wav"], "cannot be read as audio"),
    (["--mix", "nan.wav"], "nan.wav holds samples that are not finite after second 0"),
    (["--mix", "."], "there is no recording ."),
    (["--out", "song.wav"], "--out song.wav is a file; name a folder"),
    (["--out", "drums.wav"], "name of a file"),
    (["--out", "text.ckpt/x"], "Not a directory"),
    (["--out", "/proc/none"], "/proc/none"),
]


@pytest.mark.parametrize(("arguments", "says"), BAD, ids=lambda part: " ".join(part) if isinstance(part, list) else "")
def test_bad_input_is_one_sentence_and_leaves_nothing(
    arguments: list[str], says: str, play: Play, band: Path, tmp_path: Path
) -> None:
    Path("text.ckpt").write_text("some words\n")
    Path("half.safetensors").write_bytes(band.read_bytes()[:-1000])
    Path("half.ckpt").write_bytes(band.with_name("last.ckpt").read_bytes()[:-1000])
    shutil.copy(REPOSITORY / "livejam/codecs/weights/pocket.safetensors", "foreign.safetensors")
    torch.save({"a": torch.zeros(1)}, "foreign.ckpt")
    soundfile.write("empty.wav", np.zeros((0, 2)), RATE)
    Path("nothing.wav").touch()
    soundfile.write("nan.wav", np.full((1000, 2), np.nan, np.float32), RATE, subtype="FLOAT")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    status, out, err = play(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


LIVE = [
    ([], "play needs --checkpoint and --mix and --out"),
    (["--checkpoint", "x", "--out", "y"], "play needs --mix"),
    (["--checkpoint", "x", "--out", "y", "--mix", "z", "--seconds", "3"], "add --device"),
    (["--checkpoint", "x", "--out", "y", "--mix", "z", "--input-device", "3"], "add --device"),
    (["--checkpoint", "x", "--out", "y", "--device", "1", "--realtime"], "leave --realtime out"),
    (["--checkpoint", "x", "--out", "y", "--device", "1", "--seconds", "0"], "--seconds is 0"),
]


@pytest.mark.parametrize(("arguments", "says"), LIVE, ids=lambda part: " ".join(part) if isinstance(part, list) else "")
def test_options_that_do_not_fit_together(arguments: list[str], says: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["play", *arguments]) == 2
    assert says in capfd.readouterr().err


CARD_RATE, CARD_BUFFER = 8000, "8"
"""The cards of these tests call about as often as real ones of this rate and buffer."""


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeSoundDevice]:
    """Plugs in an interface with inputs and outputs, and a speaker."""

    def plug(**options: Any) -> FakeSoundDevice:
        module = FakeSoundDevice([device("Interface", 2, 2), device("Speaker", 0, 2)], **options)
        monkeypatch.setitem(sys.modules, "sounddevice", module)
        return module

    return plug


@pytest.fixture
def live(band: Path, song: Path, capfd: pytest.CaptureFixture[str]) -> Play:
    """Run the command through a card: further arguments → (status, output, standard error)."""

    def command(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        given = ["play", "--checkpoint", str(band), "--out", "played", "--no-beats", "--buffer", CARD_BUFFER]
        status = main([*given, *arguments])
        return status, *capfd.readouterr()

    return command


def test_live_through_a_sound_card(cards: Callable[..., FakeSoundDevice], live: Play) -> None:
    """Without a recording, what the card captures is heard and kept."""
    module = cards()
    assert main(["play", "--list-devices"]) == 0
    status, out, err = live("--device", "Interface", "--seconds", "0.6")
    assert status == 0, err
    assert "playing through Interface at 8000 Hz" in err
    assert "  engine     " in out
    mix_AN, accompaniment_AN = played("played/mix.wav"), played("played/accompaniment.wav")
    assert mix_AN.shape == accompaniment_AN.shape == played("played/together.wav").shape
    assert len(mix_AN) == 2
    np.testing.assert_allclose(np.diff(mix_AN), STEP, atol=1e-6)
    report = json.loads(Path("played/report.json").read_text())
    assert (report["device"], report["sample_rate_hz"], report["mix"]) == ("Interface", CARD_RATE, None)
    assert report["engine"]["seconds"] == pytest.approx(mix_AN.shape[1] / CARD_RATE, abs=0.1)
    assert module.streams[0].closed


def test_a_recording_through_a_sound_card(cards: Callable[..., FakeSoundDevice], live: Play) -> None:
    """It is heard at the card's rate, and comes out of it together with the accompaniment."""
    module = cards()
    recorded(Path("short.wav"), 44_100, 1, 30_000)
    status, _, err = live("--device", "1", "--mix", "short.wav")
    assert status == 0, err
    info = soundfile.info("played/together.wav")
    assert (info.samplerate, info.channels) == (CARD_RATE, 1)
    assert 0 <= info.frames - 30_000 * CARD_RATE / 44_100 <= 0.2 * CARD_RATE
    sounded_N = np.concatenate(module.streams[0].played)[:, 0]
    mix_N = at_rate(open_recording(Path("short.wav")), CARD_RATE)[0]
    both_N = mix_N + played("played/accompaniment.wav")[0, : len(mix_N)]
    np.testing.assert_allclose(sounded_N[np.flatnonzero(sounded_N)[0] :][: len(both_N)], both_N, atol=1e-5)
    assert not Path("played/mix.wav").exists()


def test_a_card_that_vanishes_keeps_what_was_played(cards: Callable[..., FakeSoundDevice], live: Play) -> None:
    cards(calls=700)
    status, out, err = live("--device", "default")
    assert status == 2
    assert "error: Interface stopped after" in err.splitlines()[-1]
    assert "played/accompaniment.wav" in out
    assert played("played/mix.wav").shape[1] > 100
    assert Path("played/report.json").is_file()


def test_a_card_that_is_not_there(
    cards: Callable[..., FakeSoundDevice], live: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards()
    assert "no input 'Speaker' among the sound cards; `livejam play --list-devices`" in live("--device", "Speaker")[2]
    cards(error=PortAudioError("Invalid sample rate"))
    assert "(Invalid sample rate); close other programs" in live("--device", "default")[2]
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert "pip install 'livejam[live]'" in live("--device", "default")[2]
    assert not Path("played").exists()


@pytest.fixture
def small_disk() -> Iterator[Callable[[int], None]]:
    """Lets no file grow beyond so many bytes, which libraries meet in the same way as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_sentence(small_disk: Callable[[int], None], play: Play) -> None:
    small_disk(100_000)
    status, _, err = play()
    small_disk(1 << 40)
    assert status == 2
    assert err.count("\n") == 1
    assert "the disk may be full" in err
    assert not Path("played").exists(), "no half of a file is left"


def test_envelopes_hold_every_peak() -> None:
    audio_N = np.random.default_rng(0).standard_normal(12_345)
    low_P, high_P = envelope(audio_N)
    assert len(low_P) == len(high_P) == 2000
    assert (low_P.min(), high_P.max()) == (audio_N.min(), audio_N.max())
    assert [len(part) for part in envelope(audio_N[:1])] == [1, 1]
