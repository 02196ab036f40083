"""Fetching from a server on this machine: resumed, checked, atomic; and one sentence when it cannot be."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from commands import REPOSITORY

from livejam.checkpoints import download
from livejam.checkpoints import weights as table
from livejam.checkpoints.weights import SUMS, WEIGHTS, WeightFile, Weights, faults, find_sets, find_weights
from livejam.cli import main as cli
from livejam.errors import UserError

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves one file, with ranges; `/truncated` ends early, `/page` is a web page, `/gated` wants an account."""

    ranges: list[str | None]

    def do_GET(self) -> None:
        Handler.ranges.append(self.headers.get("Range"))
        if self.path == "/gated":
            self.send_error(401)
            return
        if self.path == "/page":
            self.answer(200, b"<html></html>", "text/html")
            return
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        if start >= len(CONTENT):
            self.send_error(416)
            return
        whole = self.path != "/no_ranges"
        self.answer(206 if start and whole else 200, CONTENT[start if whole else 0 :], "application/octet-stream")

    def answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status == 206:
            self.send_header("Content-Range", f"bytes {len(CONTENT) - len(body)}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/truncated" else body)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("LIVEJAM_WEIGHTS", str(tmp_path))
    Handler.ranges = []
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


def weights(url: str, size_bytes: int | None = len(CONTENT), sha256: str | None = DIGEST, gate: str = "") -> Weights:
    file = WeightFile("sub/model.bin", url, size_bytes, sha256)
    return Weights("toy", "a test", "none", (file,), reads="sub/model.bin", gate=gate)


def test_fetches_whole_and_verifies(server: str) -> None:
    toy = weights(f"{server}/file")
    download.fetch(toy)
    assert toy.require().read_bytes() == CONTENT
    assert faults(toy) == []
    assert (toy.folder / SUMS).read_text() == f"{DIGEST}  sub/model.bin\n"
    download.fetch(toy)
    assert len(Handler.ranges) == 1, "what is here is not fetched again"


@pytest.mark.parametrize("path", ["file", "no_ranges"])
def test_goes_on_where_it_stopped(server: str, path: str) -> None:
    toy = weights(f"{server}/{path}")
    part = toy.folder / "sub/model.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:12345])
    download.fetch(toy)
    assert Handler.ranges == ["bytes=12345-"]
    assert toy.require().read_bytes() == CONTENT
    assert not part.exists()


def test_an_interrupted_download_keeps_what_arrived(server: str) -> None:
    toy = weights(f"{server}/truncated")
    with pytest.raises(UserError, match="is kept"):
        download.fetch(toy)
    assert toy.missing, "half a file never takes its place"
    assert (toy.folder / "sub/model.bin.part").read_bytes() == CONTENT[: len(CONTENT) // 2]
    download.fetch(weights(f"{server}/file"))
    assert toy.require().read_bytes() == CONTENT


@pytest.mark.parametrize(("size_bytes", "sha256"), [(None, "0" * 64), (len(CONTENT), "12345678"), (7, None)])
def test_a_wrong_file_is_refused(server: str, size_bytes: int | None, sha256: str | None) -> None:
    toy = weights(f"{server}/file", size_bytes, sha256)
    with pytest.raises(UserError, match="not the published file"):
        download.fetch(toy)
    assert not [path for path in toy.folder.rglob("*") if path.is_file()]


def test_a_part_that_is_too_long_starts_over(server: str) -> None:
    toy = weights(f"{server}/file", None, DIGEST)
    part = toy.folder / "sub/model.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT + b"more")
    download.fetch(toy)
    assert toy.require().read_bytes() == CONTENT


def test_refusals_name_the_way_out(server: str) -> None:
    with pytest.raises(UserError, match="on request only: accept the licence"):
        download.fetch(weights(f"{server}/gated", gate="accept the licence"))
    with pytest.raises(UserError, match=r"web page.*sub/model\.bin"):
        download.fetch(weights(f"{server}/page"))


def test_the_token_stays_with_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    for url, sent in (("https://huggingface.co/x", True), ("https://example.org/x", False)):
        request = download._request(WeightFile("x", url), 0)
        assert ("Authorization" in request.unredirected_hdrs) == sent
        assert "Authorization" not in request.headers, "a redirect would carry it away"


def test_damage_is_found(server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    toy = weights(f"{server}/file", None, None)
    monkeypatch.setattr(table, "WEIGHTS", (toy,))
    monkeypatch.setattr("livejam.cli.weights.WEIGHTS", (toy,))
    assert cli.main(["weights", "fetch", "toy"]) == 0
    assert cli.main(["weights", "verify"]) == 0
    toy.require().write_bytes(CONTENT[:-1] + b"x")
    assert cli.main(["weights", "verify"]) == 1
    assert "has changed since it was fetched" in capsys.readouterr().out


def test_one_name_stands_for_all_that_metrics_ask_for(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they ask for is read from their code."""
    code = "".join(path.read_text() for path in (REPOSITORY / "metrics").rglob("*.py"))
    asked = set(re.findall(r'(?:weights_file|find_weights)\("(\w+)"', code))
    assert {weights.name for weights in find_sets("metrics")} == asked
    here = tuple(replace(weights, files=(WeightFile("model.bin", f"{server}/file"),)) for weights in WEIGHTS)
    monkeypatch.setattr(table, "WEIGHTS", here)
    monkeypatch.setattr("sys.argv", ["livejam", "weights", "fetch", "metrics"])
    assert cli.main() == 0
    assert {weights.name for weights in here if not weights.missing} == asked


def test_offline_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIVEJAM_WEIGHTS", str(tmp_path))
    toy = weights("http://127.0.0.1:9/file")
    monkeypatch.setattr(table, "WEIGHTS", (toy,))
    assert cli.main(["weights", "fetch", "toy"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "cannot be reached" in err
    with pytest.raises(UserError, match="livejam weights fetch toy"):
        toy.require()


def test_the_table_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEJAM_WEIGHTS", str(tmp_path))
    assert len({weights.name for weights in WEIGHTS}) == len(WEIGHTS)
    for entry in WEIGHTS:
        assert entry.licence
        assert entry.folder == tmp_path / entry.name
        for file in entry.files:
            assert file.url.startswith("https://")
            assert not Path(file.path).is_absolute()
            assert ".." not in Path(file.path).parts
            assert file.sha256 is None or (len(file.sha256) in (8, 64) and int(file.sha256, 16) >= 0)
        reads = Path(entry.reads)
        assert any(Path(file.path).is_relative_to(reads) for file in entry.files)
    with pytest.raises(UserError, match="did you mean mimi"):
        find_weights("mimmi")
