"""What the tests of servers share."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js, which runs the page's scripts that need no browser."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not installed, which runs the page's scripts without a browser")
    return program
