"""The JSON messages between the page and the server. `docs/web.md` has tables that are made from these classes.

Each is an object whose `kind` names the message; sound travels in binary frames (`livejam.serving.web_frames`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, NoReturn

from livejam.errors import UserError
from livejam.option_ranges import LONGEST_SPAN, Range
from livejam.serving.asked_weights import WEIGHTS
from livejam.serving.web_frames import RECORDINGS
from livejam.serving.web_recordings import REMEMBERED_SECONDS
from livejam.serving.web_values import Number, Optional, Text, Texts, Truth, Whole, read_value, valued
from livejam.streaming.drawing import BRIGHTNESS, LENGTHS, LOUDNESS, PITCH, VALUES, Stroke
from livejam.streaming.prompting import FADES
from livejam.streaming.session import LOUDEST_DB, SOFTEST_DB, UNDO_SECONDS, Session

MOST_ROWS = 4
LONGEST_JSON = 4096
LAST_SEED = 2**31 - 1

ROW = Optional(Whole("the instrument's number, beginning with 0; left out: all", 0, MOST_ROWS - 1))


@dataclass(frozen=True)
class Message:
    """A message of either side."""

    kind: ClassVar[str]

    def text(self) -> str:
        """The message as it is sent."""
        return json.dumps({"kind": self.kind, **asdict(self)}, allow_nan=False)


# What the page sends


@dataclass(frozen=True)
class Begin(Message):
    """Lets a model begin to play. Answered by `begun`; what comes before is not heard."""

    kind = "begin"
    instruments: tuple[str, ...] = valued(Texts("what the model plays, such as Percussive or Bass", MOST_ROWS, 1))
    seed: int = valued(Whole("equal seeds and equal mixes give equal notes", 0, LAST_SEED))


@dataclass(frozen=True)
class Control(Message):
    """A change of the accompaniment while it plays. Answered by `done` or `problem`."""

    def change(self, session: Session) -> float | None:
        """Change a session, and return seconds if there is anything to say about them."""
        raise NotImplementedError


@dataclass(frozen=True)
class Instrument(Control):
    """Lets a row play another instrument from the model's next block on."""

    kind = "instrument"
    name: str = valued(Text("one that the model learnt"))
    row: int | None = valued(ROW)

    def change(self, session: Session) -> None:
        session.set_instrument(self.name, self.row)


@dataclass(frozen=True)
class Level(Control):
    """Sets the loudness."""

    kind = "level"
    decibels: float = valued(Number("0 is as loud as the model plays", Range(SOFTEST_DB, LOUDEST_DB)))
    row: int | None = valued(ROW)

    def change(self, session: Session) -> None:
        session.set_level(self.decibels, self.row)


@dataclass(frozen=True)
class Mute(Control):
    """Silences the accompaniment, or lets it sound again; the model plays on unheard."""

    kind = "mute"
    silent: bool = valued(Truth("whether it is silent"))
    row: int | None = valued(ROW)

    def change(self, session: Session) -> None:
        session.mute(self.silent, self.row)


@dataclass(frozen=True)
class Anticipation(Control):
    """Lets a model that learnt several anticipations play further ahead, or less far."""

    kind = "anticipation"
    frames: int = valued(Whole("that it plays ahead, as `begun` allows", 0, 1000))

    def change(self, session: Session) -> None:
        session.set_anticipation(self.frames)


@dataclass(frozen=True)
class Undo(Control):
    """Lets the model forget what it heard and played in the last seconds; `done` says how many they were."""

    kind = "undo"
    seconds: float = valued(Number("how far to go back", Range(0, UNDO_SECONDS)))

    def change(self, session: Session) -> float:
        return session.undo(self.seconds)


@dataclass(frozen=True)
class Seed(Control):
    """Lets the model take other random choices."""

    kind = "seed"
    seed: int = valued(Whole("any number", 0, LAST_SEED))
    row: int | None = valued(ROW)

    def change(self, session: Session) -> None:
        session.set_seed(self.seed, self.row)


@dataclass(frozen=True)
class Prompt(Control):
    """Describes in words what a row plays, to models that take prompts."""

    kind = "prompt"
    words: str = valued(Text("the description, or several with weights: jazz piano:0.7, strings:0.3"))
    row: int | None = valued(ROW)
    fade_seconds: float | None = valued(Optional(Number("in which it replaces the one before", FADES)))
    eject_blocks: int | None = valued(Optional(Whole("oldest blocks of its own past that it forgets", 0, LONGEST_SPAN)))

    def change(self, session: Session) -> None:
        fade, eject = self.fade_seconds or 0.0, self.eject_blocks or 0
        session.set_prompt(self.words, self.row, fade_seconds=fade, eject_blocks=eject)


@dataclass(frozen=True)
class NegativePrompt(Control):
    """Describes in words what guidance leads a row away from, to models that take prompts and guide them."""

    kind = "negative_prompt"
    words: str | None = valued(Optional(Text("the description, as in `prompt`; left out: away from nothing")))
    row: int | None = valued(ROW)

    def change(self, session: Session) -> None:
        session.set_negative_prompt(self.words, self.row)


@dataclass(frozen=True)
class Guidance(Control):
    """Sets how closely the model keeps to what it is told; what is left out keeps its weight."""

    kind = "guidance"
    mix: float | None = valued(Optional(Number("weight of the mix; 1: no guidance", WEIGHTS)))
    past: float | None = valued(Optional(Number("of what the model itself played", WEIGHTS)))
    prompt: float | None = valued(Optional(Number("of the prompt", WEIGHTS)))
    sketch: float | None = valued(Optional(Number("of the sketch", WEIGHTS)))

    def change(self, session: Session) -> None:
        weights = {"mix": self.mix, "past": self.past, "prompt": self.prompt, "sketch": self.sketch}
        session.set_guidance({name: weight for name, weight in weights.items() if weight is not None})


@dataclass(frozen=True)
class GuidanceRescale(Control):
    """Takes back a share of what guidance does to the level, from the model's next block on."""

    kind = "guidance_rescale"
    share: float = valued(Number("0: guidance as it is", Range(0, 1)))

    def change(self, session: Session) -> None:
        session.set_guidance_rescale(self.share)


@dataclass(frozen=True)
class Recording(Message):
    """Makes one of two recordings what the model can sound like, for models that take references. Its sound came in
    frames before, or was played last. Answered by `done` or `problem`."""

    kind = "recording"
    slot: int = valued(Whole("which of the two", 0, RECORDINGS - 1))
    seconds: float | None = valued(
        Optional(Number("that were played last; left out: what was sent in frames", Range(0.2, REMEMBERED_SECONDS)))
    )


@dataclass(frozen=True)
class Reference(Message):
    """Lets a row sound like the recordings, or between them. Answered by `done` or `problem`."""

    kind = "reference"
    share: float | None = valued(
        Optional(Number("0: like the first, 1: like the second; left out: like nothing in particular", Range(0, 1)))
    )
    row: int | None = valued(ROW)
    fade_seconds: float | None = valued(Optional(Number("in which it replaces the one before", FADES)))


@dataclass(frozen=True)
class Sketch(Control):
    """Moves controls of the sketch from now on to values, which then hold; what is left out stays as it is."""

    kind = "sketch"
    loudness: float | None = valued(Optional(Number("A-weighted dB of full scale", VALUES[LOUDNESS])))
    brightness: float | None = valued(Optional(Number("the spectral centroid's note of MIDI", VALUES[BRIGHTNESS])))
    pitch: float | None = valued(Optional(Number("a note of MIDI, -1: none", VALUES[PITCH])))
    seconds: float | None = valued(Optional(Number("that it takes", LENGTHS)))

    def change(self, session: Session) -> None:
        asked = {LOUDNESS: self.loudness, BRIGHTNESS: self.brightness, PITCH: self.pitch}
        for control, value in asked.items():
            if value is not None:
                session.draw_sketch(Stroke(control, (value,), self.seconds or 0.0))


@dataclass(frozen=True)
class SketchFree(Control):
    """Lets it play again as without a control of the sketch."""

    kind = "sketch_free"
    control: str | None = valued(Optional(Text("loudness, brightness or pitch; left out: all")))

    def change(self, session: Session) -> None:
        session.free_sketch(self.control)


@dataclass(frozen=True)
class Leading(Message):
    """Lets the sound in frames of kind 4 lead controls of the sketch as it comes, for models that follow one. Answered
    by `done` or `problem`; a `problem` later on means that it leads no more."""

    kind = "leading"
    controls: tuple[str, ...] = valued(Texts("loudness, brightness, pitch, or some of them; none: it leads no more", 3))
    single: bool = valued(
        Truth("whether it sounds one note at a time, as voices do: a tracker hears the note, 0.2 s later")
    )


_FROM_PAGE: tuple[type[Message], ...] = (
    Begin, Instrument, Level, Mute, Anticipation, Undo, Seed, Prompt, NegativePrompt, Guidance, GuidanceRescale,
    Recording, Reference, Sketch, SketchFree, Leading,
)  # fmt: skip
FROM_PAGE = {kind.kind: kind for kind in _FROM_PAGE}


# What the server sends


@dataclass(frozen=True)
class Welcome(Message):
    """The first message of every connection."""

    kind = "welcome"
    model: str = valued(Text("the model's name"))
    instruments: tuple[str, ...] = valued(Texts("what it can play", 19))
    sample_rate_hz: int = valued(Whole("of the sound in both directions, one channel", 8_000, 192_000))
    most_rows: int = valued(Whole("instruments that play together at most", 1, MOST_ROWS))
    undo_seconds: float = valued(Number("how far `undo` reaches", Range(0)))
    idle_seconds: float = valued(Number("after so long without sound the server ends the connection", Range(0)))
    musicians: int = valued(Whole("that play now, with this one"))
    most_musicians: int = valued(Whole("that may play at once", 1))
    prompts: bool = valued(Truth("whether it can be asked in words"))
    references: bool = valued(Truth("whether it can sound like a recording"))
    sketches: bool = valued(Truth("whether it follows a sketch"))
    guidance: str = valued(
        Text("what can have a weight of guidance, with the one it has: mix=1,prompt=3; empty: nothing can")
    )
    guidance_rescale: float | None = valued(
        Optional(
            Number("share of guidance's effect on the level that is taken back; left out: it cannot be", Range(0, 1))
        )
    )


@dataclass(frozen=True)
class Begun(Message):
    """The model hears what is sent from now on."""

    kind = "begun"
    instruments: tuple[str, ...] = valued(Texts("what every row plays", MOST_ROWS, 1))
    block_samples: int = valued(Whole("between two answers"))
    first_step_samples: int = valued(Whole("after so many samples heard, the model can go on for the first time"))
    step_samples: float = valued(
        Number("and then after every so many; sound that is sent then waits for nothing", Range(0))
    )
    lead_samples: int = valued(
        Whole("after n samples heard, at least n + lead of the answer are known; what the line and you have for delays",
              -(2**31), 2**31)
    )  # fmt: skip
    anticipation: int = valued(Whole("frames that it plays ahead now", -(2**31), 2**31))
    least_anticipation: int = valued(Whole("the smallest that can be asked for", -(2**31), 2**31))
    most_anticipation: int = valued(Whole("the largest; the same: there is nothing to choose", -(2**31), 2**31))


@dataclass(frozen=True)
class Done(Message):
    """A control has changed the accompaniment."""

    kind = "done"
    of: str = valued(Text("kind of the control"))
    seconds: float | None = valued(Optional(Number("how far `undo` went back")))


@dataclass(frozen=True)
class Problem(Message):
    """Something was refused. The sentence is for people."""

    kind = "problem"
    sentence: str = valued(Text("what was wrong, and how to fix it", 1000))
    ended: bool = valued(Truth("whether the server ends the connection for it"))


@dataclass(frozen=True)
class Meters(Message):
    """What has happened so far, once a second."""

    kind = "meters"
    seconds: float = valued(Number("of sound that the model heard"))
    latency_p50_ms: float = valued(Number("from the arrival of a block to the answer that it made known, median"))
    latency_max_ms: float = valued(Number("the longest"))
    spread_ms: float = valued(Number("how much longer the slowest of the recent blocks took than the fastest"))
    queue_ms: float = valued(Number("sound that waits for the model"))
    lost_ms: float = valued(Number("sound that the model never got; silence took its place"))
    overruns: int = valued(Whole("how often the model stalled for seconds"))
    failures: int = valued(Whole("blocks in which the model failed"))
    unsent: int = valued(Whole("answers that were dropped because the line was too slow"))
    musicians: int = valued(Whole("that play now"))
    problem: str = valued(Text("the last thing that went wrong in the model; empty: nothing", 1000))


_FROM_SERVER: tuple[type[Message], ...] = (Welcome, Begun, Done, Problem, Meters)
FROM_SERVER = {kind.kind: kind for kind in _FROM_SERVER}


def read_message(text: str, kinds: dict[str, type[Message]]) -> Message:
    """A message as it stood in a text frame.

    Args:
        text: JSON.
        kinds: the messages that the other side may send.

    Raises:
        UserError: it is no message, or a value is missing, unknown or out of range.
    """
    if len(text) > LONGEST_JSON:
        raise UserError(f"a message of {len(text)} letters is too long; send at most {LONGEST_JSON}")
    given = _parsed(text)
    name = given.pop("kind", None)
    kind = kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        raise UserError(f"there is no message of the kind {str(name)[:40]!r}; there are {', '.join(kinds)}")
    entries = {entry.name: entry for entry in fields(kind)}
    if unknown := given.keys() - entries.keys():
        raise UserError(f"{name}: there is no {min(unknown)[:40]!r}; there are: {', '.join(entries) or 'none'}")
    return kind(**{place: read_value(kind.kind, entry, given.get(place)) for place, entry in entries.items()})


def _parsed(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise UserError("this is no JSON; send one object with a kind") from error
    if not isinstance(given, dict):
        raise UserError("this is no JSON object; send one with a kind")
    return given


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
