"""Ten minutes over OSC at real time on a clean and on a bad line, and a hundred thousand datagrams of garbage."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from commands import REPOSITORY

from livejam.serving.osc_fields import Message
from livejam.serving.osc_messages import (
    FROM_SERVER,
    Context,
    Hello,
    Level,
    PacketTest,
    Predict,
    Prompt,
    Reset,
    Stream,
    Undo,
    UpdateR,
    W,
    Welcome,
    read_message,
)

pytestmark = pytest.mark.live
RATE, DATAGRAMS = 44_100, 100_000
SECONDS = float(os.environ.get("LIVEJAM_OSC_SECONDS", "600"))
GROWTH_MB = 40


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """The command in a process of its own."""

    def __init__(self) -> None:
        self.port, self.reply_port = free_port(), free_port()
        command = ["serve", "osc", "--checkpoint", "liveband-pocket", "--instrument", "drums"]
        command += ["--port", str(self.port), "--reply-port", str(self.reply_port)]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "livejam.cli.main", *command], env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout
        while "Ctrl-C" not in self.process.stdout.readline():
            assert self.process.poll() is None

    @property
    def memory_mb(self) -> float:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize() / 1e6

    def stop(self) -> str:
        """End it as `kill` does, and get its summary."""
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=30)
        assert (self.process.returncode, "Traceback" in err) == (0, False), err
        return out


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.process.kill()


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory, rendered_songs: Path) -> Path:
    """A rendered song, again and again, for as long as the test takes."""
    audio_NA, rate = soundfile.read(next(rendered_songs.glob("**/mix.flac")), dtype="float32", always_2d=True)
    path = tmp_path_factory.mktemp("song") / "song.wav"
    soundfile.write(path, np.resize(audio_NA.mean(axis=1), round(SECONDS * rate)), rate)
    return path


def performed(server: Server, song: Path, out: Path, *faults: str) -> tuple[dict[str, Any], list[float]]:
    """The report of a performance, and the server's memory in MB every ten seconds."""
    command = ["perform", "--server", f"osc://127.0.0.1:{server.port}", "--reply-port", str(server.reply_port)]
    command += ["--mix", str(song), "--out", str(out), "--no-beats", *faults]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    musician = subprocess.Popen([sys.executable, "-m", "livejam.cli.main", *command], env=environment)
    memory = []
    while musician.poll() is None:
        time.sleep(min(10, SECONDS / 20))
        memory.append(server.memory_mb)
    assert musician.returncode == 0
    report = json.loads((out / "report.json").read_text())
    sys.stdout.write(f"{report['network']}\nmemory {memory[0]:.0f} to {memory[-1]:.0f} MB\n{server.stop()}\n")
    return report["network"], memory


def require_flat(memory: list[float]) -> None:
    early = max(memory[: max(1, len(memory) // 5)])
    assert max(memory) - early < GROWTH_MB, memory


def test_a_clean_line_has_no_gap(server: Server, song: Path, tmp_path: Path) -> None:
    network, memory = performed(server, song, tmp_path / "out")
    require_flat(memory)
    assert (network["gaps"], network["lost_on_the_way"]) == (0, 0), network


def test_a_bad_line_is_survived(server: Server, song: Path, tmp_path: Path) -> None:
    faults = ("--loss", "2%", "--jitter-ms", "20", "--clock-drift-ppm", "200")
    network, memory = performed(server, song, tmp_path / "out", *faults)
    require_flat(memory)
    lost = network["lost_on_the_way_back"] * 512 / RATE
    assert 0 < network["gaps"] < 3 * network["lost_on_the_way_back"]
    assert network["missing_ms"] < 3000 * lost
    assert network["latency_ms"]["p99"] < 250
    assert network["buffer_ms"]["max"] < 500


def garbage(rng: np.random.Generator) -> bytes:
    """Noise, or a message that is damaged, cut, repeated, or in order."""
    samples_N = rng.uniform(-1, 1, rng.integers(1, 700)).astype(np.float32)
    kinds: tuple[Message, ...] = (
        Stream(int(rng.integers(2**31 - 1)), int(rng.integers(2**31 - 1)), samples_N),
        Stream(int(rng.integers(99)), int(rng.integers(99_999)), samples_N),
        Context(int(rng.integers(-9, 9)), int(rng.integers(999)), int(rng.integers(1, 4)), samples_N),
        Level(float(rng.uniform(-120, 24)), int(rng.integers(3))),
        Undo(3.0), Reset(), Hello(), W(-1.0), Predict(), UpdateR(0.01), PacketTest(3, samples_N), Prompt("x"),
    )  # fmt: skip
    data = bytearray(kinds[rng.integers(len(kinds))].datagram() if rng.random() < 0.9 else rng.bytes(400))
    for _ in range(rng.integers(3)):
        data[rng.integers(len(data))] = rng.integers(256)
    return bytes(data[: rng.integers(1, len(data) + 1)] if rng.random() < 0.2 else data)


def test_garbage_does_no_harm(server: Server) -> None:
    rng = np.random.default_rng(0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", server.reply_port))
        client.setblocking(False)
        memory = []
        for number in range(DATAGRAMS):
            client.sendto(garbage(rng), ("127.0.0.1", server.port))
            time.sleep(0.0005 if number % 4 else 0.002)
            if number % 2000 == 0:
                assert server.process.poll() is None
                memory.append(server.memory_mb)
        require_flat(memory)
        client.settimeout(5)
        assert welcomed(client, server), "it still answers"
    summary = server.stop()
    sys.stdout.write(f"memory {memory[0]:.0f} to {memory[-1]:.0f} MB\n{summary}\n")
    received = int(re.findall(r"(\d+) datagrams", summary)[0])
    assert received > 0.95 * DATAGRAMS


def welcomed(client: socket.socket, server: Server) -> bool:
    """Whether a greeting is answered within five seconds."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        client.sendto(Hello().datagram(), ("127.0.0.1", server.port))
        for _ in range(500):
            if isinstance(read_message(client.recv(1 << 16), FROM_SERVER), Welcome):
                return True
    return False
