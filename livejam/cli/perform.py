"""`livejam perform`: a scripted musician plays a song to a server, and says what came back."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livejam import __version__
from livejam.cli.card import MODEL_HELP
from livejam.cli.processor import add_processor
from livejam.cli.publish import add_trust
from livejam.errors import UserError
from livejam.files import atomic_path
from livejam.option_ranges import Range, require_number
from livejam.outputs import add_overwrite, require_folder, require_free

if TYPE_CHECKING:
    from livejam.audio_files import Audio, Recording
    from livejam.checkpoints.player import Player
    from livejam.serving.performing import Performance, Terms, Transport
    from livejam.serving.recordings import Head, Record
    from livejam.serving.scores import Event

SERVER = re.compile(r"(\w+)://(\[[0-9a-fA-F:]+\]|[^:/\s]+):(\d{1,5})/?\Z")
WEB_SERVER = re.compile(r"(?:ws|http)s?://[^/\s]+(?:/[\w-]*)*\Z")
LONGEST_SECONDS, BEAT_SECONDS = 3600.0, 120.0
RANGES = {
    "jitter_ms": Range(0, 10_000),
    "loss": Range(0, 100),
    "clock_drift_ppm": Range(-10_000, 10_000),
    "stop_at": Range(0, LONGEST_SECONDS, open_low=True),
    "restart_at": Range(0, LONGEST_SECONDS, open_low=True),
    "change_at": Range(0, LONGEST_SECONDS, open_low=True),
    "seconds": Range(0.5, LONGEST_SECONDS),
    "transpose": Range(-24, 24),
    "tempo": Range(-50, 100),
    "seed": Range(0, 2**31 - 100),
    "block": Range(64, 1024),
    "reply_port": Range(1, 65_535),
}


def add_perform(commands: Any) -> None:
    """Add the command to the parser's commands."""
    perform = commands.add_parser(
        "perform",
        help="play a song to a server like a musician, with faults, and measure what comes back",
        description="Play a song to `livejam serve` in real time, as a musician would, over a network that delays and\n"
        "loses packets, and with a musician who stops, goes on, or changes tempo and key. DIR then holds answer.wav\n"
        "(what sounded), mix.wav (what was played), together.wav, report.json, picture.png, and sent.performance:\n"
        "what the server was sent, packet by packet. --replay plays that to a model again, without a server.",
        epilog="examples:\n  livejam perform --server osc://127.0.0.1:7000 --mix song.wav --out performed\n"
        "  livejam perform --server osc://127.0.0.1:7000 --mix song.wav --out performed --jitter-ms 20 --loss 2%\n"
        "  livejam perform --server osc://127.0.0.1:7000 --mix song.wav --out performed --stop-at 20 --restart-at 25\n"
        "  livejam perform --server osc://127.0.0.1:7000 --mix song.wav --out performed --tempo +8% --transpose 2\n"
        "  livejam perform --replay performed/sent.performance --checkpoint liveband-pocket --out again",
    )
    perform.add_argument("--server", metavar="URL", help="what to play to: osc://HOST:PORT, or the page's address")
    perform.add_argument("--mix", type=Path, metavar="WAV", help="what the musician plays (WAV or FLAC)")
    perform.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder for what comes back")
    perform.add_argument("--seconds", type=float, metavar="S", help="play only so much of it")
    perform.add_argument("--block", type=int, default=512, metavar="N", help="samples per packet (512)")
    perform.add_argument("--reply-port", type=int, default=8000, metavar="N", help="the server's (osc, 8000)")
    perform.add_argument("--seed", type=int, default=0, metavar="S", help="of faults and of the model's choices (0)")
    perform.add_argument(
        "--anticipate", action="store_true",
        help="ask a model that learnt several anticipations to play as far ahead as answers need to come in time",
    )  # fmt: skip
    perform.add_argument("--no-beats", action="store_true", help="compare no beats: needs no metrics extra")
    _add_faults(perform)
    replay = perform.add_argument_group("replay")
    replay.add_argument("--replay", type=Path, metavar="FILE", help="play a sent.performance again")
    replay.add_argument("--checkpoint", type=Path, metavar="C", help=f"to this model: {MODEL_HELP}")
    replay.add_argument(
        "--like", action="append", metavar="NAME=WAV",
        help="a recording that was asked for by this name, as for `livejam serve osc`; repeat it",
    )  # fmt: skip
    add_processor(replay)
    add_trust(replay)
    add_overwrite(perform)
    perform.set_defaults(run=_run)


def _add_faults(perform: argparse.ArgumentParser) -> None:
    network = perform.add_argument_group("faults of the network")
    network.add_argument("--jitter-ms", type=float, default=0.0, metavar="MS", help="packets take up to MS longer")
    network.add_argument("--loss", type=percent, default=0.0, metavar="P%", help="share of packets that are lost")
    network.add_argument("--clock-drift-ppm", type=float, default=0.0, metavar="P", help="the musician's clock is fast")
    musician = perform.add_argument_group("faults of the musician")
    musician.add_argument("--stop-at", type=float, metavar="S", help="stop after S seconds")
    musician.add_argument("--restart-at", type=float, metavar="S", help="go on there at second S")
    musician.add_argument(
        "--tempo", type=percent, default=0.0, metavar="P%",
        help="change the tempo: +8%% is faster, --tempo=-8%% slower",
    )  # fmt: skip
    musician.add_argument("--transpose", type=float, default=0.0, metavar="N", help="change the key by N semitones")
    musician.add_argument("--change-at", type=float, metavar="S", help="when tempo and key change (in the middle)")


def percent(text: str) -> float:
    """A number of per cent, with or without the sign."""
    return float(text.removesuffix("%"))


@dataclass(frozen=True)
class Outputs:
    """The files of a performance, all in one folder."""

    folder: Path

    @property
    def answer(self) -> Path:
        """What sounded, or was played again."""
        return self.folder / "answer.wav"

    @property
    def mix(self) -> Path:
        """What was played."""
        return self.folder / "mix.wav"

    @property
    def together(self) -> Path:
        """Both."""
        return self.folder / "together.wav"

    @property
    def recording(self) -> Path:
        """What the server was sent."""
        return self.folder / "sent.performance"

    @property
    def report(self) -> Path:
        """In figures."""
        return self.folder / "report.json"

    @property
    def picture(self) -> Path:
        """In colours."""
        return self.folder / "picture.png"


def _run(options: argparse.Namespace) -> int:
    for name, allowed in RANGES.items():
        require_number(f"--{name.replace('_', '-')}", getattr(options, name), allowed)
    if (options.replay is None) == (options.server is None):
        raise UserError("perform needs --server to play to, or --replay; --help shows examples")
    if options.like and options.replay is None:
        raise UserError("--like is for --replay; give it to the server, `livejam serve osc`")
    from livejam.cli.serve import require_osc

    require_osc()
    require_folder(options.out)
    return _perform(options) if options.replay is None else _replay(options)


def _perform(options: argparse.Namespace) -> int:
    from livejam.audio_files import open_recording
    from livejam.cli.perform_picture import draw
    from livejam.cli.perform_report import report_text
    from livejam.serving.recordings import Head, recording

    if options.mix is None:
        raise UserError("perform needs --mix, a song to play; --help shows examples")
    connect = _server(options)
    outputs = Outputs(options.out)
    files = {"the answer": outputs.answer, "what was played": outputs.mix, "the sum": outputs.together}
    files |= {"the recording": outputs.recording, "the report": outputs.report, "the picture": outputs.picture}
    require_free(files, [options.mix], options.overwrite)
    song = open_recording(options.mix)
    if song.seconds > LONGEST_SECONDS:
        raise UserError(f"{options.mix} is longer than an hour; choose a shorter song")
    with closing(connect()) as transport:
        terms, sent = transport.meet(options.seed)
        mix_N, events = _score(options, song, terms.sample_rate_hz)
        head = Head(transport.name, terms.sample_rate_hz, terms.instruments)
        with recording(outputs.recording, head) as record:
            for packet in sent:
                record(0.0, packet, 0)
            done = _played(options, transport, terms, mix_N, record)
    report = _report(options, terms, done, mix_N, events)
    _write(outputs, mix_N, done.answer_N, terms.sample_rate_hz)
    _write_report(outputs, report)
    print(f"{outputs.answer}\n{report_text(report)}")
    draw(mix_N, done, terms, events, outputs.picture)
    return 0


def _server(options: argparse.Namespace) -> Callable[[], Transport]:
    """What connects to the server, and speaks its protocol.

    Raises:
        UserError: the server's name is none.
    """
    from livejam.cli.stage import say

    if WEB_SERVER.match(options.server):
        from livejam.serving.performing_web import WebTransport

        return partial(WebTransport, options.server)
    found = SERVER.match(options.server)
    if not found or not 0 < int(found[3]) < 1 << 16:
        raise UserError(
            f"--server {options.server} is no server; write osc://HOST:PORT, such as osc://127.0.0.1:7000, or the "
            "address that `livejam serve web` prints"
        )
    protocol, host, port = found[1], found[2].strip("[]"), int(found[3])
    if protocol == "osc":
        from livejam.serving.performing_osc import OscTransport

        return partial(OscTransport, host, port, options.reply_port, say)
    raise UserError(f"--server {options.server}: the protocol {protocol} is not known; write osc://{host}:{port}")


def _score(options: argparse.Namespace, song: Recording, sample_rate_hz: int) -> tuple[Audio, list[Event]]:
    """What is played, mono and at the server's rate, and what happens in it."""
    from livejam.cli.stage import at_rate
    from livejam.serving.scores import Score, performed

    song_N = at_rate(song, sample_rate_hz).mean(axis=0)
    if options.seconds is not None:
        song_N = song_N[: round(options.seconds * sample_rate_hz)]
    score = Score(options.stop_at, options.restart_at, options.change_at, options.tempo / 100, options.transpose)
    return performed(song_N, sample_rate_hz, score)


def _played(
    options: argparse.Namespace,
    transport: Transport,
    terms: Terms,
    mix_N: Audio,
    record: Record,
) -> Performance:
    from tqdm import tqdm

    from livejam.serving.performing import Faults, Performer

    faults = Faults(options.jitter_ms / 1000, options.loss / 100, options.clock_drift_ppm, options.seed)
    anticipating = terms.anticipating if options.anticipate else None
    performer = Performer(transport, terms, faults, options.block, record, anticipating)
    form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    with tqdm(total=len(mix_N), desc="performing", delay=2, leave=False, disable=None, bar_format=form) as bar:
        return performer.play(mix_N, bar.update)


def _report(
    options: argparse.Namespace, terms: Terms, done: Performance, mix_N: Audio, events: list[Event]
) -> dict[str, Any]:
    """What was played and what came back, in plain values."""
    from livejam.cli.perform_report import network_facts

    return {
        "server": options.server,
        "mix": str(options.mix),
        "instruments": list(terms.instruments),
        "sample_rate_hz": terms.sample_rate_hz,
        "seconds": len(mix_N) / terms.sample_rate_hz,
        "seed": options.seed,
        "faults": {name: getattr(options, name) for name in RANGES if name not in ("seed", "reply_port")},
        "network": network_facts(done, terms),
        "anticipations": [[position / terms.sample_rate_hz, frames] for position, frames in done.log.anticipations],
        "beats": None if options.no_beats else _beats(mix_N, done.answer_N, terms.sample_rate_hz, events),
        "livejam": __version__,
    }


def _beats(mix_N: Audio, answer_N: Audio, sample_rate_hz: int, events: list[Event]) -> dict[str, Any] | None:
    """Of the first two minutes; None, and a note, where beats cannot be tracked."""
    from livejam.cli.perform_report import beat_facts
    from livejam.cli.stage import say
    from metrics.beats import MadmomRNN

    try:
        tracker = MadmomRNN()
    except UserError as error:
        say(f"beats are not compared: {error}")
        return None
    samples = round(BEAT_SECONDS * sample_rate_hz)
    mix, answer = tracker([mix_N[:samples], answer_N[:samples]], sample_rate_hz)
    return beat_facts(mix, answer, [event for event in events if event.seconds < BEAT_SECONDS])


def _write(outputs: Outputs, mix_N: Audio, answer_N: Audio, sample_rate_hz: int) -> None:
    from livejam.audio_files import audio_writer, open_recording
    from livejam.cli.stage import SUBTYPE
    from livejam.cli.together import write_together

    for path, audio_N in ((outputs.mix, mix_N), (outputs.answer, answer_N)):
        with audio_writer(path, sample_rate_hz, 1, SUBTYPE) as write:
            write(audio_N[None])
    write_together(open_recording(outputs.mix), open_recording(outputs.answer), outputs.together, SUBTYPE)


def _write_report(outputs: Outputs, report: dict[str, Any]) -> None:
    with atomic_path(outputs.report) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _replay(options: argparse.Namespace) -> int:
    """Play a recording again."""
    from livejam import load
    from livejam.audio_files import FLOAT, audio_writer
    from livejam.cli.publish import find_trusted
    from livejam.cli.stage import say
    from livejam.serving.mono_sessions import mono_session
    from livejam.serving.named_references import read_named
    from livejam.serving.recordings import read_head, read_packets
    from livejam.serving.replaying import replay

    if options.checkpoint is None:
        raise UserError("--replay needs --checkpoint, the model that plays; --help shows examples")
    outputs = Outputs(options.out)
    require_free({"the answer": outputs.answer, "the report": outputs.report}, [options.replay], options.overwrite)
    head = read_head(options.replay)
    player = load(options.checkpoint, find_trusted(options.trust), options.on)
    if head.protocol == "ws":
        return _replay_web(options, outputs, head, player)
    if head.protocol != "osc":
        raise UserError(f"{options.replay} is a recording of {head.protocol}, which cannot be played again here")
    make_session = partial(mono_session, player, head.sample_rate_hz, head.hear_each_other, seed=head.seed)
    references = read_named(options.like or [], player)
    answer_N, musician, counts = replay(read_packets(options.replay), head, make_session, say, references)
    if not len(answer_N):
        raise UserError(f"{options.replay} holds too little sound of the continuous mode for an answer")
    with audio_writer(outputs.answer, head.sample_rate_hz, 1, FLOAT) as write:
        write(answer_N[None])
    meters = vars(musician.line.meters()) | {"datagrams": vars(counts), "windows": vars(musician.windows.counts)}
    report = {"replay": str(options.replay), "model": str(options.checkpoint), **meters, "livejam": __version__}
    _write_report(outputs, report)
    print(f"{outputs.answer}: {len(answer_N) / head.sample_rate_hz:.1f} s, {counts.received} packets")
    return 0


def _replay_web(options: argparse.Namespace, outputs: Outputs, head: Head, player: Player) -> int:
    """Play again what the page's server was sent."""
    from livejam.audio_files import FLOAT, audio_writer
    from livejam.cli.stage import say
    from livejam.serving.mono_sessions import mono_session
    from livejam.serving.recordings import read_packets
    from livejam.serving.replaying_web import replay_web

    if options.like:
        raise UserError(
            "--like is for recordings of OSC; what was asked for on the page names no recording: leave it out"
        )
    make_session = partial(mono_session, player, head.sample_rate_hz, head.hear_each_other)
    answer_N, line = replay_web(read_packets(options.replay), head, make_session, say)
    if not len(answer_N):
        raise UserError(f"{options.replay} holds too little sound for an answer")
    with audio_writer(outputs.answer, head.sample_rate_hz, 1, FLOAT) as write:
        write(answer_N[None])
    facts = vars(line.meters()) | {"replay": str(options.replay), "model": str(options.checkpoint)}
    _write_report(outputs, facts | {"livejam": __version__})
    print(f"{outputs.answer}: {len(answer_N) / head.sample_rate_hz:.1f} s")
    return 0
