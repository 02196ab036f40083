"""Sound cards: found, opened, played through, and gone."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from echo_session import EchoSession, EchoTiming
from fake_sounddevice import STEP, FakeSoundDevice, PortAudioError, device

from livejam.errors import UserError
from livejam.streaming.devices import SoundCard, list_devices
from livejam.streaming.engine import RealTimeEngine
from livejam.streaming.playheads import DriftingPlayhead, SteadyPlayhead

RATE, CHUNK = 8000, 8
BOTH, MICROPHONE, SPEAKER = device("Interface", 2, 2), device("Microphone", 1, 0), device("Speaker", 0, 2)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    def installed(*devices: dict[str, Any], **options: Any) -> FakeSoundDevice:
        module = FakeSoundDevice(list(devices), **options)
        monkeypatch.setitem(sys.modules, "sounddevice", module)
        return module

    return installed


def session_of(channels: int) -> EchoSession:
    """Plays ahead so far that nothing is late on the busiest machine."""
    return EchoSession(EchoTiming(RATE, 64, 4 * RATE), channels, lambda i: None)


@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_captured_is_heard_and_kept(install: Any, channels: int) -> None:
    module, session = install(BOTH), session_of(channels)
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    card = SoundCard(chunk_samples=CHUNK)
    with card.opened(channels) as stage:
        assert stage.latency_samples == round(0.008 * RATE)
        engine = stage.engine(session)
        stage.play(engine, sink=lambda captured, played: kept.append((captured.copy(), played.copy())), seconds=0.4)
    captured_AN, played_AN = (np.concatenate(parts, axis=1) for parts in zip(*kept, strict=True))
    assert captured_AN.shape == played_AN.shape
    assert captured_AN.shape[1] > 100 * CHUNK
    np.testing.assert_allclose(np.diff(captured_AN), STEP)  # not a sample is lost
    heard = session.echo().numpy()[:, session.echo_samples :]
    np.testing.assert_array_equal(heard, captured_AN[:, : heard.shape[1]])
    assert engine.statistics().misses == 0
    assert not np.isnan(np.concatenate(module.streams[0].played)).any()
    assert module.streams[0].closed


def test_two_cards_have_two_clocks(install: Any) -> None:
    install(MICROPHONE, SPEAKER)
    card = SoundCard(chunk_samples=CHUNK)
    assert card.two_clocks
    assert card.playhead is DriftingPlayhead
    with card.opened(2) as stage:
        engine = stage.engine(session_of(2))
        stage.play(engine, seconds=0.3)
        assert engine.statistics().seconds > 0.1


def test_a_recording_needs_no_input_and_comes_out_with_its_accompaniment(install: Any) -> None:
    module = install(MICROPHONE, SPEAKER)
    card = SoundCard(chunk_samples=CHUNK, with_input=False)
    assert card.playhead is SteadyPlayhead
    mix_AN = np.linspace(-0.5, 0.5, 1001, dtype=np.float32)[None]
    with card.opened(1) as stage:
        assert stage.latency_samples == 0  # both come out of the same card
        stage.play(stage.engine(session_of(1)), mix_AN=mix_AN)
    played_NA = np.concatenate(module.streams[0].played)
    begins = int(np.argmax(np.abs(played_NA[:, 0]) > 0))
    np.testing.assert_array_equal(played_NA[begins : begins + 1001], np.tile(mix_AN.T, (1, 2)))


@pytest.mark.parametrize("vanishes", [True, False])
def test_a_card_that_vanishes_is_one_sentence_and_nothing_is_lost(
    install: Any, monkeypatch: pytest.MonkeyPatch, vanishes: bool
) -> None:
    monkeypatch.setattr("livejam.streaming.devices.SILENT_SECONDS", 0.3)
    install(BOTH, calls=400, vanishes=vanishes)
    session, kept = session_of(1), []
    with pytest.raises(UserError, match=r"^Interface stopped after .* plug it in again .* until then is kept$"):  # noqa: SIM117
        with SoundCard(chunk_samples=CHUNK).opened(1) as stage:
            stage.play(stage.engine(session), sink=lambda captured, played: kept.append(captured.copy()))
    captured_AN = np.concatenate(kept, axis=1)
    assert captured_AN[0, -1] == (400 * CHUNK - 1) * STEP
    session.advance(session.everything[0])  # it plays on


def test_an_error_in_the_callback_is_no_silent_end(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    install(BOTH)

    def broken(self: object, input_AN: object) -> None:
        raise RuntimeError("out of tune")

    monkeypatch.setattr(RealTimeEngine, "callback", broken)
    with pytest.raises(UserError, match=r"Interface stopped after .*out of tune"):  # noqa: SIM117
        with SoundCard(chunk_samples=CHUNK).opened(1) as stage:
            stage.play(stage.engine(session_of(1)))


def test_the_list_shows_defaults_channels_and_rates(install: Any) -> None:
    install(MICROPHONE, BOTH)
    assert list_devices().splitlines() == [
        "*   0  Microphone  (ALSA): 1 in, 0 out, 8000 Hz",
        "*   1  Interface  (ALSA): 2 in, 2 out, 8000 Hz",
    ]
    install()
    assert list_devices() == "no sound card was found; plug one in, or start the sound server"


def test_cards_that_are_not_there(install: Any) -> None:
    install(SPEAKER)
    with pytest.raises(UserError, match=r"^there is no sound card for input; `livejam play --list-devices` shows"):
        SoundCard()
    with pytest.raises(UserError, match=r"^there is no output 'piano' among the sound cards; `livejam play"):
        SoundCard(output_device="piano", with_input=False)


def test_a_card_that_does_not_open(install: Any) -> None:
    module = install(BOTH, error=PortAudioError("Invalid sample rate"))
    with pytest.raises(UserError, match=r"^Interface cannot be used at 8000 Hz .*Invalid sample rate.* --list-devices"):  # noqa: SIM117
        with SoundCard().opened(1):
            pass
    assert not module.streams


def test_a_card_that_never_calls(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livejam.streaming.devices.START_SECONDS", 0.2)
    install(BOTH, calls=0, vanishes=False)
    with pytest.raises(UserError, match=r"^nothing comes from Interface within"):  # noqa: SIM117
        with SoundCard().opened(1):
            pass


def test_without_the_package_or_portaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(UserError, match=r"pip install 'livejam\[live\]'"):
        list_devices()

    class NoPortAudio:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.delitem(sys.modules, "sounddevice")
    monkeypatch.setattr(sys, "meta_path", [NoPortAudio(), *sys.meta_path])
    with pytest.raises(UserError, match="apt install libportaudio2"):
        list_devices()
