"""What every test shares: one thread (or OMP_NUM_THREADS), fixed seeds, no network, and a few rendered songs."""

from __future__ import annotations

import logging
import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch  # noqa: F401 (its log keeps the stream of the first import, which must outlive a test)
import numpy as np
import pytest
import torch
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

# The same examples every time: a run judges the code, not its luck. `--hypothesis-profile default` explores.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

SEED = 20
SONGS = 3
LOCAL = {"localhost", "127.0.0.1", "::1", ""}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)


@pytest.fixture(autouse=True)
def _settings_kept() -> Iterator[None]:
    """The next test may be any: commands settle on a number of threads, but nothing may leave Lightning's log quiet."""
    log = logging.getLogger("lightning.pytorch")
    level, threads = log.level, torch.get_num_threads()
    yield
    left = log.level
    log.setLevel(level)
    torch.set_num_threads(threads)
    assert left == level, "the test left another level of Lightning's log"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that leaves this machine; two-process tests need the local ones."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        local = self.family not in (socket.AF_INET, socket.AF_INET6) or address[0] in {*LOCAL, socket.gethostname()}
        if not local:
            raise RuntimeError(f"a test wanted the network: {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def rendered_songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pocket-Slakh with one song each for training, validation and test. Tests must not write into it."""
    from datamodules.pocket_slakh.render import render_songs

    root = tmp_path_factory.mktemp("songs") / "pocket"
    render_songs(root, SONGS, seed=1, workers=1)
    return root


@pytest.fixture
def lightning_command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run the `lightning` console script inside this process: arguments → (status, standard error)."""
    from lightning_modules import cli

    def command(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["lightning", *map(str, arguments)])
        capfd.readouterr()
        try:
            status = cli.main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        return status, capfd.readouterr().err

    return command


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js, which runs pages' scripts that need no browser."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not installed, which runs the pages' scripts without a browser")
    return program
