"""Debian's Chromium without a window, driven through its DevTools protocol: a page as a visitor has it."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

PATIENCE_SECONDS = 60.0
QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--mute-audio",
    "--no-first-run",
    "--disable-extensions",
    "--disable-component-update",
    "--disable-background-networking",
    "--remote-debugging-port=0",
    "--autoplay-policy=no-user-gesture-required",
)


def installed() -> str | None:
    """Chromium's path, if it is there."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """A page in a browser.

    Args:
        socket: a connection to its DevTools.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; what the page complains about meanwhile is remembered."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=PATIENCE_SECONDS))
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result
            self._remember(message)

    def _remember(self, message: dict[str, Any]) -> None:
        kind, facts = message.get("method"), message.get("params", {})
        if kind == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(facts["exceptionDetails"])[:500])
        elif kind == "Log.entryAdded" and facts["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{facts['entry']['text']} {facts['entry'].get('url', '')}")
        elif kind == "Runtime.consoleAPICalled" and facts["type"] in ("error", "warning"):
            self.complaints.append(json.dumps(facts["args"])[:500])

    def open(self, url: str) -> None:
        """Load a page."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is awaited."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, condition: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < end, f"{condition} did not become true; the page complains: {self.complaints}"
            time.sleep(0.1)

    def text(self, selector: str) -> str:
        """What an element says."""
        return str(self.run(f"document.querySelector({json.dumps(selector)}).textContent")).strip()

    def click(self, selector: str) -> None:
        """Press an element."""
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def press(self, key: str, code: int, shift: bool = False) -> None:
        """Press a key of the keyboard: its DOM name, and the number that Windows gave it."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        facts = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 * shift}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **facts)
        self.call("Input.dispatchKeyEvent", type="keyUp", **facts)

    def look(self, width: int, height: int, dark: bool) -> None:
        """Another window and another colour scheme."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def picture(self, path: Path, whole: bool = True) -> None:
        """A screenshot."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def tree(self) -> list[tuple[str, str]]:
        """Role and name of everything that a screen reader meets."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        seen = [node for node in nodes if not node.get("ignored")]
        return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in seen]


@contextmanager
def browser(profile: Path, options: Sequence[str] = ()) -> Iterator[Callable[[], Page]]:
    """A browser with a fresh profile; calling what it yields opens a page."""
    program = installed()
    assert program is not None
    command = [program, *QUIET, f"--user-data-dir={profile}", *options, "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sockets = ExitStack()
    try:
        port = _port(profile / "DevToolsActivePort")

        def page() -> Page:
            target = httpx.put(f"http://127.0.0.1:{port}/json/new?about:blank", timeout=PATIENCE_SECONDS).json()
            return Page(sockets.enter_context(connect(target["webSocketDebuggerUrl"], max_size=None)))

        yield page
    finally:
        sockets.close()
        process.terminate()
        process.wait(timeout=PATIENCE_SECONDS)


def _port(file: Path) -> int:
    end = time.monotonic() + PATIENCE_SECONDS
    while not (file.is_file() and file.read_text().strip()):
        assert time.monotonic() < end, "the browser did not start"
        time.sleep(0.1)
    return int(file.read_text().split()[0])
