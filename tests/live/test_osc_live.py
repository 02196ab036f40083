"""A hundred thousand datagrams of garbage."""

from __future__ import annotations

import re
import socket
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest
from live_servers import OscServer

from livejam.serving.osc_fields import Message
from livejam.serving.osc_messages import (
    FROM_SERVER,
    Context,
    Hello,
    Level,
    PacketTest,
    Predict,
    Reset,
    Stream,
    Undo,
    UpdateR,
    W,
    Welcome,
    read_message,
)
from livejam.serving.osc_word_messages import Prompt

pytestmark = pytest.mark.live
DATAGRAMS, GROWTH_MB = 100_000, 40


@pytest.fixture
def server() -> Iterator[OscServer]:
    made = OscServer()
    yield made
    made.process.kill()


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


def test_garbage_does_no_harm(server: OscServer) -> None:
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
        assert max(memory) - max(memory[: len(memory) // 5]) < GROWTH_MB, memory
        client.settimeout(5)
        assert welcomed(client, server), "it still answers"
    summary = server.stop()
    sys.stdout.write(f"memory {memory[0]:.0f} to {memory[-1]:.0f} MB\n{summary}\n")
    received = int(re.findall(r"(\d+) datagrams", summary)[0])
    assert received > 0.95 * DATAGRAMS


def welcomed(client: socket.socket, server: OscServer) -> bool:
    """Whether a greeting is answered within five seconds."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        client.sendto(Hello().datagram(), ("127.0.0.1", server.port))
        for _ in range(500):
            if isinstance(read_message(client.recv(1 << 16), FROM_SERVER), Welcome):
                return True
    return False
