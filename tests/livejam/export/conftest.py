"""One exported model for all tests of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from livejam.cli.main import main


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled LiveBand, by the command, which compares it with PyTorch."""
    folder = tmp_path_factory.mktemp("export") / "pocket"
    assert main(["export", "--checkpoint", "liveband-pocket", "--out", str(folder), "--parity-steps", "200"]) == 0
    return folder
