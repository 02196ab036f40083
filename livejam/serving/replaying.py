"""A recording of what a server was sent, played again: the same code, without network, threads and clock.

Shapes: N audio samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from livejam.errors import UserError
from livejam.serving.line import Answer, Line
from livejam.serving.named_references import NamedReferences
from livejam.serving.osc_fields import Message
from livejam.serving.osc_messages import Error
from livejam.serving.osc_musician import OscMusician, Reply, SessionMaker
from livejam.serving.osc_server import Counts, OscDesk
from livejam.serving.recordings import Head
from livejam.streaming import Session
from livejam.streaming.clocks import VirtualClock
from livejam.streaming.rings import Audio

HOST = "127.0.0.1"
LONGEST_SECONDS = 3600


class AnswerTape:
    """All answers by position, the rows added; what a later answer says in the same place counts.

    Args:
        sample_rate_hz: of the answers.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self._most = LONGEST_SECONDS * sample_rate_hz
        self._audio_N: Audio = np.zeros(0, dtype=np.float32)
        self._end = 0

    def put(self, answer: Answer) -> None:
        """Keep an answer.

        Raises:
            UserError: it is more than an hour after position 0.
        """
        start, end = answer.position_samples, answer.position_samples + answer.audio_BAN.shape[-1]
        if not 0 <= start <= end <= self._most:
            raise UserError("the recording goes beyond an hour; cut it into shorter ones")
        if end > len(self._audio_N):
            self._audio_N = np.pad(self._audio_N, (0, max(end, 2 * len(self._audio_N)) - len(self._audio_N)))
        self._audio_N[start:end] = answer.audio_BAN[:, 0].sum(axis=0)
        self._end = max(self._end, end)

    def audio(self) -> Audio:
        """From position 0 to the end of the last answer."""
        return self._audio_N[: self._end]


def said_once(say: Callable[[str], None]) -> Callable[[str], None]:
    """Prints a sentence that was not printed before."""
    said = set[str]()

    def say_once(sentence: str) -> None:
        if sentence not in said:
            said.add(sentence)
            say(sentence)

    return say_once


def replay(
    packets: Iterable[tuple[float, bytes, int]],
    head: Head,
    make_session: SessionMaker,
    say: Callable[[str], None],
    references: NamedReferences,
) -> tuple[Audio, OscMusician, Counts]:
    """Send recorded packets to a model at the times at which they were sent; every time gives the same samples.

    Args:
        packets: time in seconds, bytes and sender of each.
        head: of the recording.
        make_session: makes the sessions that hear them.
        say: prints a sentence, as for what the musician asked for and is refused.
        references: that the musician may ask for.

    Returns:
        What was played, the sum of all rows from position 0 on; who played it; and what was received.

    Raises:
        UserError: of the packets, if they are of a damaged file; or positions beyond an hour.
    """
    clock, tape, refused = VirtualClock(), AnswerTape(head.sample_rate_hz), said_once(say)

    def make_line(session: Session, send: Callable[[Answer], None]) -> Line:
        return Line(session, tape.put, clock=clock, say=say)

    def make(reply: Reply) -> OscMusician:
        def answer(message: Message) -> None:
            if isinstance(message, Error):
                refused(f"refused: {message.sentence}")
            reply(message)

        return OscMusician(make_session, make_line, head.instruments, answer, say, references)

    desk = OscDesk(make, lambda datagram, address: None, 0)
    for seconds, packet, sender in packets:
        clock.sleep(max(0.0, seconds - clock.now()))
        desk.tick(clock.now())
        desk.receive(packet, (HOST, sender), clock.now())
        while desk.musician.line.engine.work():
            pass
    return tape.audio(), desk.musician, desk.counts
