"""The package sounddevice, as far as livejam uses it, with cards that exist only here.

A stream's thread calls back once a millisecond. What is captured counts up, 2^-16 per sample, so that every sample
names its position.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np

STEP = 2.0**-16


class PortAudioError(Exception):
    """PortAudio's own."""


def device(name: str, inputs: int, outputs: int, rate: float = 8000.0) -> dict[str, Any]:
    """A row of PortAudio's table."""
    return {
        "name": name,
        "hostapi": 0,
        "max_input_channels": inputs,
        "max_output_channels": outputs,
        "default_samplerate": rate,
    }


class FakeSoundDevice:
    """Stands for the module.

    Args:
        devices: rows of its table; the first with inputs is the default input, and so on.
        calls: after so many calls, cards fall silent; None = never.
        vanishes: whether PortAudio notices that they are gone, and ends the streams.
        error: raised when a stream is opened.
    """

    PortAudioError = PortAudioError

    def __init__(
        self,
        devices: list[dict[str, Any]],
        calls: int | None = None,
        vanishes: bool = True,
        error: PortAudioError | None = None,
    ) -> None:
        self.devices = [{**row, "index": i} for i, row in enumerate(devices)]
        self.calls, self.vanishes, self.error = calls, vanishes, error
        self.streams: list[FakeStream] = []

    def query_devices(self, asked: int | str | None = None, kind: str | None = None) -> Any:
        if kind is None:
            return self.devices
        usable = [row for row in self.devices if row[f"max_{kind}_channels"]]
        if isinstance(asked, int):
            usable = [row for row in usable if row["index"] == asked]
        elif asked is not None:
            usable = [row for row in usable if asked.lower() in row["name"].lower()]
        if usable:
            return usable[0]
        raise PortAudioError("Error querying device -1") if asked is None else ValueError(f"No {kind} device {asked!r}")

    def query_hostapis(self) -> Any:
        inputs, outputs = (
            next((row["index"] for row in self.devices if row[f"max_{kind}_channels"]), -1)
            for kind in ("input", "output")
        )
        return ({"name": "ALSA", "default_input_device": inputs, "default_output_device": outputs},)

    def Stream(self, **options: Any) -> FakeStream:  # noqa: N802 (sounddevice's name)
        return self._opened(FakeStream(self, "both", **options))

    def InputStream(self, **options: Any) -> FakeStream:  # noqa: N802
        return self._opened(FakeStream(self, "input", **options))

    def OutputStream(self, **options: Any) -> FakeStream:  # noqa: N802
        return self._opened(FakeStream(self, "output", **options))

    def _opened(self, stream: FakeStream) -> FakeStream:
        if self.error is not None:
            raise self.error
        self.streams.append(stream)
        return stream


class FakeStream:
    """One stream of a card that takes 3 ms in and 5 ms out."""

    latency = 0.25

    def __init__(
        self,
        module: FakeSoundDevice,
        kind: str,
        samplerate: int,
        blocksize: int,
        channels: Any,
        callback: Any,
        **options: Any,
    ) -> None:
        self.module, self.kind, self.blocksize, self.callback, self.options = module, kind, blocksize, callback, options
        self.inputs, self.outputs = channels if kind == "both" else (channels, channels)
        self.active, self.closed = False, False
        self.played: list[np.ndarray] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> FakeStream:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(PortAudioError):
            self.abort()
        self.close()

    def start(self) -> None:
        self.active = True
        self._thread.start()

    def abort(self) -> None:
        gone = not self.active
        self.active = False
        self._thread.join()
        if gone:
            raise PortAudioError("Stream is stopped")

    def close(self) -> None:
        self.closed = True

    def _run(self) -> None:
        number = 0
        while self.active and (self.module.calls is None or number < self.module.calls):
            time.sleep(0.001)
            self._call(number)
            number += 1
        if self.module.vanishes:
            self.active = False

    def _call(self, number: int) -> None:
        positions = np.arange(number * self.blocksize, (number + 1) * self.blocksize, dtype=np.float32)
        captured_NA = np.tile(STEP * positions[:, None], (1, self.inputs)).astype(np.float32)
        played_NA = np.full((self.blocksize, self.outputs), np.nan, dtype=np.float32)
        times = SimpleNamespace(inputBufferAdcTime=9.997, currentTime=10.0, outputBufferDacTime=10.005)
        buffers = {"both": (captured_NA, played_NA), "input": (captured_NA,), "output": (played_NA,)}[self.kind]
        self.callback(*buffers, self.blocksize, times, "")
        self.played.append(played_NA)
