"""A server of the page with the bundled model, and a musician's program that speaks to it.

Shapes: B rows, A audio channels, N audio samples.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import numpy as np
from starlette.testclient import TestClient, WebSocketTestSession

import livejam
from livejam.checkpoints.player import Player
from livejam.serving.mono_sessions import mono_session
from livejam.serving.web_frames import Heard, read_played, write_heard
from livejam.serving.web_guard import App
from livejam.serving.web_limits import Limits, Places
from livejam.serving.web_messages import Begin, Message
from livejam.serving.web_server import make_app
from livejam.serving.web_shared import Stage
from livejam.serving.web_songs import DemoSong
from livejam.streaming.batons import Baton
from livejam.streaming.rings import Audio

RATE = 44_100
BLOCK = 512
HERE = "http://127.0.0.1:8080"
JAM = "ws://127.0.0.1:8080/jam"


@cache
def player() -> Player:
    return livejam.load("liveband-pocket")


def stage_with(limits: Limits, said: list[str] | None = None) -> Stage:
    """The bundled model for so many musicians."""
    make = partial(mono_session, player(), RATE, False)
    say = (said if said is not None else []).append
    return Stage("liveband-pocket", player().instruments, RATE, make, Baton(), limits, Places(limits.musicians), say)


def app_with(limits: Limits, songs: Sequence[DemoSong] = (), token: str = "") -> App:
    return make_app(stage_with(limits), songs, token)


@contextmanager
def client_of(app: App) -> Iterator[TestClient]:
    """A browser at this machine. All its connections share one event loop, as in a server."""
    with TestClient(app, base_url=HERE) as client:  # type: ignore[arg-type]
        yield client


def tune(seconds: float) -> Audio:
    """Something with notes and beats."""
    time_N = np.arange(round(seconds * RATE)) / RATE
    pitch_N = 220 * 2 ** (np.floor(time_N * 4) % 5 / 5)
    audio_N: Audio = (0.4 * np.sin(2 * np.pi * pitch_N * time_N) * np.exp(-6 * (time_N * 4 % 1))).astype(np.float32)
    return audio_N


class Visitor:
    """What the page does, without a browser.

    Args:
        socket: connected.
    """

    def __init__(self, socket: WebSocketTestSession) -> None:
        self.socket = socket
        self.told: list[dict[str, Any]] = []
        self.frames: list[bytes] = []

    def say(self, message: Message) -> None:
        self.socket.send_text(message.text())

    def until(self, kind: str) -> dict[str, Any]:
        """The next message of a kind; others are remembered."""
        while True:
            message = self.receive()
            if message is not None and message["kind"] == kind:
                return message

    def receive(self) -> dict[str, Any] | None:
        """The next message, or None for a frame of sound, which is remembered."""
        got = self.socket.receive()
        assert got["type"] != "websocket.close", got
        if got.get("text") is None:
            self.frames.append(got["bytes"])
            return None
        self.told.append(json.loads(got["text"]))
        return self.told[-1]

    def begin(self, *instruments: str, seed: int = 0) -> dict[str, Any]:
        self.until("welcome")
        self.say(Begin(instruments, seed))
        return self.until("begun")

    def play(self, audio_N: Audio, start: int = 0, block: int = BLOCK) -> None:
        for number, at in enumerate(range(0, len(audio_N), block)):
            self.socket.send_bytes(write_heard(Heard(number, start + at, audio_N[at : at + block])))

    def hear(self, rows: int, samples: int) -> Audio:
        """The answer from position 0 on, row by row, once so many samples of it are there; silence before its first."""
        answer_BN, ends = np.zeros((rows, samples), dtype=np.float32), [0] * rows
        while min(ends) < samples:
            while not self.frames:
                self.receive()
            played = read_played(self.frames.pop(0))
            start, skipped = max(0, played.position_samples), max(0, -played.position_samples)
            piece_N = played.audio_N[skipped : skipped + max(0, samples - start)]
            answer_BN[played.row, start : start + len(piece_N)] = piece_N
            ends[played.row] = played.position_samples + len(played.audio_N)
        return answer_BN
