"""`livejam serve web`: a page in the browser on which musicians play with a model."""

from __future__ import annotations

import argparse
import secrets
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livejam.cli.card import MODEL_HELP
from livejam.cli.processor import add_processor
from livejam.cli.publish import add_trust, find_trusted
from livejam.errors import UserError
from livejam.option_ranges import Range, require_number

if TYPE_CHECKING:
    from livejam.checkpoints.player import Player
    from livejam.serving.web_shared import Stage
    from livejam.serving.web_songs import DemoSong

PORTS, MUSICIANS = Range(0, 65_535), Range(1, 64)
RATES, SECONDS = Range(8_000, 96_000), Range(1, 86_400)
TOKEN_BYTES = 12
DOCUMENTED_ADDRESS = "192.0.2.1"
"""Belongs to nobody (RFC 5737). Nothing is sent there: the system is asked which way it would go."""


def add_serve_web(servers: Any) -> None:
    """Add the page's server to the servers."""
    web = servers.add_parser(
        "web",
        help="a page in the browser: play songs, files or the microphone to a model",
        description="Open the address that is printed in a browser: pick a demo song, a file or the microphone, and\n"
        "the model accompanies it live. Only this machine can open it, unless --host says otherwise; then the address\n"
        "holds a key, and a QR code brings it to a phone. Browsers let a page use the microphone only at this machine\n"
        "or over https, which needs --certificate and --key. docs/web.md explains all of it.",
        epilog="examples:\n  livejam serve web --checkpoint liveband-pocket\n"
        "  livejam serve web --checkpoint liveband-pocket --host 0.0.0.0 --port 8080 --musicians 4\n"
        "  livejam serve web --checkpoint liveband-pocket --host 0.0.0.0 --certificate cert.pem --key key.pem",
    )
    web.add_argument("--checkpoint", type=Path, required=True, metavar="C", help=MODEL_HELP)
    web.add_argument("--port", type=int, default=8080, metavar="N", help="port of the page; 0 takes a free one (8080)")
    web.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS",
        help="address of this machine to listen at (127.0.0.1: this machine alone; 0.0.0.0: the whole network)",
    )  # fmt: skip
    web.add_argument("--musicians", type=int, default=8, metavar="N", help="that may play at the same time (8)")
    web.add_argument("--certificate", type=Path, metavar="PEM", help="for https: the certificate")
    web.add_argument("--key", type=Path, metavar="PEM", help="for https: its key")
    web.add_argument(
        "--songs", type=Path, metavar="DIR",
        help="songs to choose from: a data set as `livejam data render` writes it (default: three songs, which the "
        "first start composes)",
    )  # fmt: skip
    web.add_argument("--listen-to-each-other", action="store_true", help="several instruments also hear each other")
    web.add_argument("--idle", type=float, default=60, metavar="S", help="seconds without sound that end a jam (60)")
    web.add_argument("--sample-rate", type=int, default=44_100, metavar="HZ", help="of the page's sound (44100)")
    add_processor(web)
    add_trust(web)
    web.set_defaults(run=_serve_web)


def _serve_web(options: argparse.Namespace) -> int:
    _require_options(options)
    _require_packages()

    from livejam import load
    from livejam.cli.demo_songs import demo_songs
    from livejam.serving.addresses import is_loopback
    from livejam.serving.web_server import make_app, open_port, serve

    token = "" if is_loopback(options.host) else secrets.token_urlsafe(TOKEN_BYTES)
    with open_port(options.host, options.port) as listening:
        player = load(options.checkpoint, find_trusted(options.trust), options.on)
        songs: Sequence[DemoSong] = demo_songs(options.songs)
        stage = _stage(options, player)
        print(_greeting(options, stage, address(options, listening, token)), flush=True)
        with suppress(KeyboardInterrupt):
            serve(make_app(stage, songs, token), listening, options.musicians, options.certificate, options.key)
    return 0


def _require_options(options: argparse.Namespace) -> None:
    """Refuse what cannot be served.

    Raises:
        UserError: a number is out of range, or a file is missing.
    """
    require_number("--port", options.port, PORTS)
    require_number("--musicians", options.musicians, MUSICIANS)
    require_number("--idle", options.idle, SECONDS)
    require_number("--sample-rate", options.sample_rate, RATES)
    if (options.certificate is None) != (options.key is None):
        raise UserError("https needs both a certificate and its key; give --certificate and --key, or neither")
    for name, path in (("--certificate", options.certificate), ("--key", options.key)):
        if path is not None and not path.is_file():
            raise UserError(f"there is no file {path}; {name} needs a file in PEM format")
    if options.certificate is not None:
        _require_pair(options.certificate, options.key)


def _require_pair(certificate: Path, key: Path) -> None:
    """Refuse what is no certificate with its key.

    Raises:
        UserError: it is none, or the key belongs to another one or has a password.
    """
    try:
        # without a password nobody is asked for one
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except OSError as error:
        raise UserError(
            f"{certificate} and {key} are no certificate with its key without a password, in PEM format; "
            "docs/web.md shows how to make both"
        ) from error


def _require_packages() -> None:
    try:
        import segno  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(
            f"the page needs the package {error.name}; pip install 'livejam[serve]' installs all that it needs"
        ) from error


def _stage(options: argparse.Namespace, player: Player) -> Stage:
    from livejam.batch import NAMES
    from livejam.cli.stage import say
    from livejam.serving.mono_sessions import mono_session
    from livejam.serving.web_limits import Limits
    from livejam.serving.web_shared import stage_of
    from livejam.streaming.batons import Baton
    from livejam.streaming.sharing import shared

    limits, baton = Limits(musicians=options.musicians, idle_seconds=options.idle), Baton()
    player = replace(player, instruments=player.instruments or NAMES)
    make = partial(mono_session, shared(player, baton), options.sample_rate, options.listen_to_each_other)
    return stage_of(options.checkpoint, player, options.sample_rate, make, baton, limits, say)


def address(options: argparse.Namespace, listening: socket.socket, token: str) -> str:
    """The page's address, as somebody else on the network has to type it."""
    port = listening.getsockname()[1]
    host = _own_address() if options.host in ("0.0.0.0", "::") else options.host
    host = f"[{host}]" if ":" in host else host
    scheme = "http" if options.certificate is None else "https"
    return f"{scheme}://{host}:{port}/{token}{'/' if token else ''}"


def _own_address() -> str:
    """This machine's address in its network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((DOCUMENTED_ADDRESS, 9))
            own: str = probe.getsockname()[0]
        except OSError:
            return socket.gethostname()
    return own


def _greeting(options: argparse.Namespace, stage: Stage, url: str) -> str:
    """What the terminal shows."""
    from livejam.serving.addresses import is_loopback

    lines = [f"{stage.model} plays {', '.join(stage.instruments)}", f"Open {url} in a browser; Ctrl-C ends it."]
    if not is_loopback(options.host):
        lines += ["", _qr_code(url), "Point a phone's camera at it. Whoever has this address can play."]
        if options.certificate is None:
            lines.append(
                "Over http, browsers keep the microphone from the page: demo songs and files work. For the microphone, "
                "give --certificate and --key."
            )
    return "\n".join(lines)


def _qr_code(text: str) -> str:
    import io

    import segno

    drawn = io.StringIO()
    segno.make(text, error="m", micro=False).terminal(drawn, compact=True)
    return drawn.getvalue()
