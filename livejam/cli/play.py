"""`livejam play`: a model accompanies a recording as if it were live."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livejam import __version__
from livejam.cli.card import MODEL_HELP
from livejam.cli.playing import with_progress, workplace
from livejam.cli.processor import add_guidance, add_processor, require_rescale
from livejam.cli.publish import add_trust, find_trusted
from livejam.cli.sketch import add_sketch, read_sketch, require_sketch
from livejam.errors import UserError
from livejam.files import atomic_path
from livejam.option_ranges import LONGEST_SPAN, Range, require_number
from livejam.outputs import add_overwrite, require_folder, require_free

if TYPE_CHECKING:
    from livejam.checkpoints.player import Player
    from livejam.cli.stage import Performance, StepLog
    from livejam.streaming import Session

LONGEST_BUFFER = 1 << 20
LONGEST_SECONDS = 1e6
DEFAULT = "default"
"""The name of the sound card that the system prefers."""

LARGEST_BAND = 64


def add_play(commands: Any) -> None:
    """Add the command to the parser's commands."""
    play = commands.add_parser(
        "play",
        help="play along with a recording as if live, or live through a sound card",
        description="A model hears a recording block by block and plays to it, as it would on stage. DIR then holds\n"
        "accompaniment.wav, together.wav (mix and accompaniment at -18 LUFS), report.json (delays, time of every\n"
        "stage, real-time factor) and picture.png (waveforms, beats, time of every step). The output has length, rate\n"
        "and channels of the recording, in 24 bits. Several --instrument play together, each also in its own file.\n"
        "With --device it sounds, at the sound card's rate; without --mix, the model hears the card's input, which\n"
        "mix.wav keeps. With --sketch, models that learnt it play with the loudness, the brightness and the pitch of\n"
        "a recording that begins with the mix: a voice, an instrument, tapping. With --prompts, what it is asked for\n"
        "changes while it plays: docs/lmdm.md says how.",
        epilog="examples:\n  livejam play --checkpoint liveband-pocket --mix song.wav --instrument drums --out played\n"
        "  livejam play --checkpoint runs/quickstart/checkpoints/last.ckpt --mix song.wav --out played --realtime\n"
        "  livejam play --checkpoint liveband-pocket --device 3 --seconds 60 --out played\n"
        "  livejam play --list-devices",
    )
    play.add_argument("--checkpoint", type=Path, metavar="C", help=MODEL_HELP)
    play.add_argument("--mix", type=Path, metavar="WAV", help="what the musician plays (WAV or FLAC)")
    play.add_argument("--out", type=Path, metavar="DIR", help="the folder for what is played")
    play.add_argument(
        "--instrument",
        action="append",
        metavar="NAME",
        help="one that the model learnt: Piano, Bass, Drums, …, or Any; repeat it for several that play together "
        "(default: Any if the model learnt to choose, else the first that `livejam describe` lists)",
    )
    play.add_argument("--listen-to-each-other", action="store_true", help="several instruments also hear each other")
    play.add_argument(
        "--seed", type=int, default=0, metavar="S", help="equal seeds give equal notes; instrument n has S + n - 1 (0)"
    )
    play.add_argument("--level", type=float, default=0.0, metavar="DB", help="loudness of what it plays (default: 0)")
    _add_controls(play)
    play.add_argument(
        "--anticipation", type=int, metavar="N", help="frames that it plays ahead, for models that learnt several"
    )
    play.add_argument("--no-beats", action="store_true", help="draw no beats: quicker, and needs no metrics extra")
    _add_live(play)
    add_processor(play)
    add_trust(play)
    add_overwrite(play)
    play.set_defaults(run=_play)


def _add_controls(play: argparse.ArgumentParser) -> None:
    """What is asked of the music."""
    play.add_argument("--prompt", action="append", metavar="TEXT", help="a description for each instrument, in words")
    play.add_argument("--prompts", type=Path, metavar="YAML", help="a timeline: other words from given moments on")
    add_sketch(play)
    play.add_argument(
        "--voice", action="store_true", help="--sketch is a voice: follow what it sings, and not its overtones"
    )
    play.add_argument(
        "--like",
        type=Path,
        action="append",
        metavar="WAV",
        help="a recording whose sound it takes; one for each instrument, or one for all",
    )
    play.add_argument(
        "--negative-prompt",
        action="append",
        metavar="TEXT",
        help="what to lead away from; one for each, or one for all",
    )
    add_guidance(play)


def _add_live(play: argparse.ArgumentParser) -> None:
    play.add_argument("--realtime", action="store_true", help="as fast as it sounds, through the real-time engine")
    play.add_argument(
        "--device", metavar="NAME", help="through this sound card: number or part of its name, or default"
    )
    play.add_argument("--input-device", metavar="NAME", help="another sound card to listen to (default: the same one)")
    play.add_argument("--seconds", type=float, metavar="S", help="end after so long (--device; default: Ctrl-C)")
    play.add_argument("--list-devices", action="store_true", help="list the sound cards, and do nothing else")
    play.add_argument(
        "--buffer",
        type=int,
        default=512,
        metavar="N",
        help="samples per call, as of a sound card (--realtime, --device; 512)",
    )


@dataclass(frozen=True)
class Outputs:
    """The files of a performance.

    Args:
        folder: holds them all.
        instruments: names of the rows, if there is a file for each.
        live: whether what was heard is kept.
    """

    folder: Path
    instruments: tuple[str, ...]
    live: bool

    @property
    def mix(self) -> Path:
        """What was heard, unless it was a recording."""
        return self.folder / "mix.wav"

    @property
    def accompaniment(self) -> Path:
        """All rows together."""
        return self.folder / "accompaniment.wav"

    @property
    def rows(self) -> list[Path]:
        """Each row by itself, if there are several."""
        names = [name.lower().replace(" ", "_") for name in self.instruments]
        return [self.folder / f"accompaniment_{place}_{name}.wav" for place, name in enumerate(names, 1)]

    @property
    def together(self) -> Path:
        """With the mix."""
        return self.folder / "together.wav"

    @property
    def report(self) -> Path:
        """In figures."""
        return self.folder / "report.json"

    @property
    def picture(self) -> Path:
        """In colours."""
        return self.folder / "picture.png"

    def require_free(self, inputs: Sequence[Path], overwrite: bool) -> None:
        """Refuse to destroy anything.

        Raises:
            UserError: a file exists, or the folder is a file or has the name of one.
        """
        require_folder(self.folder)
        files = {"the accompaniment": self.accompaniment, "the sum": self.together}
        files |= {f"instrument {place}": path for place, path in enumerate(self.rows, 1)}
        files |= {"the mix": self.mix} if self.live else {}
        require_free({**files, "the report": self.report, "the picture": self.picture}, inputs, overwrite)


def _play(options: argparse.Namespace) -> int:
    if options.list_devices:
        from livejam.streaming.devices import list_devices

        print(list_devices())
        return 0
    from livejam import load
    from livejam.audio_files import open_recording
    from livejam.cli.play_report import loudness_facts, report_text
    from livejam.cli.stage import SUBTYPE, StepLog
    from livejam.cli.together import write_alone, write_together

    outputs, log = _checked(options), StepLog()
    player = load(options.checkpoint, find_trusted(options.trust), options.on)
    with workplace(outputs.folder) as place:
        done = _perform(options, outputs, player, log, place)
        if outputs.live:
            write_alone(done.mix, done.mix, outputs.mix, SUBTYPE)
        clipped = write_alone(done.mix, done.played, outputs.accompaniment, SUBTYPE)
        loudness = write_together(done.mix, open_recording(outputs.accompaniment), outputs.together, SUBTYPE)
        report = _report(options, done, log) | {"loudness": loudness_facts(loudness), "clipped_samples": clipped}
        with atomic_path(outputs.report) as temporary:
            temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        print(f"{outputs.accompaniment}\n{report_text(report, done.statistics)}")
        _draw(outputs, done, log, not options.no_beats)
    if done.problem:
        raise done.problem
    return 0


def _checked(options: argparse.Namespace) -> Outputs:
    """The files that the options name.

    Raises:
        UserError: an option is missing or out of range, a name is unknown, or something would be overwritten.
    """
    from livejam.batch import NAMES
    from livejam.checkpoints.published import find_model
    from livejam.instruments import instrument_index

    needed = {"--checkpoint": options.checkpoint, "--mix": options.mix or options.device, "--out": options.out}
    if missing := [name for name, given in needed.items() if given is None]:
        raise UserError(f"play needs {' and '.join(missing)}; --help shows examples")
    if options.seconds is not None and options.device is None:
        raise UserError("--seconds is for playing through a sound card; add --device")
    if options.input_device is not None and (options.device is None or options.mix is not None):
        raise UserError("--input-device is for listening to a sound card; add --device, and leave --mix out")
    if options.realtime and options.device is not None:
        raise UserError("--device plays in real time anyway; leave --realtime out")
    require_rescale(options)
    require_number("--seconds", options.seconds, Range(0.1, LONGEST_SECONDS))
    require_number("--seed", options.seed, Range(0, 2**63 - 1 - LARGEST_BAND))
    require_number("--buffer", options.buffer, Range(1, LONGEST_BUFFER))
    require_number("--anticipation", options.anticipation, Range(0, LONGEST_SPAN))
    asked = options.instrument or []
    require_number("the number of --instrument", len(asked), Range(0, LARGEST_BAND))
    names = tuple(NAMES[instrument_index(name)] for name in asked)
    prompts = len(options.prompt or [])
    if prompts not in (0, max(1, len(names))):
        raise UserError(f"there are {max(1, len(names))} instruments but {prompts} prompts; give each a --prompt")
    likes = options.like or []
    for option, given in (("--like", likes), ("--negative-prompt", options.negative_prompt or [])):
        if len(given) not in (0, 1, len(names)):
            raise UserError(
                f"there are {max(1, len(names))} instruments but {len(given)} {option}; give one, or one for each"
            )
    require_sketch(options)
    if options.voice and options.sketch is None:
        raise UserError("--voice says what --sketch hears; give a --sketch, or leave it out")
    at_once = not options.realtime and options.device is None
    outputs = Outputs(options.out, names if len(names) > 1 and at_once else (), live=options.mix is None)
    files = options.mix, options.sketch, options.prompts, *likes, find_model(options.checkpoint)
    inputs = [path for path in files if path]
    outputs.require_free(inputs, options.overwrite)
    return outputs


def _perform(options: argparse.Namespace, outputs: Outputs, player: Player, log: StepLog, place: Path) -> Performance:
    """Play in the way that the options ask for.

    Args:
        options: of the command line.
        outputs: files for every row.
        player: model and codec.
        log: of the session's steps.
        place: a folder for what is heard and played.
    """
    from livejam.audio_files import open_recording
    from livejam.cli.stage import play_at_once, play_by_the_clock, play_through_card
    from livejam.streaming.devices import SoundCard

    mix = None if options.mix is None else open_recording(options.mix)
    make, played = partial(_session, options, player, log), place / "played.wav"
    if options.device is not None:
        device = (
            None if options.device == DEFAULT else int(options.device) if options.device.isdigit() else options.device
        )
        card = SoundCard(device, device, options.buffer, with_input=mix is None)
        return play_through_card(make, log, card, mix, options.seconds, place / "heard.wav", played)
    assert mix is not None
    progress = partial(with_progress, mix)
    if options.realtime:
        return play_by_the_clock(make, log, mix, progress, options.buffer, played)
    return play_at_once(make, log, mix, progress, played, outputs.rows)


def _session(options: argparse.Namespace, player: Player, log: StepLog, sample_rate_hz: int, channels: int) -> Session:
    """A session that has heard nothing yet.

    Raises:
        UserError: the model does not know an instrument, a prompt, guidance, the anticipation, sketches or references.
    """
    from livejam.audio_files import open_recording
    from livejam.cli.prompts import read_timeline
    from livejam.sampling import read_weights
    from livejam.streaming import Session, read_reference

    rows = max(1, len(options.instrument or []))
    session = Session(
        player,
        sample_rate_hz=sample_rate_hz,
        channels=channels,
        instruments=options.instrument,
        seeds=range(options.seed, options.seed + rows),
        prompts=options.prompt,
        hear_each_other=options.listen_to_each_other,
        on_step=log,
        anticipation_frames=options.anticipation,
    )
    session.set_level(options.level)
    likes = options.like or []
    for row, path in enumerate(likes):
        session.set_reference(read_reference(path, player), None if len(likes) == 1 else row)
    if options.guidance is not None:
        session.set_guidance(read_weights(options.guidance))
    if options.guidance_rescale is not None:
        session.set_guidance_rescale(options.guidance_rescale)
    negative = options.negative_prompt or []
    for row, words in enumerate(negative):
        session.set_negative_prompt(words, None if len(negative) == 1 else row)
    if options.prompts is not None:
        session.set_prompts(read_timeline(options.prompts))
    if options.sketch is not None:
        seconds = options.seconds if options.mix is None else open_recording(options.mix).seconds
        curves_TP = read_sketch(options.sketch, player, seconds, options.voice, options.sketch_controls)
        session.set_sketch(curves_TP)
    return session


def _report(options: argparse.Namespace, done: Performance, log: StepLog) -> dict[str, Any]:
    """What was played, by whom, and how long it took, in plain values."""
    from livejam.cli.play_report import engine_facts, speed_facts, timing_facts

    session, mix = done.session, done.mix
    return {
        "model": str(options.checkpoint),
        "mix": None if options.mix is None else str(options.mix),
        "device": options.device,
        "sketch": None if options.sketch is None else str(options.sketch),
        "sketch_controls": options.sketch_controls,
        "voice": options.voice,
        "like": [str(path) for path in options.like or []],
        "prompts": None if options.prompts is None else str(options.prompts),
        "negative_prompts": options.negative_prompt or [],
        "guidance": options.guidance,
        "guidance_rescale": options.guidance_rescale,
        "instruments": list(session.instruments),
        "seeds": list(range(options.seed, options.seed + session.rows)),
        "sample_rate_hz": mix.sample_rate_hz,
        "channels": mix.channels,
        "seconds": mix.seconds,
        "buffer_samples": options.buffer if done.statistics else session.timing.block_samples,
        "timing": timing_facts(session.timing),
        "speed": speed_facts(log.steps, session.timing, mix.seconds),
        "engine": engine_facts(done.statistics),
        "failed_blocks": session.failures,
        "livejam": __version__,
    }


def _draw(outputs: Outputs, done: Performance, log: StepLog, with_beats: bool) -> None:
    """Draw the picture, and say if it has no beats."""
    from livejam.audio_files import open_recording
    from livejam.cli.play_picture import beginnings, draw
    from livejam.cli.play_report import stage_times_ms

    played = f"accompaniment ({', '.join(done.session.instruments)})"
    sounds, reason = beginnings({"mix": done.mix, played: open_recording(outputs.accompaniment)}, with_beats)
    if reason:
        sys.stderr.write(f"note: the picture has no beats: {reason}\n")
    timing = done.session.timing
    block_ms = timing.milliseconds(timing.block_samples)
    draw(sounds, stage_times_ms(log.steps), block_ms, 1000 * timing.budget_seconds, outputs.picture)
