"""Sound cards, through PortAudio and the package sounddevice (the extra `live`).

    card = SoundCard()
    session = Session(player, sample_rate_hz=card.sample_rate_hz)
    with card.opened(session.channels) as stage:
        stage.play(stage.engine(session))

Shapes: A audio channels, N audio samples; sounddevice's own blocks are NA.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from livejam.errors import UserError
from livejam.streaming.engine import LOG, RealTimeEngine
from livejam.streaming.performer import S
from livejam.streaming.playheads import DriftingPlayhead, SteadyPlayhead
from livejam.streaming.rings import Audio, HeardRing

Sink = Callable[[Audio, Audio], None]
"""Takes what was captured and what was played since the last call; with one clock, both are equally long."""

START_SECONDS, SETTLED_SECONDS, SILENT_SECONDS, CLOSE_SECONDS = 3.0, 0.1, 1.0, 2.0
LOOK_SECONDS, KEPT_SECONDS = 0.05, 4.0
SEE_DEVICES = "`livejam play --list-devices` shows what there is"


def load_sounddevice() -> Any:
    """The package sounddevice, with PortAudio.

    Raises:
        UserError: either is not installed.
    """
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise UserError(
            "playing through a sound card needs the package sounddevice; install it: pip install 'livejam[live]'"
        ) from error
    except OSError as error:
        raise UserError(
            "PortAudio, which reaches the sound card, is not installed; on Debian and Ubuntu: apt install "
            "libportaudio2; on macOS and Windows: pip install --force-reinstall sounddevice, which brings it"
        ) from error
    return sounddevice


def list_devices() -> str:
    """All sound cards as a table: number, name, driver, channels in and out, rate; `*` marks the defaults.

    Raises:
        UserError: sounddevice or PortAudio is not installed.
    """
    sounddevice = load_sounddevice()
    devices, drivers = sounddevice.query_devices(), sounddevice.query_hostapis()
    if not len(devices):
        return "no sound card was found; plug one in, or start the sound server"
    defaults = {index for driver in drivers for index in _defaults(driver)}
    rows = [
        f"{'*' if i in defaults else ' '} {i:3d}  {device['name']}  ({drivers[device['hostapi']]['name']}): "
        f"{device['max_input_channels']} in, {device['max_output_channels']} out, {device['default_samplerate']:.0f} Hz"
        for i, device in enumerate(devices)
    ]
    return "\n".join(rows)


def _defaults(driver: Any) -> tuple[int, int]:
    return driver["default_input_device"], driver["default_output_device"]


@dataclass(frozen=True)
class Side:
    """One direction of a sound card.

    Args:
        index: PortAudio's number.
        name: for people.
        channels: that it has.
        sample_rate_hz: that it prefers.
    """

    index: int
    name: str
    channels: int
    sample_rate_hz: int


def find_side(kind: str, device: int | str | None) -> Side:
    """A sound card's input or output.

    Args:
        kind: "input" or "output".
        device: its number or a part of its name; None = the default one.

    Raises:
        UserError: there is none like this.
    """
    sounddevice = load_sounddevice()
    try:
        found = sounddevice.query_devices(device, kind)
    except (ValueError, sounddevice.PortAudioError) as error:
        asked = f"no sound card for {kind}" if device is None else f"no {kind} {device!r} among the sound cards"
        raise UserError(f"there is {asked}; {SEE_DEVICES}") from error
    channels = found[f"max_{kind}_channels"]
    return Side(found["index"], found["name"], channels, round(found["default_samplerate"]))


class SoundCard:
    """An input and an output, possibly of two cards with clocks of their own.

    Args:
        input_device: number or part of the name; None = the default one.
        output_device: likewise.
        chunk_samples: samples per call. Fewer mean less latency and more work.
        with_input: whether to listen at all; a recording that is played through the card needs no input.

    Raises:
        UserError: sounddevice or PortAudio is not installed, or there is no such device.
    """

    def __init__(
        self,
        input_device: int | str | None = None,
        output_device: int | str | None = None,
        chunk_samples: int = 256,
        with_input: bool = True,
    ) -> None:
        self.output = find_side("output", output_device)
        self.input = find_side("input", input_device) if with_input else None
        self.chunk_samples = chunk_samples
        self.sample_rate_hz = self.output.sample_rate_hz

    @property
    def two_clocks(self) -> bool:
        """Whether input and output are different cards."""
        return self.input is not None and self.input.index != self.output.index

    @property
    def playhead(self) -> type[SteadyPlayhead] | type[DriftingPlayhead]:
        """How an engine has to read its output for this card."""
        return DriftingPlayhead if self.two_clocks else SteadyPlayhead

    @property
    def names(self) -> str:
        """For people."""
        inputs = [self.input.name] if self.input and self.two_clocks else []
        return " and ".join([*inputs, self.output.name])

    @contextmanager
    def opened(self, channels: int) -> Iterator[Stage]:
        """The card at work, silent at first, with its latency measured.

        Args:
            channels: of the session.

        Raises:
            UserError: the card does not open, or nothing comes from it.
        """
        sounddevice = load_sounddevice()
        stage = Stage(self, channels)
        try:
            stage.open(sounddevice)
            yield stage
        except sounddevice.PortAudioError as error:
            raise UserError(
                f"{self.names} cannot be used at {self.sample_rate_hz} Hz with {self.chunk_samples} samples per call "
                f"({error.args[0]}); close other programs that use it, or choose another device: {SEE_DEVICES}"
            ) from error
        finally:
            stage.close(sounddevice)


class Stage:
    """A sound card that is open: what it captures goes to an engine, and what the engine plays goes to it.

    Args:
        card: the card.
        channels: of the session; a card with fewer inputs is heard in mono, one with more outputs gets copies.
    """

    def __init__(self, card: SoundCard, channels: int) -> None:
        self.card, self.channels = card, channels
        self.accidents = 0
        self.latency_samples = 0
        self._streams: list[Any] = []
        self._engine: RealTimeEngine[Any] | None = None
        self._mix_AN: Audio | None = None
        self._mix_at = 0
        kept = round(KEPT_SECONDS * card.sample_rate_hz)
        self._captured, self._played = HeardRing(channels, kept), HeardRing(channels, kept)
        self._delays: dict[str, float] = {}
        self._called = time.perf_counter()
        self._failure: Exception | None = None

    def open(self, sounddevice: Any) -> None:
        """Start the card with silence, and measure its latency."""
        card = self.card
        common = {"samplerate": card.sample_rate_hz, "blocksize": card.chunk_samples, "dtype": "float32"}
        for stream, device, channels, callback in self._directions(sounddevice):
            opened = stream(device=device, channels=channels, callback=callback, latency="low", **common)
            self._streams.append(opened)
        for opened in self._streams:
            opened.start()
        self._await_calls()
        reported = np.sum([np.sum(opened.latency) for opened in self._streams])
        measured = sum(self._delays.values())
        seconds = measured if 0 < measured < 1 else float(reported)
        self.latency_samples = round(seconds * card.sample_rate_hz) if card.input else 0

    def _directions(self, sounddevice: Any) -> list[tuple[Any, Any, Any, Callable[..., None]]]:
        """Per stream: its kind, its device, its channels and what it calls."""
        source, target = self.card.input, self.card.output
        outputs = min(max(2, self.channels), target.channels)
        to_output = (sounddevice.OutputStream, target.index, outputs, self._on_output)
        if source is None:
            return [to_output]
        inputs = self.channels if source.channels >= self.channels else 1
        if self.card.two_clocks:
            return [(sounddevice.InputStream, source.index, inputs, self._on_input), to_output]
        return [(sounddevice.Stream, (source.index, target.index), (inputs, outputs), self._on_both)]

    def close(self, sounddevice: Any) -> None:
        """Give the card back, even if it is gone.

        PortAudio may wait forever for a sound server that has died, here and again when Python ends: after a while it
        is left alone.
        """
        closing = threading.Thread(target=self._close_streams, args=[sounddevice.PortAudioError], daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)
        if closing.is_alive():
            atexit.unregister(getattr(sounddevice, "_exit_handler", None))  # type: ignore[arg-type]

    def _close_streams(self, error: type[Exception]) -> None:
        for end in [end for stream in self._streams for end in (stream.abort, stream.close)]:
            with suppress(error):
                end()

    def engine(self, session: S, say: Callable[[str], None] = LOG.warning) -> RealTimeEngine[S]:
        """An engine for a session at the card's rate and with the stage's channels, to `play` here."""
        card = self.card
        return RealTimeEngine(session, card.chunk_samples, self.latency_samples, playhead=card.playhead, say=say)

    def play(
        self,
        engine: RealTimeEngine[Any],
        mix_AN: Audio | None = None,
        sink: Sink | None = None,
        seconds: float | None = None,
    ) -> None:
        """Play until the recording or the time is over, or forever.

        Args:
            engine: one of `engine`.
            mix_AN: a recording at the card's rate, which the engine hears and the card plays together with what the
                engine plays to it; None = the engine hears the card's input.
            sink: told twenty times a second what was captured and played; writing a file is fine.
            seconds: how long; None = until the recording ends, or KeyboardInterrupt.

        Raises:
            UserError: the card is gone. Everything up to then has been given to `sink`.
        """
        self._mix_AN = mix_AN
        with engine:
            try:
                self._engine = engine
                began = time.perf_counter()
                while not self._over(began, seconds):
                    time.sleep(LOOK_SECONDS)
                    self._drain(sink)
                    self._require_alive(time.perf_counter() - began)
            finally:
                self._engine = None
                time.sleep(LOOK_SECONDS)  # a call may be under way
                self._drain(sink)

    def _over(self, began: float, seconds: float | None) -> bool:
        if self._mix_AN is not None and self._mix_at >= self._mix_AN.shape[1]:
            return True
        return seconds is not None and time.perf_counter() - began >= seconds

    def _drain(self, sink: Sink | None) -> None:
        captured_AN, _ = self._captured.take(self._captured.capacity_samples)
        played_AN, _ = self._played.take(self._played.capacity_samples)
        if sink is not None and (captured_AN.size or played_AN.size):
            sink(captured_AN, played_AN)

    def _require_alive(self, seconds: float) -> None:
        quiet = time.perf_counter() - self._called > SILENT_SECONDS
        if self._failure is None and not quiet and all(stream.active for stream in self._streams):
            return
        reason = "" if self._failure is None else f" ({self._failure})"
        raise UserError(
            f"{self.card.names} stopped after {seconds:.1f} s{reason}; plug it in again and start again: what was "
            "played until then is kept"
        ) from self._failure

    def _await_calls(self) -> None:
        expected = ("input", "output")[self.card.input is None :]
        until = time.perf_counter() + START_SECONDS
        while not all(side in self._delays for side in expected):
            if time.perf_counter() > until:
                raise UserError(
                    f"nothing comes from {self.card.names} within {START_SECONDS:.0f} s; choose another device: "
                    f"{SEE_DEVICES}"
                )
            time.sleep(0.01)
        time.sleep(SETTLED_SECONDS)  # the times of a card's first calls are often far off

    # Called by PortAudio's thread

    def _on_both(self, captured_NA: Audio, played_NA: Audio, samples: int, times: Any, status: Any) -> None:
        self._note(status, input=times.currentTime - times.inputBufferAdcTime)
        self._note(None, output=times.outputBufferDacTime - times.currentTime)
        engine = self._engine
        output_AN = None if engine is None else self._safely(lambda: engine.callback(captured_NA.T))
        self._emit(output_AN, played_NA)
        if engine is not None:
            self._captured.write(captured_NA.T)

    def _on_input(self, captured_NA: Audio, samples: int, times: Any, status: Any) -> None:
        self._note(status, input=times.currentTime - times.inputBufferAdcTime)
        engine = self._engine
        if engine is not None:
            self._safely(lambda: engine.capture(captured_NA.T))
            self._captured.write(captured_NA.T)

    def _on_output(self, played_NA: Audio, samples: int, times: Any, status: Any) -> None:
        self._note(status, output=times.outputBufferDacTime - times.currentTime)
        engine = self._engine
        if engine is None:
            output_AN = None
        elif self.card.input is None:
            output_AN = self._safely(lambda: self._with_mix(engine, samples))
        else:
            output_AN = self._safely(lambda: engine.render(samples))
        self._emit(output_AN, played_NA)

    def _with_mix(self, engine: RealTimeEngine[Any], samples: int) -> Audio:
        """The next part of the recording, together with what the engine plays to it."""
        assert self._mix_AN is not None
        part_AN = self._mix_AN[:, self._mix_at : self._mix_at + samples]
        part_AN = np.pad(part_AN, ((0, 0), (0, samples - part_AN.shape[1])))
        self._mix_at += samples
        self._captured.write(part_AN)
        return part_AN + engine.callback(part_AN)

    def _emit(self, output_AN: Audio | None, played_NA: Audio) -> None:
        if output_AN is None:
            played_NA[:] = 0
            return
        self._played.write(output_AN)
        fits = len(output_AN) in (1, played_NA.shape[1])
        played_NA[:] = output_AN.T if fits else output_AN.mean(axis=0)[:, np.newaxis]

    def _note(self, status: Any, **delays: float) -> None:
        self._called = time.perf_counter()
        self.accidents += bool(status)
        self._delays.update(delays)

    def _safely(self, call: Callable[[], Any]) -> Any:
        """An exception here would stop the card without a word: it is kept for `play`."""
        try:
            return call()
        except Exception as error:
            self._failure = error
            return None
