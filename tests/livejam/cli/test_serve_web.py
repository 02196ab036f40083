"""`livejam serve web` as a user types it."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from commands import REPOSITORY
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from livejam.cli import main as livejam_cli
from livejam.serving.web_frames import MOST_BYTES, Heard, read_played, write_heard
from livejam.serving.web_messages import Begin

BLOCK, RATE = 512, 44_100
QR = "█▀▄"


def refused(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert livejam_cli.main(["serve", "web", "--checkpoint", "liveband-pocket", *options]) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    return line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--port 70000", "--port is 70000"),
        ("--musicians 0", "--musicians is 0"),
        ("--idle 0", "--idle is 0"),
        ("--sample-rate 100", "--sample-rate is 100"),
        ("--certificate cert.pem", "both a certificate and its key"),
        ("--certificate cert.pem --key key.pem", "there is no file cert.pem"),
        ("--host 192.0.2.1", "choose another --port or --host"),
        ("--port 0 --songs nowhere", "nowhere"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(
    options: str, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in refused(capsys, *options.split())


def test_a_port_that_is_taken_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert "choose another --port" in refused(capsys, "--port", str(other.getsockname()[1]))


def test_a_file_that_is_no_certificate_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("no certificate")
    files = ("--certificate", str(tmp_path / "x.pem"), "--key", str(tmp_path / "x.pem"))
    assert "are no certificate with its key" in refused(capsys, "--port", "0", *files)


def test_without_the_extra_the_sentence_names_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "pip install 'livejam[serve]'" in refused(capsys)


@contextmanager
def server(last: str, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process of its own, and what it printed until it was ready: to a line that begins so."""
    command = [sys.executable, "-m", "livejam.cli.main", "serve", "web", "--checkpoint", "liveband-pocket", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    assert process.stdout is not None
    try:
        lines = [""]
        while not lines[-1].startswith(last):
            lines.append(process.stdout.readline())
            assert lines[-1], "it ended before it was ready"
        yield process, "".join(lines)
    finally:
        process.kill()
        process.wait()


def closing_code(connection: ClientConnection) -> int | None:
    """The code with which the server ends a connection."""
    try:
        while True:
            connection.recv(timeout=30)
    except ConnectionClosed as closed:
        return closed.rcvd and closed.rcvd.code


def test_the_command_serves_a_network_with_a_token(rendered_songs: Path) -> None:
    options = ("--host", "0.0.0.0", "--port", "0", "--songs", str(rendered_songs))
    with server("Over http, browsers keep the microphone", *options) as (process, printed):
        found = re.search(r"http://[^:/]+:(\d+)(/[\w-]{16}/)", printed)
        assert found is not None, printed
        assert set(QR) <= set(printed), "a QR code"
        here = f"127.0.0.1:{found[1]}"
        with urllib.request.urlopen(f"http://{here}{found[2]}", timeout=30) as page:
            assert "server" not in page.headers
            assert b"<title>livejam</title>" in page.read()
        with pytest.raises(InvalidStatus), connect(f"ws://{here}/jam"):
            pass
        with connect(f"ws://{here}{found[2]}jam", max_size=None) as connection:
            assert json.loads(connection.recv())["kind"] == "welcome"
            connection.send(Begin(("Percussive",), 0).text())
            assert json.loads(connection.recv())["kind"] == "begun"
            for number in range(40):
                connection.send(write_heard(Heard(number, number * BLOCK, np.zeros(BLOCK, dtype=np.float32))))
            frames = (connection.recv(timeout=30) for _ in range(100))
            played = read_played(next(frame for frame in frames if isinstance(frame, bytes)))
            assert played.row == 0
            connection.send(bytes(MOST_BYTES + 1))
            assert closing_code(connection) == 1009
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
