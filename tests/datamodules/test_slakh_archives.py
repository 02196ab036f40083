"""Downloads of Slakh2100 from a server on this machine: broken transfers, wrong files, full disks, hostile archives."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import tarfile
import threading
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from slakh_tree import write_tree

from datamodules import SlakhIndex
from datamodules.slakh_archives import ARCHIVES, Archive, download
from livejam.cli.data import VERSIONS
from livejam.cli.main import main
from livejam.errors import UserError

Usage = namedtuple("Usage", "total used free")


class Handler(BaseHTTPRequestHandler):
    """Sends at most `piece` bytes of the content per request, and then breaks off."""

    content = b""
    piece = 1 << 30
    ranges: list[str | None]

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.ranges.append(asked)
        start = int(asked[6:-1]) if asked else 0
        if start >= len(self.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(self.content)}")
            self.end_headers()
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        self.end_headers()
        self.wfile.write(self.content[start : start + self.piece])

    def log_message(self, *arguments: object) -> None:
        """Silence."""


@pytest.fixture
def handler() -> type[Handler]:
    return type("Fresh", (Handler,), {"ranges": []})


@pytest.fixture
def url(handler: type[Handler]) -> Iterator[str]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}/archive.tar.gz"
    running.shutdown()
    running.server_close()


@pytest.fixture
def archive(tmp_path: Path, handler: type[Handler], url: str) -> Archive:
    """A tiny data set as the server has it."""
    root = write_tree(tmp_path / "made/slakh_tiny", train=1, validation=0, test=0)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(root, "slakh_tiny")
    handler.content = packed.getvalue()
    return Archive("archive.tar.gz", url, hashlib.md5(handler.content).hexdigest(), unpacked=2.0)


def test_fetches_checks_and_unpacks(archive: Archive, tmp_path: Path, handler: type[Handler]) -> None:
    assert download(archive, tmp_path / "data") == [tmp_path / "data/slakh_tiny"]
    assert len(SlakhIndex.open(tmp_path / "data/slakh_tiny").songs) == 1
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["slakh_tiny"], "nothing else is left"
    assert handler.ranges == [None]


def test_a_transfer_that_breaks_off_again_and_again(archive: Archive, tmp_path: Path, handler: type[Handler]) -> None:
    handler.piece = len(handler.content) // 5 + 1
    download(archive, tmp_path / "data")
    assert len(handler.ranges) == 5
    assert handler.ranges[1:] == [f"bytes={number * handler.piece}-" for number in range(1, 5)]


def test_a_server_that_sends_nothing_more_keeps_what_has_arrived(
    archive: Archive, tmp_path: Path, handler: type[Handler]
) -> None:
    part = tmp_path / "data/archive.tar.gz.part"
    part.parent.mkdir()
    part.write_bytes(handler.content[:100])
    handler.piece = 0
    with pytest.raises(UserError, match=r"what has arrived is kept in .*\.part"):
        download(archive, tmp_path / "data")
    assert part.read_bytes() == handler.content[:100]
    handler.piece = 1 << 30
    download(archive, tmp_path / "data", keep_archive=True)
    assert (tmp_path / "data/archive.tar.gz").read_bytes() == handler.content


def test_a_part_that_is_whole_is_only_checked(archive: Archive, tmp_path: Path, handler: type[Handler]) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/archive.tar.gz.part").write_bytes(handler.content)
    download(archive, tmp_path / "data")
    assert handler.ranges == [f"bytes={len(handler.content)}-"]


def test_another_file_than_was_published_is_deleted(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"its MD5 is [0-9a-f]{32} instead of 0{32}\) and was deleted"):
        download(replace(archive, md5="0" * 32), tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_a_file_put_there_by_hand_is_checked_and_kept(archive: Archive, tmp_path: Path, handler: type[Handler]) -> None:
    path = tmp_path / "data/archive.tar.gz"
    path.parent.mkdir()
    path.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"is not the published file .*; delete it and start again"):
        download(archive, tmp_path / "data")
    assert path.read_bytes() == b"mine"
    path.write_bytes(handler.content)
    assert download(archive, tmp_path / "data") == [tmp_path / "data/slakh_tiny"]
    assert not handler.ranges


def test_too_little_space_is_said_before_a_byte_is_written(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, 10**7))
    with pytest.raises(UserError, match=r"needs about .* GB in .*, but 0\.0 GB are free"):
        download(archive, tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_what_is_there_already_is_not_overwritten(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "data/slakh_tiny").mkdir(parents=True)
    (tmp_path / "data/slakh_tiny/mine").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        download(archive, tmp_path / "data")
    assert (tmp_path / "data/slakh_tiny/mine").read_text() == "mine"
    assert (tmp_path / "data/archive.tar.gz").is_file(), "it need not be fetched again"


@pytest.mark.parametrize("name", ["../escaped", "/tmp/livejam-escaped", "link"])
def test_an_archive_that_leads_out_of_its_folder(
    archive: Archive, tmp_path: Path, handler: type[Handler], name: str
) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        if name == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(member)
    handler.content = packed.getvalue()
    # an absolute name loses its slash, which is as good
    with contextlib.suppress(UserError):
        download(replace(archive, md5=hashlib.md5(handler.content).hexdigest()), tmp_path / "data")
    assert not (tmp_path / "escaped").exists()
    assert not Path("/tmp/livejam-escaped").exists()
    assert not (tmp_path / "data/link").exists()


def test_the_command(tmp_path: Path, archive: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the real archives have the published sums, so a mirror of another file is refused."""
    assert main(["data", "download", "--version", "baby", "--out", str(tmp_path / "x"), "--url", archive.url]) == 2
    assert "is not the published file" in capsys.readouterr().err
    assert main(["data", "download"]) == 0
    assert "--version 2100-redux" in capsys.readouterr().out


def test_the_table_is_sound() -> None:
    assert tuple(ARCHIVES) == VERSIONS
    for archive in ARCHIVES.values():
        assert archive.url.startswith("https://zenodo.org/record/")
        assert archive.name in archive.url
        assert len(bytes.fromhex(archive.md5)) == 16
