"""`livejam perform` over the page's WebSocket: what comes back is the model's answer, and it can be played again."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import uvicorn
from test_web_server import offline
from web_stage import RATE, app_with, tune

from livejam.cli import main as livejam_cli
from livejam.serving.web_limits import Limits
from livejam.serving.web_server import open_port

SECONDS = 3.0


@pytest.fixture
def url() -> Iterator[str]:
    """The address of a server for one musician."""
    with open_port("127.0.0.1", 0) as listening:
        options = {"log_level": "warning", "lifespan": "off", "ws": "websockets-sansio"}
        server = uvicorn.Server(uvicorn.Config(app_with(Limits(musicians=1)), **options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.should_exit = True
        thread.join(timeout=30)


def test_a_performance_comes_back_and_is_played_again(url: str, tmp_path: Path) -> None:
    mix, out = tmp_path / "song.wav", tmp_path / "performed"
    soundfile.write(mix, tune(SECONDS), RATE, subtype="FLOAT")
    assert livejam_cli.main(["perform", "--server", url, "--mix", str(mix), "--out", str(out), "--no-beats"]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["instruments"] == ["Percussive"]
    heard_N, _ = soundfile.read(out / "mix.wav", dtype="float32")
    wanted_N = offline(("Percussive",), 0, heard_N)[0]
    replayed = []
    for place in ("again", "once_more"):
        options = ["--replay", str(out / "sent.performance"), "--checkpoint", "liveband-pocket"]
        assert livejam_cli.main(["perform", *options, "--out", str(tmp_path / place)]) == 0
        replayed.append(soundfile.read(tmp_path / place / "answer.wav", dtype="float32")[0])
    np.testing.assert_array_equal(*replayed)
    samples = min(len(wanted_N), len(replayed[0]))
    assert samples > 2 * RATE
    np.testing.assert_allclose(replayed[0][:samples], wanted_N[:samples], atol=1e-4)
    sounded_N, _ = soundfile.read(out / "answer.wav", dtype="float32")
    assert np.abs(sounded_N).max() > 0.01


def test_who_is_not_there_or_refuses_is_one_sentence(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mix = tmp_path / "song.wav"
    soundfile.write(mix, tune(1.0), RATE)
    for server, words in (("ws://127.0.0.1:1/", "nobody answers"), (f"{url}wrong-token/", "nobody answers")):
        options = ["--server", server, "--mix", str(mix), "--out", str(tmp_path / "performed"), "--no-beats"]
        assert livejam_cli.main(["perform", *options]) == 2
        line = capsys.readouterr().err
        assert line.startswith("error: ")
        assert words in line
