"""`livejam-player` through a sound card that exists only here."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fake_sounddevice import FakeSoundDevice, PortAudioError, device

from livejam.checkpoints.player import load_player
from livejam.export.model import example_mix, step_model

pytestmark = pytest.mark.export

sys.path.insert(0, str(Path(__file__).parents[3] / "hosts" / "python"))

from livejam_player import Player  # noqa: E402
from livejam_player.cli import main as play  # noqa: E402
from livejam_player.live import Card, Duet, needed_delay  # noqa: E402

CARDS = [device("Piano USB", 1, 2, 22050.0), device("Monitor", 0, 2, 22050.0)]


def install(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> FakeSoundDevice:
    fake = FakeSoundDevice(settings.pop("devices", CARDS), **settings)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


@pytest.mark.parametrize(("delay", "card_samples"), [(0, 0), (0, 300), (1000, 300)])
def test_a_duet_plays_what_a_recording_would_get(exported: Path, delay: int, card_samples: int) -> None:
    mix_AN = example_mix(step_model(load_player("liveband-pocket")), 60)[0].numpy()
    mix_AN = mix_AN[:, : mix_AN.shape[1] // 256 * 256]
    wanted_AN, shift = Player(exported, "drums", seed=2).process(mix_AN), card_samples - delay
    player, played = Player(exported, "drums", seed=2), []
    with Duet(player, delay, card_samples) as duet:
        for start in range(0, mix_AN.shape[1], 256):
            played.append(duet.callback(mix_AN[:, start : start + 256]))
            until = time.perf_counter() + 60
            while duet.known_samples < start + 256 + player.lead_samples and time.perf_counter() < until:
                time.sleep(0.0005)
    played_AN = np.concatenate(played, axis=1)
    earlier, later = max(0, -shift), max(0, shift)
    assert duet.missed_samples == 0
    assert not played_AN[:, :earlier].any()
    assert np.array_equal(
        played_AN[:, earlier : played_AN.shape[1] - later], wanted_AN[:, later : len(mix_AN[0]) - earlier]
    )
    assert np.abs(wanted_AN).max() > 0.05


def test_what_is_late_is_silence_and_counted(exported: Path) -> None:
    duet = Duet(Player(exported, "drums"), 0, 10**5)  # nobody computes
    assert not duet.callback(np.ones((1, 256), np.float32)).any()
    assert duet.missed_samples == 256


def test_a_card_by_the_command(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake, out = install(monkeypatch), tmp_path / "live.wav"
    common = ["--model", str(exported), "--instrument", "drums"]
    assert play([*common, "--device", "default", "--seconds", "0.5", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Piano USB: a step takes")
    assert "not ready in time" in said
    (stream,) = fake.streams
    assert stream.closed
    assert stream.options["samplerate" if "samplerate" in stream.options else "device"] is not None
    played_NA = np.concatenate(stream.played)
    written_NA, rate = soundfile.read(out, always_2d=True)
    assert rate == 22050
    assert np.isfinite(played_NA).all()
    assert 0 < len(written_NA) <= len(played_NA)
    assert play(["--list-devices"]) == 0
    assert "Monitor: 0 in, 2 out, 22050 Hz" in capsys.readouterr().out


def test_a_card_that_is_unplugged_keeps_what_was_played(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, calls=300)
    out = tmp_path / "live.wav"
    assert play(["--model", str(exported), "--device", "piano", "--out", str(out)]) == 2
    assert "Piano USB stopped after" in capsys.readouterr().err
    assert soundfile.info(out).frames > 0


MISTAKES: list[tuple[dict[str, Any], list[str], str]] = [
    ({}, ["--device", "organ"], "no output 'organ' among the sound cards"),
    ({"devices": [device("Monitor", 0, 2)]}, ["--device", "default"], "there is no sound card for input"),
    ({"error": PortAudioError("Invalid sample rate")}, ["--device", "default"], "at the model's 22050 Hz (Invalid"),
    ({"calls": 0}, ["--device", "default"], "nothing comes from Piano USB"),
    ({}, ["--device", "default", "--mix", "song.wav"], "leave out --mix"),
    ({}, ["--device", "default", "--seconds", "0"], "must be more than 0"),
    ({}, [], "--mix is missing; name it, or play live"),
]


@pytest.mark.parametrize(("settings", "options", "sentence"), MISTAKES)
def test_mistakes(
    settings: dict[str, Any],
    options: list[str],
    sentence: str,
    exported: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(monkeypatch, **settings)
    monkeypatch.setattr("livejam_player.live.START_SECONDS", 0.1)
    assert play(["--model", str(exported), *options]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_without_sounddevice(
    exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert play(["--model", str(exported), "--device", "default"]) == 2
    assert "pip install 'livejam-player[live]'" in capsys.readouterr().err


def test_a_slow_model_is_delayed(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    player = Player(exported, "drums")
    card = Card(player.sample_rate_hz, 1, "default", None, 256)
    card.delay_samples = 200
    assert needed_delay(player, card, step=0.0) == max(0, 456 - player.lead_samples)
    assert needed_delay(player, card, step=1.0) == 200 + 2 * 22050 + 256 - player.lead_samples
