"""`livejam serve`: a model that other programs play with over a network."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livejam.cli.card import MODEL_HELP
from livejam.cli.processor import add_processor
from livejam.cli.publish import add_trust, find_trusted
from livejam.cli.serve_web import add_serve_web
from livejam.errors import UserError
from livejam.option_ranges import Range, require_number
from livejam.outputs import add_overwrite, require_free

if TYPE_CHECKING:
    from livejam.serving.named_references import NamedReferences
    from livejam.serving.osc_musician import OscMusician, Reply, SessionMaker
    from livejam.serving.recordings import Record

PORTS = Range(1, 65_535)
RATES = Range(8_000, 192_000)
LAST_SEED = 2**31 - 100


def add_serve(commands: Any) -> None:
    """Add the command to the parser's commands."""
    serve = commands.add_parser(
        "serve",
        help="let browsers, Max, Pure Data and other programs play with a model",
        description="Let a model play with browsers or other programs over a network, until Ctrl-C.",
        epilog="examples:\n  livejam serve osc --checkpoint liveband-pocket --instrument drums\n"
        "  livejam serve web --checkpoint liveband-pocket\n"
        "  livejam perform --server osc://127.0.0.1:7000 --mix song.wav --out performed",
    )
    servers = serve.add_subparsers(metavar="PROTOCOL", required=True)
    add_serve_osc(servers)
    add_serve_web(servers)


def add_serve_osc(servers: Any) -> None:
    """Add the OSC server to the servers."""
    osc = servers.add_parser(
        "osc",
        help="OSC over UDP, for Max, Pure Data, SuperCollider and others",
        description="A musician's program sends sound and gets the accompaniment back: continuously (/stream), or hop\n"
        "by hop in the published protocol of Karchkhadze and Dubnov (/context). docs/osc.md lists all messages.\n"
        "One musician plays at a time. Answers go to the machine that sends, at the reply port.",
        epilog="examples:\n  livejam serve osc --checkpoint liveband-pocket --instrument drums\n"
        "  livejam serve osc --checkpoint liveband-pocket --instrument bass --instrument piano --listen-to-each-other\n"
        "  livejam serve osc --checkpoint runs/quickstart/checkpoints/last.ckpt --host 0.0.0.0 --port 7000",
    )
    osc.add_argument("--checkpoint", type=Path, required=True, metavar="C", help=MODEL_HELP)
    osc.add_argument("--port", type=int, default=7000, metavar="N", help="UDP port that livejam listens at (7000)")
    osc.add_argument(
        "--reply-port", type=int, default=8000, metavar="N", help="UDP port that your program listens at (8000)"
    )
    osc.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS",
        help="address of this machine to listen at (127.0.0.1: programs on this machine; 0.0.0.0: everybody's)",
    )  # fmt: skip
    osc.add_argument(
        "--record", type=Path, metavar="FILE",
        help="keep all that is sent, for `livejam perform --replay FILE` and reports of faults",
    )  # fmt: skip
    osc.add_argument(
        "--like", action="append", metavar="NAME=WAV",
        help="a recording whose sound /reference may ask for by this name, for models that take references; repeat it",
    )  # fmt: skip
    add_band(osc)
    add_overwrite(osc)
    osc.set_defaults(run=_serve_osc)


def add_band(parser: argparse.ArgumentParser) -> None:
    """Add what plays, which does not depend on the protocol."""
    parser.add_argument(
        "--instrument", action="append", metavar="NAME",
        help="one that the model learnt: Piano, Bass, Drums, …, or Any; repeat it for several that play together",
    )  # fmt: skip
    parser.add_argument("--listen-to-each-other", action="store_true", help="several instruments also hear each other")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="equal seeds give equal notes (0)")
    parser.add_argument(
        "--sample-rate", type=int, default=44_100, metavar="HZ", help="of the sound in both directions (44100)"
    )
    add_processor(parser)
    add_trust(parser)


def _serve_osc(options: argparse.Namespace) -> int:
    require_osc()
    for name in ("port", "reply_port"):
        require_number(f"--{name.replace('_', '-')}", getattr(options, name), PORTS)
    require_number("--sample-rate", options.sample_rate, RATES)
    require_number("--seed", options.seed, Range(0, LAST_SEED))

    if options.record is not None:
        require_free({"--record": options.record}, (), options.overwrite)

    from livejam import load
    from livejam.cli.stage import say
    from livejam.serving.addresses import is_loopback
    from livejam.serving.mono_sessions import mono_session
    from livejam.serving.named_references import read_named
    from livejam.serving.osc_server import OscServer

    player = load(options.checkpoint, find_trusted(options.trust), options.on)
    make_session = partial(mono_session, player, options.sample_rate, options.listen_to_each_other, seed=options.seed)
    make = _musician_maker(options, make_session, read_named(options.like or [], player))
    with _recorded(options, make_session) as record:
        server = OscServer(make, options.host, options.port, options.reply_port, say, record)
        print(_greeting(options, server.desk.musician), flush=True)
        if not is_loopback(options.host):
            say("everybody on this network can play, and change what is played: OSC knows no passwords")
        with _until_asked():
            server.run()
    print(_summary(server.desk.musician, server.desk.counts))
    return 0


@contextmanager
def _until_asked() -> Iterator[None]:
    """Ctrl-C ends it, and so does `kill`."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write("\n")
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _recorded(options: argparse.Namespace, make_session: SessionMaker) -> Iterator[Record]:
    """What takes the packets that are sent, which are kept if that was asked for."""
    from livejam.serving.recordings import Head, recording

    if options.record is None:
        yield lambda seconds, packet, sender: None
        return
    names = make_session(options.instrument).instruments
    head = Head("osc", options.sample_rate, names, options.seed, options.listen_to_each_other)
    with recording(options.record, head) as record:
        yield record


def _greeting(options: argparse.Namespace, musician: OscMusician) -> str:
    """What plays, and where."""
    told = musician.welcome()
    return (
        f"{options.checkpoint} plays {told.instruments} {1000 * told.lead_samples / told.sample_rate_hz:.0f} ms "
        f"ahead at {told.sample_rate_hz} Hz\nOSC: send to {options.host}:{options.port}, listen at port "
        f"{options.reply_port}; Ctrl-C ends it"
    )


def require_osc() -> None:
    """Refuse to go on without the package that speaks OSC.

    Raises:
        UserError: names what to install.
    """
    try:
        import pythonosc  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError("OSC needs the package python-osc; pip install 'livejam[serve]' installs it") from error


def _musician_maker(options: argparse.Namespace, make_session: SessionMaker, references: NamedReferences) -> Any:
    from livejam.cli.stage import say
    from livejam.serving.line import Line
    from livejam.serving.osc_musician import OscMusician
    from livejam.streaming import Session

    def make_line(session: Session, send: Any) -> Line:
        line = Line(session, send, say=say)
        line.start()
        return line

    def make(reply: Reply) -> OscMusician:
        return OscMusician(make_session, make_line, options.instrument, reply, say, references)

    return make


def _summary(musician: OscMusician, counts: Any) -> str:
    """What happened, in two lines."""
    line, windows = musician.line.meters(), musician.windows.counts
    return (
        f"heard {line.seconds:.1f} s in {line.blocks} blocks; {line.lost_ms:.0f} ms in {line.gaps} gaps did not come "
        f"in time, {line.late} blocks came too late and {line.duplicates} twice; answers took "
        f"{line.latency_p50_ms:.1f} ms (longest {line.latency_max_ms:.1f} ms)\n{windows.batches} windows; "
        f"{counts.received} datagrams, of which {counts.malformed} were no OSC, {counts.refused} refused and "
        f"{counts.strangers} somebody else's"
    )
