"""`livejam delay`: what is played comes back transformed, a block later."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
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
from livejam.option_ranges import Range, require_number
from livejam.outputs import add_overwrite, require_folder, require_free

if TYPE_CHECKING:
    from livejam.audio_files import Audio, Recording
    from livejam.checkpoints.player import Player
    from livejam.cli.stage import StepLog
    from livejam.streaming import GenerativeDelay

LONGEST_TAIL = 600.0


def add_delay(commands: Any) -> None:
    """Add the command to the parser's commands."""
    delay = commands.add_parser(
        "delay",
        help="a generative delay: what is played comes back transformed, a block later",
        description="An LMDM hears a recording block by block and plays to the very block that it has just heard (its\n"
        "cutoff is +1). Each answer sounds when its block is over: later by a block and the codec's delay, as the\n"
        "report says. The model's time to compute is not a part of that: it would come on top on a stage. With\n"
        "--feedback the model also hears its own answers and answers them again. Answers saturate like tape.\n"
        "Models that learnt to follow a sketch can give back the loudness, the brightness and the pitch of what they\n"
        "heard (--follow-input), or of another recording (--sketch). With --prompts, what is asked for changes.\n"
        "DIR then holds delayed.wav (dry and wet as they sound together), answers.wav (the answers alone, at full\n"
        "gain), report.json and picture.png, at rate and channels of the recording, in 24 bits.",
        epilog="examples:\n"
        "  livejam delay --checkpoint runs/lmdm_encdec_pocket/checkpoints/last.ckpt --input song.wav --out delayed\n"
        "  livejam delay --checkpoint runs/lmdm_encdec_pocket/checkpoints/last.ckpt --input song.wav --out echoing \\\n"
        "    --instrument drums --wet 0.7 --feedback 0.5 --tail 5\n"
        "  livejam delay --checkpoint runs/lmdm_sketch_pocket/checkpoints/last.ckpt --input voice.wav --out sung \\\n"
        "    --instrument piano --follow-input",
    )
    delay.add_argument("--checkpoint", type=Path, required=True, metavar="C", help=f"an LMDM: {MODEL_HELP}")
    delay.add_argument("--input", type=Path, required=True, metavar="WAV", help="what the musician plays (WAV or FLAC)")
    delay.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder for what comes back")
    delay.add_argument("--instrument", metavar="NAME", help="what it answers with: one that the model learnt")
    delay.add_argument("--prompt", metavar="TEXT", help="a description in words (default: the instrument's name)")
    delay.add_argument("--prompts", type=Path, metavar="YAML", help="a timeline: other words from given moments on")
    add_sketch(delay)
    delay.add_argument(
        "--voice", action="store_true", help="what it follows is a voice: follow what it sings, and not its overtones"
    )
    delay.add_argument("--follow-input", action="store_true", help="it follows what it has heard in these instead")
    delay.add_argument("--negative-prompt", metavar="TEXT", help="what to lead away from, in words")
    add_guidance(delay)
    delay.add_argument("--seed", type=int, default=0, metavar="S", help="equal seeds give equal answers (default: 0)")
    for name, default, help in (
        ("dry", 1.0, "gain of the input in what sounds, 0 to 1"),
        ("wet", 1.0, "gain of the answers in what sounds, 0 to 1"),
        ("feedback", 0.0, "gain of the answers in what the model hears next, 0 to less than 1"),
    ):
        delay.add_argument(f"--{name}", type=float, default=default, metavar="G", help=f"{help} (default: {default:g})")
    delay.add_argument(
        "--tail",
        type=float,
        metavar="S",
        help="seconds that go on after the end of the recording (default: until the last answer has sounded)",
    )
    add_processor(delay)
    add_trust(delay)
    add_overwrite(delay)
    delay.set_defaults(run=_delay)


@dataclass(frozen=True)
class Outputs:
    """The files of a delay.

    Args:
        folder: holds them all.
    """

    folder: Path

    @property
    def delayed(self) -> Path:
        """Dry and wet together."""
        return self.folder / "delayed.wav"

    @property
    def answers(self) -> Path:
        """What the model played, at full gain."""
        return self.folder / "answers.wav"

    @property
    def report(self) -> Path:
        """In figures."""
        return self.folder / "report.json"

    @property
    def picture(self) -> Path:
        """In colours."""
        return self.folder / "picture.png"


def _delay(options: argparse.Namespace) -> int:
    from livejam import load
    from livejam.audio_files import open_recording
    from livejam.cli.play_picture import beginnings, draw
    from livejam.cli.play_report import stage_times_ms
    from livejam.cli.stage import StepLog, settle
    from livejam.streaming import answering

    outputs, log = _checked(options), StepLog()
    recording = open_recording(options.input)
    player = answering(load(options.checkpoint, find_trusted(options.trust), options.on))
    _note_untrained(options.checkpoint)
    machine = _machine(options, player, recording, log)
    settle(machine.session)
    log.clear()
    with workplace(outputs.folder) as place:
        levels = _render(options, recording, machine, outputs, place)
        report = _report(options, recording, machine, levels, log)
        with atomic_path(outputs.report) as temporary:
            temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        print(f"{outputs.delayed}\n{_report_text(report)}")
        answers = {f"answers ({report['instrument']})": open_recording(outputs.answers)}
        sounds, _ = beginnings({"input": recording, **answers}, with_beats=False)
        timing = machine.session.timing
        draw(sounds, stage_times_ms(log.steps), timing.milliseconds(timing.block_samples), 0.0, outputs.picture)
    return 0


def _checked(options: argparse.Namespace) -> Outputs:
    """The files that will be written.

    Raises:
        UserError: an option is out of range, a name is unknown, two contradict each other, or something would be
            overwritten.
    """
    from livejam.checkpoints.published import find_model
    from livejam.instruments import instrument_index
    from livejam.streaming import DelayGains

    if options.follow_input and options.sketch is not None:
        raise UserError("--follow-input makes the sketch of the input; leave it or --sketch out")
    require_sketch(options)
    if options.voice and options.sketch is None and not options.follow_input:
        raise UserError("--voice says what --sketch or --follow-input hears; give one of them, or leave it out")
    DelayGains(options.dry, options.wet, options.feedback)
    require_rescale(options)
    require_number("--seed", options.seed, Range(0, 2**63 - 1))
    require_number("--tail", options.tail, Range(0, LONGEST_TAIL))
    if options.instrument is not None:
        instrument_index(options.instrument)
    outputs = Outputs(options.out)
    require_folder(outputs.folder)
    files = {"the sound": outputs.delayed, "the answers": outputs.answers}
    files |= {"the report": outputs.report, "the picture": outputs.picture}
    read = options.input, options.prompts, options.sketch, find_model(options.checkpoint)
    require_free(files, [path for path in read if path], options.overwrite)
    return outputs


def _note_untrained(checkpoint: Path) -> None:
    """Say so if the model was never trained to hear the block that it plays to."""
    from livejam.checkpoints.published import read_model
    from livejam.cli.stage import say
    from livejam.streaming.delay import ANSWERING_CUTOFF

    settings = read_model(checkpoint)["config"]["model"]["init_args"]
    cutoffs = settings.get("cutoff_blocks") or [ANSWERING_CUTOFF]
    if ANSWERING_CUTOFF not in cutoffs:
        trained = ", ".join(map(str, cutoffs))
        say(
            f"this model was trained with cutoff_blocks {trained}, never to hear the block that it plays to: its "
            f"answers may not follow the input; train with {ANSWERING_CUTOFF} among them"
        )


def _machine(options: argparse.Namespace, player: Player, recording: Recording, log: StepLog) -> GenerativeDelay:
    """A delay that has heard nothing yet.

    Raises:
        UserError: the model does not know the instrument, a prompt, guidance or sketches.
    """
    from livejam.cli.prompts import read_timeline
    from livejam.sampling import read_weights
    from livejam.sketch import VoicePitch
    from livejam.streaming import DelayGains, GenerativeDelay, Session

    session = Session(
        player,
        sample_rate_hz=recording.sample_rate_hz,
        channels=recording.channels,
        instruments=None if options.instrument is None else [options.instrument],
        seeds=[options.seed],
        prompts=None if options.prompt is None else [options.prompt],
        on_step=log,
    )
    if options.guidance is not None:
        session.set_guidance(read_weights(options.guidance))
    if options.guidance_rescale is not None:
        session.set_guidance_rescale(options.guidance_rescale)
    if options.negative_prompt is not None:
        session.set_negative_prompt(options.negative_prompt)
    if options.prompts is not None:
        session.set_prompts(read_timeline(options.prompts))
    if options.sketch is not None:
        heard = options.sketch, player, recording.seconds, options.voice
        session.set_sketch(read_sketch(*heard, options.sketch_controls))
    gains = DelayGains(options.dry, options.wet, options.feedback)
    voice = VoicePitch() if options.voice and options.follow_input else None
    return GenerativeDelay(session, gains, options.follow_input, voice)


@dataclass(frozen=True)
class _Levels:
    """How loud everything is, and what was done about it.

    Args:
        input_lufs: of what was heard.
        answers_lufs: of the answers at full gain.
        delayed_lufs: of what sounds.
        answers_gain_db: 0, or what keeps the file of the answers from clipping.
        delayed_gain_db: the same of what sounds.
        tail_seconds: time after the end of the recording.
    """

    input_lufs: float
    answers_lufs: float
    delayed_lufs: float
    answers_gain_db: float
    delayed_gain_db: float
    tail_seconds: float


def _render(
    options: argparse.Namespace, recording: Recording, machine: GenerativeDelay, outputs: Outputs, place: Path
) -> _Levels:
    """Write what sounds and the answers alone, the loudest sample at most 1 dB below full scale.

    Args:
        options: of the command line.
        recording: what is heard.
        machine: hears it.
        outputs: the files.
        place: a folder for what is not kept.

    Raises:
        UserError: the disk is full.
    """
    import torch

    from livejam.audio_files import FLOAT, audio_writer
    from metrics.programme_loudness import LoudnessMeter

    rate, channels = recording.sample_rate_hz, recording.channels
    tail = machine.delay_samples if options.tail is None else round(options.tail * rate)
    meters = [LoudnessMeter(rate) for _ in range(3)]
    whole = [place / "answers.wav", place / "delayed.wav"]
    with ExitStack() as stack:
        writes = [stack.enter_context(audio_writer(path, rate, channels, FLOAT)) for path in whole]
        for heard_AN in with_progress(recording, _heard(recording, machine.session.timing.block_samples, tail)):
            delayed_AN, answer_AN = (part.numpy() for part in machine.process_parts(torch.from_numpy(heard_AN)))
            for write, audio_AN in zip(writes, (answer_AN, delayed_AN), strict=True):
                write(audio_AN)
            for meter, audio_AN in zip(meters, (heard_AN, answer_AN, delayed_AN), strict=True):
                meter.update(audio_AN)
    softer, softened = _without_clipping(whole[0], outputs.answers), _without_clipping(whole[1], outputs.delayed)
    heard, answers, delayed = (meter.compute() for meter in meters)
    return _Levels(heard, answers + softer, delayed + softened, softer, softened, tail / rate)


def _without_clipping(source: Path, out: Path) -> float:
    """Write a recording in 24 bits, softer if it would clip, and give the gain in dB."""
    from livejam.audio_files import audio_writer, open_recording
    from livejam.cli.stage import SUBTYPE
    from livejam.cli.together import CEILING, PIECE_SAMPLES

    sound = open_recording(source)
    peak = max(float(abs(piece_AN).max()) for piece_AN in sound.blocks(PIECE_SAMPLES))
    gain = CEILING / peak if peak > 1 else 1.0
    with audio_writer(out, sound.sample_rate_hz, sound.channels, SUBTYPE) as write:
        for piece_AN in sound.blocks(PIECE_SAMPLES):
            write(gain * piece_AN)
    return 20 * math.log10(gain)


def _heard(recording: Recording, samples: int, tail: int) -> Iterator[Audio]:
    """The recording in pieces of so many samples, and silence after it."""
    import numpy as np

    yield from recording.blocks(samples)
    silence_AN = np.zeros((recording.channels, samples), dtype=np.float32)
    for start in range(0, tail, samples):
        yield silence_AN[:, : tail - start]


def _report(
    options: argparse.Namespace, recording: Recording, machine: GenerativeDelay, levels: _Levels, log: StepLog
) -> dict[str, Any]:
    """What came back, of what, and how long it took, in plain values."""
    from livejam.cli.play_report import speed_facts, timing_facts

    session = machine.session
    return {
        "model": str(options.checkpoint),
        "input": str(options.input),
        "instrument": session.instruments[0],
        "prompt": options.prompt,
        "negative_prompt": options.negative_prompt,
        "prompts": None if options.prompts is None else str(options.prompts),
        "sketch": None if options.sketch is None else str(options.sketch),
        "follow_input": options.follow_input,
        "sketch_controls": options.sketch_controls,
        "voice": options.voice,
        "guidance": options.guidance,
        "guidance_rescale": options.guidance_rescale,
        "seed": options.seed,
        "gains": {"dry": options.dry, "wet": options.wet, "feedback": options.feedback},
        "sample_rate_hz": recording.sample_rate_hz,
        "channels": recording.channels,
        "seconds": recording.seconds,
        "delay_ms": session.timing.milliseconds(machine.delay_samples),
        "timing": timing_facts(session.timing),
        "speed": speed_facts(log.steps, session.timing, recording.seconds + levels.tail_seconds),
        "levels": {name: value if math.isfinite(value) else None for name, value in asdict(levels).items()},
        "failed_blocks": session.failures,
        "livejam": __version__,
    }


def _report_text(report: dict[str, Any]) -> str:
    """The report for people."""
    from livejam.cli.play_report import count, stage_table

    timing, levels = report["timing"], report["levels"]
    asked = report["instrument"] if report["prompt"] is None else repr(report["prompt"])
    lines = [
        f"  model      {report['model']} answers with {asked}; seed {report['seed']}",
        f"  recording  {report['seconds']:.2f} s at {report['sample_rate_hz']} Hz, "
        f"{count(report['channels'], 'channel')}, and {levels['tail_seconds']:.2f} s after it",
        f"  delay      {report['delay_ms']:.0f} ms (block {timing['block_ms']:.0f} ms, codec "
        f"{timing['codec_delay_ms']:.0f} ms, resampling {timing['resampling_delay_ms']:.0f} ms)",
        "  gains      " + ", ".join(f"{name} {gain:g}" for name, gain in report["gains"].items()),
        *stage_table(report["speed"]),
        f"  speed      {_speed(report)}",
        f"  loudness   {', '.join(_loudness(name, levels) for name in ('input', 'answers', 'delayed'))}",
    ]
    for name in ("answers", "delayed"):
        if softer := -levels[f"{name}_gain_db"]:
            lines.append(f"  softer     {name}.wav by {softer:.1f} dB, because it would clip")
    if report["failed_blocks"]:
        lines.append(f"  failures   the model gave no finite output in {count(report['failed_blocks'], 'block')}")
    return "\n".join(lines)


def _speed(report: dict[str, Any]) -> str:
    if not report["speed"]["steps"]:
        return "recording and tail are shorter than a block of the model, which answered nothing"
    return f"{report['speed']['real_time_factor']:.1f} × real time"


def _loudness(name: str, levels: dict[str, Any]) -> str:
    lufs = levels[f"{name}_lufs"]
    return f"{name} silent" if lufs is None else f"{name} {lufs:.1f} LUFS"
