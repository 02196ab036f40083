"""A hundred thousand frames of nonsense (`LIVEJAM_FRAMES` says how many): the page's server neither stops nor grows.

N: audio samples.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from livejam.serving.web_frames import Heard, read_played, write_heard
from livejam.serving.web_messages import Begin, Level, Mute, Undo

pytestmark = pytest.mark.live

FRAMES = int(os.environ.get("LIVEJAM_FRAMES", "100000"))
CONNECTIONS, RAW = 10, 300
GROWTH_MB = 40.0

SERVER = """
import sys
sys.path[:0] = ["tests/livejam/serving"]
from web_stage import app_with
from livejam.serving.web_limits import Limits
from livejam.serving.web_server import open_port, serve
many = dict.fromkeys(("sound_burst_seconds", "frames_per_second", "controls_per_second", "controls_burst"), 1e9)
limits = Limits(musicians=4, **many) if sys.argv[1] == "patient" else Limits(musicians=4)
with open_port("127.0.0.1", 0) as listening:
    print(listening.getsockname()[1], flush=True)
    serve(app_with(limits), listening, 4, None, None)
"""


@pytest.fixture(params=["patient", "as it is"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[int, int, str]]:
    """Port, process, and whether the server ends connections that send nonsense, as it does outside of this test."""
    process = subprocess.Popen([sys.executable, "-c", SERVER, request.param], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), process.pid, request.param
        assert process.poll() is None, "it still runs"
    finally:
        process.terminate()
        process.wait()


def memory_mb(process: int) -> float:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * 4096 / 1e6


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """A copy with some bytes changed, cut off or repeated."""
    held = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        held[rng.integers(len(held))] = rng.integers(256)
    end = int(rng.integers(len(held) + 1)) if rng.random() < 0.3 else len(held)
    return bytes(held[:end] * (2 if rng.random() < 0.05 else 1))


def nonsense(rng: np.random.Generator) -> bytes | str:
    """Random bytes, or a good frame that was damaged."""
    kind = rng.integers(4)
    audio_N = (0.2 * rng.standard_normal(rng.integers(1, 600))).astype(np.float32)
    if kind == 0:
        return rng.bytes(rng.integers(0, 2000))
    if kind == 1:
        return mutated(write_heard(Heard(int(rng.integers(99)), int(rng.integers(1 << 20)), audio_N)), rng)
    message = (Begin(("Bass",), 1), Level(-6.0, 0), Mute(True, None), Undo(2.0))[rng.integers(4)]
    text = mutated(message.text().encode(), rng) if kind == 2 else rng.bytes(rng.integers(0, 60))
    return text.decode("utf-8", errors="replace")


@contextmanager
def begun(port: int) -> Iterator[ClientConnection]:
    """A connection that plays, as soon as those that were torn off have made room."""
    end = time.monotonic() + 60
    while True:
        with connect(f"ws://127.0.0.1:{port}/jam", max_size=None, compression=None) as connection:
            if json.loads(connection.recv())["kind"] == "welcome":
                connection.send(Begin(("Percussive",), 0).text())
                while json.loads(connection.recv(timeout=60))["kind"] != "begun":
                    pass
                yield connection
                return
        assert time.monotonic() < end, "places are never free again"
        time.sleep(0.1)


def drain(connection: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        for _ in connection:
            pass


def pester(port: int, frames: int, rng: np.random.Generator) -> int:
    """Send nonsense until it is enough, or until the server has had enough; how many frames were sent."""
    with begun(port) as connection:
        reading = threading.Thread(target=drain, args=(connection,), daemon=True)
        reading.start()
        sent = 0
        with suppress(ConnectionClosed):
            while sent < frames:
                connection.send(nonsense(rng))
                sent += 1
    reading.join(timeout=60)
    assert not reading.is_alive()
    return sent


def raw(port: int, rng: np.random.Generator) -> None:
    """Bytes that are no WebSocket, or no http."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        opening = b"GET /jam HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        connection.sendall(mutated(opening + key, rng) if rng.random() < 0.5 else opening + key + rng.bytes(300))


def plays(port: int) -> None:
    """Whoever comes afterwards is answered."""
    with begun(port) as connection:
        for number in range(40):
            connection.send(write_heard(Heard(number, number * 512, np.zeros(512, dtype=np.float32))))
        frames = (connection.recv(timeout=30) for _ in range(100))
        assert read_played(next(frame for frame in frames if isinstance(frame, bytes))).row == 0


def test_nonsense_neither_stops_nor_bloats_the_server(server: tuple[int, int, str]) -> None:
    port, process, kind = server
    rng = np.random.default_rng(17)
    plays(port)
    each = FRAMES // CONNECTIONS if kind == "patient" else 400
    memory, sent = [], 0
    for _ in range(CONNECTIONS):
        sent += pester(port, each, rng)
        for _ in range(RAW // CONNECTIONS):
            raw(port, rng)
        memory.append(memory_mb(process))
    plays(port)
    assert sent == each * CONNECTIONS if kind == "patient" else sent < each * CONNECTIONS
    assert max(memory[5:]) - memory[4] < GROWTH_MB, memory
