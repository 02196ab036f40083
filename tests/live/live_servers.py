"""Both servers as processes of their own."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

from commands import REPOSITORY

ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`livejam serve` with the bundled model.

    Args:
        options: of the command.
        ready: what it prints when it can be played to.
    """

    answer_samples: int
    """The most that is lost with a packet."""

    def __init__(self, *options: str, ready: str) -> None:
        command = [sys.executable, "-m", "livejam.cli.main", "serve", *options, "--checkpoint", "liveband-pocket"]
        self.process = subprocess.Popen(
            command, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self.process.stdout
        self.greeting = ""
        while not re.search(ready, self.greeting):
            line = self.process.stdout.readline()
            assert line, "the server ended before it was ready"
            self.greeting += line

    @property
    def address(self) -> tuple[str, ...]:
        """How `livejam perform` finds it."""
        raise NotImplementedError

    @property
    def memory_mb(self) -> float:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize() / 1e6

    def stop(self) -> str:
        """End it as `kill` does, and get what it says."""
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=30)
        assert "Traceback" not in err, err
        return out


class OscServer(Server):
    """For Max, Pure Data and others."""

    answer_samples = 1024

    def __init__(self) -> None:
        self.port, self.reply_port = free_port(), free_port()
        ports = ("--port", str(self.port), "--reply-port", str(self.reply_port))
        super().__init__("osc", "--instrument", "drums", *ports, ready="Ctrl-C")

    @property
    def address(self) -> tuple[str, ...]:
        return "--server", f"osc://127.0.0.1:{self.port}", "--reply-port", str(self.reply_port)

    def stop(self) -> str:
        said = super().stop()
        assert self.process.returncode == 0
        return said


class WebServer(Server):
    """The page's."""

    answer_samples = 4096

    def __init__(self) -> None:
        super().__init__("web", "--port", "0", ready=r"http://\S+")

    @property
    def address(self) -> tuple[str, ...]:
        found = re.search(r"http://\S+", self.greeting)
        assert found
        return "--server", found[0]
