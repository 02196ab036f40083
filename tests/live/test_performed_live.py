"""Ten minutes at real time over both servers, on a clean and on a bad line.

`LIVEJAM_LIVE_SECONDS` says how long. It needs a machine with nothing else to do, or `chrt -r 5` before the command.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from live_servers import ENVIRONMENT, OscServer, Server, WebServer

pytestmark = pytest.mark.live
RATE = 44_100
SECONDS = float(os.environ.get("LIVEJAM_LIVE_SECONDS", "600"))
GROWTH_MB = 40


@pytest.fixture(params=[OscServer, WebServer], ids=["OSC", "WebSocket"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    made = request.param()
    yield made
    made.process.kill()


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory, rendered_songs: Path) -> Path:
    """A rendered song, again and again, for as long as the test takes."""
    audio_NA, rate = soundfile.read(next(rendered_songs.glob("**/mix.flac")), dtype="float32", always_2d=True)
    path = tmp_path_factory.mktemp("song") / "song.wav"
    soundfile.write(path, np.resize(audio_NA.mean(axis=1), round(SECONDS * rate)), rate)
    return path


def performed(server: Server, song: Path, out: Path, *faults: str) -> dict[str, Any]:
    """What the performer saw of the network; the server's memory must not grow meanwhile."""
    command = ["perform", *server.address, "--mix", str(song), "--out", str(out), "--no-beats", *faults]
    musician = subprocess.Popen([sys.executable, "-m", "livejam.cli.main", *command], env=ENVIRONMENT)
    memory = []
    while musician.poll() is None:
        time.sleep(min(10, SECONDS / 20))
        memory.append(server.memory_mb)
    assert musician.returncode == 0
    network: dict[str, Any] = json.loads((out / "report.json").read_text())["network"]
    sys.stdout.write(f"{network}\nmemory {memory[0]:.0f} to {memory[-1]:.0f} MB\n{server.stop()}\n")
    early = max(memory[: max(1, len(memory) // 5)])
    assert max(memory) - early < GROWTH_MB, memory
    return network


def test_a_clean_line_has_no_gap(server: Server, song: Path, tmp_path: Path) -> None:
    network = performed(server, song, tmp_path / "out")
    assert (network["gaps"], network["lost_on_the_way"]) == (0, 0), network


def test_a_bad_line_is_survived(server: Server, song: Path, tmp_path: Path) -> None:
    faults = ("--loss", "2%", "--jitter-ms", "20", "--clock-drift-ppm", "200")
    network = performed(server, song, tmp_path / "out", *faults)
    lost = network["lost_on_the_way_back"]
    assert 0 < network["gaps"] < 3 * lost
    assert network["missing_ms"] < 1500 * lost * server.answer_samples / RATE
    assert network["latency_ms"]["p99"] < 250
    assert network["buffer_ms"]["max"] < 500
