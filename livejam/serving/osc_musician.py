"""One musician who plays with livejam over OSC: continuous mode, windows and controls on one line.

It knows no sockets, so that a recording of what was received plays through the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Any

from torch import Tensor

from livejam.errors import UserError
from livejam.serving.leading import Lead
from livejam.serving.line import Answer, Line
from livejam.serving.named_references import NamedReferences
from livejam.serving.osc_controls import control_of, take_instruments
from livejam.serving.osc_fields import Message
from livejam.serving.osc_messages import (
    Anticipation,
    Context,
    Error,
    Hello,
    Instrument,
    LoadModel,
    Meters,
    PacketTest,
    PacketTestResponse,
    Predict,
    PredictInstruments,
    Print,
    Ready,
    Reset,
    Stream,
    UpdateFade,
    UpdatePackageSize,
    UpdateR,
    Verbose,
    W,
    Welcome,
)
from livejam.serving.osc_sound_messages import (
    Reference,
    ReferenceBetween,
    ReferenceRow,
    SketchCurve,
    SketchLead,
    SketchSound,
)
from livejam.serving.osc_stream import StreamAnswers
from livejam.serving.osc_windows import Windows
from livejam.streaming import Session, Stroke

Reply = Callable[[Message], None]
Say = Callable[[str], None]
SessionMaker = Callable[[Sequence[str] | None], Session]
"""Names of instruments, or the default → a mono session."""

LineMaker = Callable[[Session, Callable[[Answer], None]], Line]
"""A session, and what takes its answers → a line that works."""

ASKED = ("Bass", "Percussive", "Guitar", "Piano")
"""The instruments of `/predict_instruments`."""


class OscMusician:
    """Does what messages ask for.

    Args:
        make_session: makes a session when the number of instruments changes.
        make_line: lets it play.
        instruments: at the beginning; None = the model's default.
        reply: sends a message, from any thread.
        say: prints a sentence.
        references: that the musician may ask for.

    Raises:
        UserError: the model does not know an instrument.
    """

    def __init__(
        self,
        make_session: SessionMaker,
        make_line: LineMaker,
        instruments: Sequence[str] | None,
        reply: Reply,
        say: Say,
        references: NamedReferences,
    ) -> None:
        self._references = references
        self._make_session, self._make_line = make_session, make_line
        self._reply, self._say = reply, say
        self._begin(make_session(instruments))
        self.windows = Windows(lambda: self._session.timing, self._post, reply, say)

    def _begin(self, session: Session) -> None:
        self._session, self._rows, self._heard = session, session.rows, False
        self._instruments = session.instruments
        self._answers = StreamAnswers(self._reply)
        self.line = self._make_line(session, self._answers.answer)
        self._lead = Lead(self.line)

    def _post(self, change: Callable[[Session], None]) -> Future[None]:
        return self.line.post(change)

    def stop(self) -> None:
        """Stop playing."""
        self.line.stop()

    def another(self) -> None:
        """Somebody else plays from now on, and hears nothing of what was before."""
        if self._heard:
            self.line.stop()
            self._begin(self._make_session(self._instruments))
            self.windows.reset()
        self._reply(Ready(True))

    def receive(self, message: Message, now: float) -> None:
        """Do what a message asks for; if it cannot be done, `/error` says why.

        Args:
            message: of the musician.
            now: the time in seconds, which never goes back.
        """
        try:
            self._do(message, now)
        except UserError as error:
            self.refuse(error)

    def refuse(self, error: BaseException) -> None:
        """Say why something is not done."""
        self._reply(Error(" ".join(str(error).split())[:500]))

    def _do(self, message: Message, now: float) -> None:
        self._heard |= isinstance(message, Stream | Context)
        match message:
            case Stream():
                self._answers.hear(message)
                self.line.hear(message.position, message.samples_N[None])
            case Context():
                self.windows.hear(message, now)
            case Hello():
                self._reply(self.welcome())
            case Predict():
                self.windows.predict()
            case UpdateR() | W() | UpdateFade() | UpdatePackageSize() | Verbose():
                self.windows.set(message)
            case Instrument(names):
                self._play(names)
            case PredictInstruments(asked):
                self._play(tuple(name for name, play in zip(ASKED, asked, strict=True) if play))
            case Anticipation(frames):
                self._play_ahead(frames)
            case LoadModel():
                self._reply(Ready(True))
            case Reference(names, fade):
                self._refer(self._references.mixed(names), None, fade)
            case ReferenceRow(row, names, fade):
                self._refer(self._references.mixed(names), row, fade)
            case ReferenceBetween(one, other, share, fade):
                self._refer(self._references.between(one, other, share), None, fade)
            case SketchCurve(control, position, seconds, values_N):
                self._draw(Stroke(control, tuple(values_N.tolist()), seconds), position)
            case SketchLead(single, controls):
                self._lead.begin(controls, bool(single)).add_done_callback(self._answer_control)
            case SketchSound(position, samples_N):
                self._lead.hear(position, samples_N).add_done_callback(self._answer_control)
            case Print():
                self._say(f"{self.windows.settings}; {self.windows.counts}; {self.line.meters()}")
            case PacketTest(_, samples_N):
                self._reply(PacketTestResponse(len(samples_N), samples_N))
            case _:
                self._change(message)

    def _change(self, message: Message) -> None:
        """Let the session change between two blocks."""
        if isinstance(message, Reset):
            self.windows.reset()
        self.line.post(control_of(message)).add_done_callback(self._answer_control)

    def _refer(self, embedding_E: Tensor | None, row: int | None, fade_seconds: float | None) -> None:
        """Let the session sound like a reference."""
        change = partial(Session.set_reference, embedding_E=embedding_E, row=row, fade_seconds=fade_seconds or 0.0)
        self.line.post(lambda session: change(session)).add_done_callback(self._answer_control)

    def _draw(self, stroke: Stroke, position: int) -> None:
        """Draw a part of the session's sketch, from a position of the musician's on."""
        drawn = self.line.post_at(position, lambda session, sample: session.draw_sketch(stroke, sample))
        drawn.add_done_callback(self._answer_control)

    def _answer_control(self, done: Future[Any]) -> None:
        try:
            done.result()
        except CancelledError:
            return
        except Exception as error:  # of a model: whoever asked is told, and the next one gets a chance
            self.refuse(error)

    def _play(self, names: Sequence[str]) -> None:
        """Play other instruments; another number of them begins a new session.

        Raises:
            UserError: no name, or the model does not know one.
        """
        if not names:
            raise UserError("no instrument is asked for; ask for one or more")
        session = self._make_session(names)  # refuses a wrong name while the other one plays on
        if session.rows != self._rows:
            session.set_anticipation(self._session.anticipation_frames)
            self.line.stop()
            self._begin(session)
        else:
            self.line.post(lambda playing: take_instruments(playing, names))
            self._instruments = session.instruments
        self.windows.reset()
        self._reply(self.welcome())

    def _play_ahead(self, frames: int) -> None:
        """Play at another anticipation from the next block on, and say so."""
        session = self._session

        def welcome(done: Future[Any]) -> None:
            self._answer_control(done)
            if not done.cancelled() and done.exception() is None and session is self._session:
                self._reply(self.welcome())

        self.line.post(lambda playing: playing.set_anticipation(frames)).add_done_callback(welcome)

    def tick(self, now: float) -> None:
        """Do what is due."""
        self.windows.tick(now)

    @property
    def due(self) -> float:
        """When `tick` has something to do; infinite = never."""
        return self.windows.due

    def welcome(self) -> Welcome:
        """What plays here."""
        timing, anticipations = self._session.timing, self._session.anticipations
        delay_ms = timing.milliseconds(timing.codec_delay_samples + timing.resampling_delay_samples)
        return Welcome(
            timing.sample_rate_hz, timing.block_samples, timing.lead_samples, self._rows, delay_ms,
            ", ".join(self._instruments), self._session.anticipation_frames, anticipations[0], anticipations[-1],
        )  # fmt: skip

    def meters(self, refused: int) -> Meters:
        """How it goes.

        Args:
            refused: datagrams so far that could not be read, or came from somebody else.
        """
        line, windows = self.line.meters(), self.windows.counts
        return Meters(
            latency_ms=line.latency_p50_ms,
            longest_ms=line.latency_max_ms,
            spread_ms=line.spread_ms,
            patience_ms=line.patience_ms,
            lost_ms=line.lost_ms,
            gaps=line.gaps + windows.incomplete,
            late=line.late + windows.late,
            duplicates=line.duplicates + windows.duplicates,
            refused=refused,
            stalls=line.overruns + windows.dropped,
        )
