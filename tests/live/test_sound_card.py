"""The real PortAudio, and a sound server whose card exists only in memory but keeps time: JACK's dummy driver."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(shutil.which("jackd") is None, reason="needs JACK (apt install jackd2 libportaudio2)"),
]
SERVER = "livejam-test"
PLAY = """
import json, sys
import numpy as np
import livejam
from livejam.streaming import Session
from livejam.streaming.devices import SoundCard, list_devices
print(list_devices())
card = SoundCard(chunk_samples=int(sys.argv[1]))
session = Session(livejam.load("liveband-pocket"), sample_rate_hz=card.sample_rate_hz, channels=2)
kept = []
with card.opened(2) as stage:
    engine = stage.engine(session)
    try:
        stage.play(engine, sink=lambda captured, played: kept.append(played.copy()), seconds=float(sys.argv[2]))
    except livejam.errors.UserError as error:
        print(error)
played_AN = np.concatenate(kept, axis=1)
print(engine.statistics())
facts = {"samples": played_AN.shape[1], "loudest": float(abs(played_AN).max()), "latency": stage.latency_samples}
print(json.dumps(facts | vars(engine.statistics())))
"""


@pytest.fixture
def server() -> Iterator[subprocess.Popen[bytes]]:
    """JACK with two inputs and two outputs at 48 kHz, 256 samples at a time."""
    command = ["jackd", "-n", SERVER, "--no-realtime", "-d", "dummy", "-r", "48000", "-p", "256"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(2)
    yield process
    process.send_signal(signal.SIGTERM)
    process.wait(10)


def start(chunk: int, seconds: float) -> subprocess.Popen[str]:
    environment = os.environ | {"JACK_DEFAULT_SERVER": SERVER}
    command = [sys.executable, "-c", PLAY, str(chunk), str(seconds)]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("chunk", [64, 256, 512])
def test_it_plays_through_a_card(server: subprocess.Popen[bytes], chunk: int) -> None:
    output, errors = start(chunk, 8).communicate(timeout=120)
    facts = json.loads(output.splitlines()[-1])
    assert "JACK Audio Connection Kit" in output, errors
    assert 0.8 * 8 * 48000 < facts["samples"] < 1.02 * 8 * 48000  # the server skips what it has no time for
    assert facts["loudest"] > 0.01
    assert (facts["misses"], facts["overruns"], facts["late_ms"]) == (0, 0, 0)


def test_a_card_that_vanishes_is_one_sentence_and_what_was_played_is_kept(server: subprocess.Popen[bytes]) -> None:
    player = start(256, 60)
    time.sleep(10)
    server.kill()
    output, errors = player.communicate(timeout=60)
    assert "system stopped after" in output, errors
    assert "plug it in again and start again: what was played until then is kept" in output
    assert json.loads(output.splitlines()[-1])["samples"] > 48000
