"""A recording of what the page's server was sent, played again: the same code, without network, threads and clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from livejam.errors import UserError
from livejam.serving.line import Line
from livejam.serving.recordings import Head
from livejam.serving.replaying import AnswerTape, said_once
from livejam.serving.web_frames import read_heard
from livejam.serving.web_messages import FROM_PAGE, Begin, Control, read_message
from livejam.streaming.clocks import VirtualClock
from livejam.streaming.rings import Audio

if TYPE_CHECKING:
    from livejam.serving.web_shared import SessionMaker


def replay_web(
    packets: Iterable[tuple[float, bytes, int]], head: Head, make_session: SessionMaker, say: Callable[[str], None]
) -> tuple[Audio, Line]:
    """Send recorded frames to a model at the times at which they were sent; every time gives the same samples.

    Args:
        packets: time in seconds, bytes and sender of each.
        head: of the recording.
        make_session: makes the session that hears them.
        say: prints a sentence, as for what the musician asked for and is refused.

    Returns:
        What was played, the sum of all rows from position 0 on, and the line that played it.

    Raises:
        UserError: a packet is damaged, the first one does not begin, or the positions go beyond an hour.
    """
    clock, tape, refused = VirtualClock(), AnswerTape(head.sample_rate_hz), said_once(say)

    def answer(done: Future[Any]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            refused(f"refused: {error}")

    line: Line | None = None
    for seconds, packet, _ in packets:
        clock.sleep(max(0.0, seconds - clock.now()))
        message = read_message(packet.decode(errors="replace"), FROM_PAGE) if packet.startswith(b"{") else None
        if isinstance(message, Begin):
            line = Line(make_session(message.instruments, message.seed), tape.put, clock=clock, say=say)
        if line is None:
            raise UserError("the recording does not begin with `begin`; record it again")
        if message is None:
            heard = read_heard(packet)
            line.hear(heard.position_samples, heard.audio_N[None])
        elif isinstance(message, Control):
            line.post(message.change).add_done_callback(answer)
        while line.engine.work():
            pass
    if line is None:
        raise UserError("the recording holds nothing; record it again")
    return tape.audio(), line
