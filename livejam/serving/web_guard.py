"""Who may come in: whoever knows the token, and no page of another site."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from livejam.serving.addresses import is_loopback

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS = {
    "content-security-policy": "default-src 'self'; media-src 'self' blob:; connect-src 'self' blob: ws: wss:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}
"""Of every answer. The address holds the token, so it is told to nobody."""


class Guard:
    """Refuses requests before anything else sees them.

    Args:
        app: sees the others, without the token.
        token: the first word of every path; empty = none, and only this machine's own names are answered.
    """

    def __init__(self, app: App, token: str) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request or a WebSocket (ASGI 3)."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(self._without_token(scope), receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refusal[:100]})
        else:
            await _refuse(_with_headers(send), refusal)

    def _refusal(self, scope: Scope) -> str | None:
        """Why a request is refused, in a sentence."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin")
        # a page of another site may lead its own name here, but cannot change the name that the browser then sends
        if not self._token and not is_loopback(_hostname(host)):
            return "This page is for this machine alone. Open it as http://127.0.0.1 with the port."
        if self._token and not secrets.compare_digest(_first_word(scope["path"]).encode(), self._token.encode()):
            return "Open the whole address that livejam printed: it ends with a long word, which is the key."
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return "Another site's page cannot play here. Open the address that livejam printed."
        return None

    def _without_token(self, scope: Scope) -> Scope:
        if not self._token:
            return scope
        prefix = f"/{self._token}"
        return {**scope, "path": scope["path"].removeprefix(prefix) or "/", "raw_path": b"", "root_path": ""}


def _first_word(path: str) -> str:
    return path.removeprefix("/").partition("/")[0]


def _hostname(host: str) -> str:
    """The name in a host header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _with_headers(send: Send) -> Send:
    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", ()), *own]}
        await send(message)

    return sent


async def _refuse(send: Send, sentence: str) -> None:
    kind = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 403, "headers": kind})
    await send({"type": "http.response.body", "body": f"{sentence}\n".encode()})
