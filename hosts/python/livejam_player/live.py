"""Playing through a sound card: its thread takes and gives samples, another one computes.

Shapes: A audio channels, N samples; the card's own blocks are NA.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from livejam_player.model import Array, ModelError
from livejam_player.player import Player
from livejam_player.sound import as_channels

KEPT_SECONDS = 20.0
LOOK_SECONDS, START_SECONDS, SILENT_SECONDS = 0.05, 3.0, 1.0
WARM_STEPS = 8
SEE_DEVICES = "`livejam-player --list-devices` shows what there is"


def load_sounddevice() -> Any:
    """The package sounddevice, with PortAudio.

    Raises:
        ModelError: either is not installed.
    """
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise ModelError(
            "playing through a sound card needs the package sounddevice; install it: pip install 'livejam-player[live]'"
        ) from error
    except OSError as error:
        raise ModelError(
            "PortAudio, which reaches the sound card, is not installed; on Debian and Ubuntu: apt install libportaudio2"
        ) from error
    return sounddevice


def list_devices() -> str:
    """All sound cards, one a line.

    Raises:
        ModelError: sounddevice or PortAudio is not installed.
    """
    devices = load_sounddevice().query_devices()
    rows = [
        f"{number:3d}  {device['name']}: {device['max_input_channels']} in, {device['max_output_channels']} out, "
        f"{device['default_samplerate']:.0f} Hz"
        for number, device in enumerate(devices)
    ]
    return "\n".join(rows) or "no sound card was found; plug one in, or start the sound server"


class Duet:
    """A player between the thread of a sound card, which must never wait, and one that computes.

    Args:
        player: before its first sample.
        delay_samples: by which the accompaniment sounds after its place, so that it is ready in time.
        card_samples: from when a sample is heard until one that is given at the same time sounds.
    """

    def __init__(self, player: Player, delay_samples: int, card_samples: int) -> None:
        self.player = player
        self.missed_samples = 0
        self._heard: deque[Array] = deque()
        self._ring_AN = np.zeros((player.channels, round(KEPT_SECONDS * player.sample_rate_hz)), np.float32)
        self.known_samples = 0
        self._due = card_samples - delay_samples + player.late_samples
        self._work, self._over = threading.Event(), False
        self._thread = threading.Thread(target=self._compute, daemon=True)
        self.failure: Exception | None = None
        self._keep(player.advance(np.zeros((player.channels, 0), np.float32)))  # what is known before anything is heard

    def __enter__(self) -> Duet:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._work.set()
        self._thread.join()

    def callback(self, heard_AN: Array) -> Array:
        """Give the computing thread what was heard; what is due, and silence for what is not ready."""
        self._heard.append(heard_AN)
        self._work.set()
        samples = heard_AN.shape[1]
        position_N = np.arange(self._due, self._due + samples)
        self._due += samples
        ready_N = (position_N >= 0) & (position_N < self.known_samples)
        self.missed_samples += int((position_N >= self.known_samples).sum())
        played_AN: Array = self._ring_AN[:, position_N % self._ring_AN.shape[1]] * ready_N
        return played_AN

    def _compute(self) -> None:
        while not self._over:
            self._work.wait()
            self._work.clear()
            while self._heard and not self._over:
                try:
                    self._keep(self.player.advance(np.nan_to_num(self._heard.popleft())))
                except Exception as error:  # the runtime's; the main thread says it
                    self.failure = error
                    return

    def _keep(self, known_AN: Array) -> None:
        place_N = np.arange(self.known_samples, self.known_samples + known_AN.shape[1]) % self._ring_AN.shape[1]
        self._ring_AN[:, place_N] = known_AN
        self.known_samples += known_AN.shape[1]


class Card:
    """An input and an output at the model's rate.

    Args:
        sample_rate_hz: of the model.
        channels: of the model; a card with fewer inputs is heard in mono, one with more outputs gets copies.
        device: number or part of the name of the sound card; "default" = the default one.
        input_device: another one to listen to; None = the same.
        chunk_samples: samples per call.

    Raises:
        ModelError: sounddevice or PortAudio is not installed, or there is no such device.
    """

    def __init__(
        self, sample_rate_hz: int, channels: int, device: str, input_device: str | None, chunk_samples: int
    ) -> None:
        self.sounddevice = load_sounddevice()
        self.rate, self.channels, self.chunk_samples = sample_rate_hz, channels, chunk_samples
        target, source = self._find("output", device), self._find("input", input_device or device)
        self.devices = source["index"], target["index"]
        inputs = channels if source["max_input_channels"] >= channels else 1
        self.widths = inputs, min(max(2, channels), target["max_output_channels"])
        self.name = target["name"] if source["index"] == target["index"] else f"{source['name']} and {target['name']}"
        self.delay_samples: int | None = None
        self.accidents = 0
        self.played: deque[Array] = deque()
        self._called = time.perf_counter()
        self._duet: Duet | None = None

    def _find(self, kind: str, device: str) -> Any:
        asked = None if device == "default" else int(device) if device.isdecimal() else device
        try:
            return self.sounddevice.query_devices(asked, kind)
        except (ValueError, self.sounddevice.PortAudioError) as error:
            said = f"no sound card for {kind}" if asked is None else f"no {kind} {device!r} among the sound cards"
            raise ModelError(f"there is {said}; {SEE_DEVICES}") from error

    @contextmanager
    def opened(self) -> Iterator[None]:
        """At work, silent until a duet plays.

        Raises:
            ModelError: it does not open at this rate, or nothing comes from it.
        """
        try:
            with self.sounddevice.Stream(
                samplerate=self.rate,
                blocksize=self.chunk_samples,
                device=self.devices,
                channels=self.widths,
                dtype="float32",
                latency="low",
                callback=self._on_call,
            ) as self._stream:
                self._wait_for(lambda: self.delay_samples is not None, START_SECONDS)
                yield
        except self.sounddevice.PortAudioError as error:
            raise ModelError(
                f"{self.name} cannot be used at the model's {self.rate} Hz ({error.args[0]}); choose a device that "
                f"converts rates, such as the sound server's, or close what uses it: {SEE_DEVICES}"
            ) from error

    def _wait_for(self, happened: Callable[[], bool], seconds: float) -> None:
        until = time.perf_counter() + seconds
        while not happened():
            if time.perf_counter() > until:
                raise ModelError(f"nothing comes from {self.name}; choose another device: {SEE_DEVICES}")
            time.sleep(0.01)

    def play(self, duet: Duet, seconds: float | None, sink: Callable[[Array], None]) -> None:
        """Play for so long, or until KeyboardInterrupt.

        Args:
            duet: what plays.
            seconds: None = forever.
            sink: gets what was played (AN), in the caller's thread.

        Raises:
            ModelError: the card is gone, or the model failed.
        """
        began, self._duet = time.perf_counter(), duet
        try:
            while seconds is None or time.perf_counter() - began < seconds:
                time.sleep(LOOK_SECONDS)
                self._drain(sink)
                self._require_alive(duet, time.perf_counter() - began)
        finally:
            self._duet = None
            time.sleep(LOOK_SECONDS)  # a call may be under way
            self._drain(sink)

    def _drain(self, sink: Callable[[Array], None]) -> None:
        while self.played:
            sink(self.played.popleft())

    def _require_alive(self, duet: Duet, seconds: float) -> None:
        if duet.failure is not None:
            raise ModelError(f"the model stopped after {seconds:.1f} s ({duet.failure})") from duet.failure
        if not self._stream.active or time.perf_counter() - self._called > SILENT_SECONDS:
            raise ModelError(f"{self.name} stopped after {seconds:.1f} s; plug it in again, and start again")

    def _on_call(self, heard_NA: Array, played_NA: Array, samples: int, times: Any, status: Any) -> None:
        self._called = time.perf_counter()
        self.accidents += bool(status)
        seconds = times.outputBufferDacTime - times.inputBufferAdcTime
        self.delay_samples = max(0, round(seconds * self.rate)) if 0 < seconds < 1 else 2 * samples
        duet = self._duet
        if duet is None:
            played_NA.fill(0)
            return
        played_AN = duet.callback(as_channels(heard_NA.T.copy(), self.channels))
        played_NA[:] = as_channels(np.clip(played_AN, -1, 1), played_NA.shape[1]).T
        self.played.append(played_AN)


def step_seconds(player: Player) -> float:
    """How long a step takes here; the player begins anew."""
    silence_AN = np.zeros((player.channels, player.model.block_samples), np.float32)
    times = []
    for _ in range(WARM_STEPS):
        started = time.perf_counter()
        player.advance(silence_AN)
        times.append(time.perf_counter() - started)
    player.reset()
    return float(np.median(times))


def needed_delay(player: Player, card: Card, step: float) -> int:
    """Samples by which the accompaniment has to sound after its place, so that a step has twice the time it takes."""
    assert card.delay_samples is not None
    computing = round(2 * step * player.sample_rate_hz) + card.chunk_samples
    return max(0, card.delay_samples + computing - max(0, player.lead_samples))
