"""The server of the page: the page itself, demo songs, and a WebSocket for every musician."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from livejam.errors import UserError
from livejam.serving.web_frames import MOST_BYTES
from livejam.serving.web_guard import App, Guard
from livejam.serving.web_musician import play
from livejam.serving.web_shared import Stage, welcome
from livejam.serving.web_songs import DemoSong, mixed

PAGE = Path(__file__).with_name("web")
"""The files of the page."""

MIXERS = 1
"""Songs that are mixed at the same time."""

CONNECTIONS_PER_MUSICIAN = 8
SPARE_CONNECTIONS = 32
"""A browser opens several connections for the files of the page."""


def make_app(stage: Stage, songs: Sequence[DemoSong], token: str) -> App:
    """The server as an ASGI application.

    Args:
        stage: plays.
        songs: that visitors can choose.
        token: the first word of every path; empty = none.
    """
    mixers = asyncio.Semaphore(MIXERS)

    async def facts(_: Request) -> Response:
        return JSONResponse(asdict(welcome(stage)))

    async def list_songs(_: Request) -> Response:
        return JSONResponse([{"title": song.title, "instruments": song.instruments} for song in songs])

    async def song(request: Request) -> Response:
        number = request.path_params["number"]
        if number >= len(songs):
            return PlainTextResponse("There is no such song.", 404)
        without = frozenset(request.query_params.getlist("without"))
        async with mixers:
            flac = await asyncio.to_thread(mixed, songs[number], without, stage.sample_rate_hz)
        return Response(flac, media_type="audio/flac")

    async def jam(websocket: WebSocket) -> None:
        await play(websocket, stage)

    routes = [
        Route("/facts", facts),
        Route("/songs", list_songs),
        Route("/songs/{number:int}", song),
        WebSocketRoute("/jam", jam),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ]
    return Guard(Starlette(routes=routes), token)


def open_port(host: str, port: int) -> socket.socket:
    """A port to listen at; 0 = any that is free.

    Raises:
        UserError: it is taken, or the address is not this machine's.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"nothing can listen at {host}, port {port} ({reason}); choose another --port or --host"
        ) from error
    # asyncio lets packets go at once only where a socket is named TCP; elsewhere an answer may wait 40 ms for nothing
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=listening.detach())


def serve(app: App, listening: socket.socket, musicians: int, certificate: Path | None, key: Path | None) -> None:
    """Serve until Ctrl-C."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # paths hold the token
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=MOST_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=5.0,
        ws_ping_timeout=15.0,
        limit_concurrency=CONNECTIONS_PER_MUSICIAN * musicians + SPARE_CONNECTIONS,
        timeout_graceful_shutdown=2,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    uvicorn.Server(config).run(sockets=[listening])
