"""`livejam serve osc` as a process of its own, and a musician's program that speaks to it over a real socket.

Shapes: N audio samples.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from commands import REPOSITORY
from live_servers import free_port

from livejam.serving.osc_fields import Message
from livejam.serving.osc_messages import FROM_SERVER, Error, Level, Stream, StreamAnswer, read_message

BLOCK, NO_ROW = 512, 15
PATIENCE_SECONDS = 3.0


@dataclass(frozen=True)
class Client:
    """A musician's program.

    Args:
        socket: bound to the reply port.
        port: the server's.
    """

    socket: socket.socket
    port: int

    def send(self, message: Message | bytes) -> None:
        datagram = message if isinstance(message, bytes) else message.datagram()
        self.socket.sendto(datagram, ("127.0.0.1", self.port))

    def until(self, kind: type[Message]) -> Message:
        """The next message of a kind."""
        while not isinstance(message := read_message(self.socket.recv(1 << 16), FROM_SERVER), kind):
            pass
        return message

    def settled(self) -> None:
        """Come back when the session has done all that it was asked for: it does one thing after the other, and refuses
        the last one."""
        self.send(Level(0.0, NO_ROW))
        while f"row {NO_ROW}" not in getattr(self.until(Error), "sentence", ""):
            pass

    def play(self, heard_N: np.ndarray) -> np.ndarray:
        """What is answered to sound from position 0 on, until nothing more comes; NaN where nothing is."""
        answer_N = np.full(len(heard_N), np.nan, dtype=np.float32)
        self.socket.settimeout(0.01)
        for number, start in enumerate(range(0, len(heard_N), BLOCK)):
            self.send(Stream(number, start, heard_N[start : start + BLOCK]))
            while self._taken(answer_N):
                pass
        self.socket.settimeout(0.3)
        last = time.monotonic()
        while np.isnan(answer_N[-1]) and time.monotonic() < last + PATIENCE_SECONDS:
            last = time.monotonic() if self._taken(answer_N) else last
        return answer_N

    def _taken(self, answer_N: np.ndarray) -> bool:
        """Whether a piece of the answer has come."""
        try:
            message = read_message(self.socket.recv(1 << 16), FROM_SERVER)
        except TimeoutError:
            return False
        if not isinstance(message, StreamAnswer):
            return False
        end = max(message.play_at, min(len(answer_N), message.play_at + len(message.samples_N)))
        answer_N[message.play_at : end] = message.samples_N[: end - message.play_at]
        return True


@contextmanager
def served_osc(checkpoint: Path, *options: str) -> Iterator[Client]:
    """A program that plays with a checkpoint."""
    port, reply_port = free_port(), free_port()
    command = [sys.executable, "-m", "livejam.cli.main", "serve", "osc", "--checkpoint", str(checkpoint), *options]
    command += ["--port", str(port), "--reply-port", str(reply_port)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", reply_port))
        client.settimeout(60)
        try:
            client.recv(1 << 16)  # it is ready
            yield Client(client, port)
        finally:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert not re.search("Traceback|please report", out + err), err
