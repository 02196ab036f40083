"""What tests do on either page, that of the server and that without one."""

from __future__ import annotations

import re

from chromium import Page


def ready(page: Page, url: str) -> Page:
    """The page, once it can be played to."""
    page.open(url)
    page.until("!document.querySelector('#start').disabled || document.querySelector('#status.problem')")
    assert not page.run("document.querySelector('#start').disabled"), page.text("#status")
    return page


def start(page: Page) -> None:
    page.click("#start")
    page.until("document.body.dataset.state === 'playing' || document.querySelector('#status.problem')")
    assert page.run("document.body.dataset.state") == "playing", page.text("#status")


def number(page: Page, selector: str) -> float:
    """The first number of a text."""
    found = re.search(r"-?[\d.]+", page.text(selector))
    return float(found[0]) if found else float("nan")
