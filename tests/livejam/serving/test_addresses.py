"""What is this machine alone, and what only looks like it."""

from __future__ import annotations

import pytest

from livejam.serving.addresses import is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_its_own_addresses(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "192.168.0.7", "127.0.0.1.example.org", "localhost.example.org", "127."]
)
def test_everything_else(host: str) -> None:
    assert not is_loopback(host)
