"""One musician's connection, from the welcome to the end.

    frames from the page → Line → Session → frames to the page

Shapes: B rows, A audio channels, N audio samples.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from torch import Tensor

from livejam.accompanist import TAKES_NONE
from livejam.errors import UserError
from livejam.serving.leading import Lead
from livejam.serving.line import Answer, Line
from livejam.serving.web_frames import (
    MOST_BYTES,
    Played,
    is_leading,
    is_recorded,
    read_heard,
    read_leading,
    read_recorded,
    write_played,
)
from livejam.serving.web_limits import Allowances, TooMuchError
from livejam.serving.web_messages import (
    FROM_PAGE,
    Begin,
    Begun,
    Control,
    Done,
    Leading,
    Message,
    Meters,
    Problem,
    Recording,
    Reference,
    read_message,
)
from livejam.serving.web_recordings import Recordings
from livejam.serving.web_shared import Stage, welcome

METERS_SECONDS = 1.0
FULL, TOO_MUCH, IDLE = 4001, 4002, 4003
"""Codes of connections that the server ends."""


class EndError(Exception):
    """The server ends the connection; the sentence says why."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


async def play(socket: WebSocket, stage: Stage) -> None:
    """Let a musician play until either side has enough."""
    await socket.accept()
    try:
        with stage.places.one():
            await Musician(socket, stage).run()
    except WebSocketDisconnect:
        return
    except UserError as error:  # there was no place
        await _end(socket, FULL, str(error))
    except EndError as error:
        await _end(socket, error.code, str(error))


async def _end(socket: WebSocket, code: int, sentence: str) -> None:
    if socket.client_state == WebSocketState.CONNECTED:
        try:
            await socket.send_text(Problem(sentence, ended=True).text())
            await socket.close(code)
        except (WebSocketDisconnect, RuntimeError):  # it has gone in the meantime
            return


class Musician:
    """A connection that has a place.

    Args:
        socket: accepted.
        stage: shared with the others.
    """

    def __init__(self, socket: WebSocket, stage: Stage) -> None:
        self._socket, self._stage = socket, stage
        self._allowed = Allowances(stage.limits, stage.sample_rate_hz, time.monotonic())
        self._unsent: asyncio.Queue[str | bytes] = asyncio.Queue(stage.limits.unsent_answers)
        self._recordings = Recordings(stage.sample_rate_hz)
        self._dropped = self._answers = 0
        self._heard_at = time.monotonic()

    async def run(self) -> None:
        """From the welcome to the end.

        Raises:
            WebSocketDisconnect: the musician has gone.
            EndError: the server has had enough.
        """
        await self._deliver(welcome(self._stage).text())
        line, begun = await self._begin()
        try:
            await self._deliver(begun.text())
            await self._play(line)
        finally:
            with anyio.CancelScope(shield=True):
                await asyncio.to_thread(line.stop)

    async def _begin(self) -> tuple[Line, Begun]:
        """Wait for `begin`, and begin."""
        while True:
            try:
                with anyio.fail_after(self._stage.limits.begin_seconds):
                    begin = await self._asked()
            except TimeoutError as error:
                raise EndError(IDLE, "nothing was played; start again to go on") from error
            try:
                return await self._begun(begin)
            except UserError as error:
                await self._refuse(error)

    async def _asked(self) -> Begin:
        """The next `begin`; sound that comes before is not heard."""
        while True:
            data = await self._received()
            if isinstance(data, str):
                message = await self._read(data)
                if isinstance(message, Begin):
                    return message
                if message is not None:
                    await self._refuse(UserError(f"{message.kind}: nothing plays yet; send begin first"))

    async def _begun(self, begin: Begin) -> tuple[Line, Begun]:
        loop = asyncio.get_running_loop()

        def send(answer: Answer) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._offer, answer)

        def started() -> tuple[Line, Begun]:
            session = self._stage.make_session(begin.instruments, begin.seed)
            timing, anticipations = session.timing, session.anticipations
            line = Line(session, send, turn=self._stage.baton, say=self._stage.say)
            line.start()
            begun = Begun(
                session.instruments,
                timing.block_samples,
                session.samples_to_next_block(0),
                session.step_samples,
                timing.lead_samples,
                session.anticipation_frames,
                anticipations[0],
                anticipations[-1],
            )
            return line, begun

        return await asyncio.to_thread(started)

    async def _play(self, line: Line) -> None:
        """Receive, send and measure at once, until one of them ends."""
        self._heard_at = time.monotonic()
        ends: list[Exception] = []
        async with anyio.create_task_group() as group:

            async def until_its_end(job: Callable[[Line], Awaitable[None]]) -> None:
                try:
                    await job(line)
                except (WebSocketDisconnect, EndError) as end:
                    ends.append(end)
                    group.cancel_scope.cancel()

            for job in (self._receive, self._send, self._measure):
                group.start_soon(until_its_end, job)
        if ends:
            raise ends[0]

    # From the page

    async def _received(self) -> str | bytes:
        """The next frame.

        Raises:
            WebSocketDisconnect: there is none.
            EndError: too many came, or it is too long.
        """
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code") or 1000)
        self._within(self._allowed.frame)
        text = message.get("text")
        data: str | bytes = message.get("bytes") or b"" if text is None else text
        if len(data) > MOST_BYTES:
            raise EndError(TOO_MUCH, f"a message of {len(data)} bytes is too long; send at most {MOST_BYTES}")
        return data

    def _within(self, allowance: Callable[..., None], *amount: int) -> None:
        try:
            allowance(*amount, time.monotonic())
        except TooMuchError as error:
            raise EndError(TOO_MUCH, str(error)) from error

    async def _receive(self, line: Line) -> None:
        lead = Lead(line)
        while True:
            data = await self._received()
            if isinstance(data, str):
                message = await self._read(data)
                if message is not None:
                    self._control(line, lead, message)
            else:
                await self._hear(line, lead, data)

    async def _hear(self, line: Line, lead: Lead, frame: bytes) -> None:
        try:
            if is_recorded(frame):
                self._put(frame)
                return
            if is_leading(frame):
                self._follow(lead, frame)
                return
            heard = read_heard(frame)
        except UserError as error:
            await self._refuse(error, counted=True)
            return
        self._within(self._allowed.sound, len(heard.audio_N))
        self._heard_at = time.monotonic()
        self._recordings.hear(heard.audio_N)
        line.hear(heard.position_samples, heard.audio_N[None])

    async def _read(self, text: str) -> Message | None:
        """A message, or None if it was refused."""
        self._within(self._allowed.control)
        try:
            return read_message(text, FROM_PAGE)
        except UserError as error:
            await self._refuse(error)
            return None

    def _put(self, frame: bytes) -> None:
        """Keep a piece of a recording.

        Raises:
            UserError: it is none, or the model takes none.
        """
        recorded = read_recorded(frame)
        self._within(self._allowed.recorded, len(recorded.audio_N))
        if self._stage.embed is None:
            raise UserError(TAKES_NONE)
        self._recordings.put(recorded)

    def _follow(self, lead: Lead, frame: bytes) -> None:
        """Let the sketch follow a block.

        Raises:
            UserError: it is none.
        """
        heard = read_leading(frame)
        self._within(self._allowed.leading, len(heard.audio_N))
        followed = asyncio.wrap_future(lead.hear(heard.position_samples, heard.audio_N))

        def said(done: asyncio.Future[None]) -> None:
            if not done.cancelled() and (error := done.exception()) is not None:
                self._offer_text(Problem(f"{Leading.kind}: {error}"[:1000], ended=False))

        followed.add_done_callback(said)

    def _control(self, line: Line, lead: Lead, message: Message) -> None:
        """Change the accompaniment; what is heard meanwhile does not wait for it."""
        try:
            if isinstance(message, Control):
                self._answer(message, line.post(message.change))
            elif isinstance(message, Recording):
                self._embed(message)
            elif isinstance(message, Reference):
                self._refer(line, message)
            elif isinstance(message, Leading):
                self._answer(message, lead.begin(message.controls, message.single))
            else:
                raise UserError("it plays already; open another connection")
        except UserError as error:
            self._offer_text(Problem(f"{message.kind}: {error}"[:1000], ended=False))

    def _embed(self, message: Recording) -> None:
        """Make a reference of a recording, in a thread of its own.

        Raises:
            UserError: there is none, or the model takes none.
        """
        self._within(self._allowed.recording)
        if self._stage.embed is None:
            raise UserError(TAKES_NONE)
        seconds = message.seconds
        audio_N = self._recordings.sent(message.slot) if seconds is None else self._recordings.last(seconds)
        future = asyncio.get_running_loop().run_in_executor(None, self._stage.embed, audio_N)

        def keep(done: asyncio.Future[Tensor]) -> None:
            if not done.cancelled() and done.exception() is None:
                self._recordings.keep(message.slot, done.result())

        future.add_done_callback(keep)
        self._answer(message, future)

    def _refer(self, line: Line, message: Reference) -> None:
        """Let the session sound like a reference.

        Raises:
            UserError: there is none.
        """
        embedding_E = None if message.share is None else self._recordings.between(message.share)
        fade, row = message.fade_seconds or 0.0, message.row
        future = line.post(lambda session: session.set_reference(embedding_E, row, fade_seconds=fade))
        self._answer(message, future)

    def _answer(self, message: Message, future: Future[Any] | asyncio.Future[Any]) -> None:
        """Say how it went, once it is done."""
        wrapped = future if isinstance(future, asyncio.Future) else asyncio.wrap_future(future)
        wrapped.add_done_callback(lambda done: self._changed(message, done))

    def _changed(self, message: Message, done: asyncio.Future[Any]) -> None:
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            told = done.result()
            self._offer_text(Done(message.kind, told if isinstance(told, float) else None))
            return
        if not isinstance(error, UserError):
            self._stage.say(f"{message.kind} failed ({error})")
        self._offer_text(Problem(f"{message.kind}: {error}"[:1000], ended=False))

    async def _refuse(self, error: UserError, counted: bool = False) -> None:
        if counted:
            self._within(self._allowed.control)
        await self._deliver(Problem(str(error)[:1000], ended=False).text())

    # To the page

    def _offer(self, answer: Answer) -> None:
        """Send an answer, row by row, unless the line is too slow for it."""
        rows = answer.audio_BAN.mean(axis=1)
        if self._unsent.maxsize - self._unsent.qsize() < len(rows):
            self._dropped += 1
            return
        for row, audio_N in enumerate(rows):
            self._unsent.put_nowait(write_played(Played(self._answers, answer.position_samples, row, audio_N)))
        self._answers += 1

    def _offer_text(self, message: Message) -> None:
        if not self._unsent.full():
            self._unsent.put_nowait(message.text())

    async def _send(self, _: Line) -> None:
        while True:
            await self._deliver(await self._unsent.get())

    async def _deliver(self, data: str | bytes) -> None:
        try:
            await (self._socket.send_text(data) if isinstance(data, str) else self._socket.send_bytes(data))
        except RuntimeError as error:  # the server of the protocol itself has closed: a frame was too long
            raise WebSocketDisconnect from error

    async def _measure(self, line: Line) -> None:
        limit = self._stage.limits.idle_seconds
        while True:
            await asyncio.sleep(METERS_SECONDS)
            if time.monotonic() - self._heard_at > limit:
                raise EndError(IDLE, f"no sound came for {limit:g} seconds; start again to go on")
            self._offer_text(self._meters(line))

    def _meters(self, line: Line) -> Meters:
        meters: Any = line.meters()
        same = ("seconds", "latency_p50_ms", "latency_max_ms", "spread_ms", "queue_ms", "lost_ms", "overruns")
        return Meters(
            **{name: getattr(meters, name) for name in same},
            failures=meters.failures,
            unsent=self._dropped,
            musicians=self._stage.places.taken,
            problem=meters.problem[:1000],
        )
