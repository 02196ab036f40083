"""A server on this machine that speaks S3, moto's, and folders in it.

It needs an environment of its own (`make test-slow` makes it), because boto3 does not go with the constraints.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import REPOSITORY

MOTO = REPOSITORY / "build/moto/bin/moto_server"
KEYS = {
    "AWS_ACCESS_KEY_ID": "someone",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
}


@contextmanager
def s3_server() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The process and its address."""
    program = os.environ.get("MOTO_SERVER", str(MOTO))
    if not Path(program).exists():
        pytest.skip(f"no moto_server in {MOTO.parent}: `make {MOTO.relative_to(REPOSITORY)}` installs it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # in this process's environment, packages of another Python would come first
    environment = {**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, "MOTO_S3_CUSTOM_ENDPOINTS": ""}
    process = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)], env=environment, stderr=subprocess.DEVNULL
    )
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield process, f"http://127.0.0.1:{port}"
    process.send_signal(signal.SIGCONT)
    process.terminate()
    process.wait(timeout=20)


def copied_to_s3(folder: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a copy of a folder; this process's environment has the keys from now on."""
    obstore = pytest.importorskip("obstore")
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    subprocess.run(["curl", "-sf", "-X", "PUT", f"{endpoint}/songs"], check=True)
    store = obstore.store.from_url("s3://songs/some/bank")
    for path in [file for file in folder.rglob("*") if file.is_file()]:
        obstore.put(store, path.relative_to(folder).as_posix(), path.read_bytes())
    return "s3://songs/some/bank"
