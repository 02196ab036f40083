"""An OSC desk without sockets, threads and clock: what a datagram causes has happened when the call returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from livejam.checkpoints.player import Player
from livejam.serving.line import Answer, Line
from livejam.serving.named_references import NamedReferences
from livejam.serving.osc_fields import Message
from livejam.serving.osc_messages import FROM_SERVER, Stem, StreamAnswer, read_message
from livejam.serving.osc_musician import OscMusician, Reply
from livejam.serving.osc_server import Address, OscDesk
from livejam.streaming import Session
from livejam.streaming.clocks import VirtualClock
from livejam.streaming.rings import Audio

RATE = 44_100
NO_REFERENCES = NamedReferences()
MUSICIAN, STRANGER = ("10.0.0.1", 5000), ("10.0.0.2", 5000)


class Desk:
    """A desk, what it said and to whom."""

    def __init__(
        self,
        player: Player,
        instruments: Sequence[str] = ("Percussive",),
        references: NamedReferences = NO_REFERENCES,
    ) -> None:
        self.player, self.clock = player, VirtualClock()
        self.sent: list[tuple[Address, Message]] = []
        self.printed: list[str] = []
        self.busy = False
        self.desk = OscDesk(self._musician(instruments, references), self._send, 8000)

    def session(self, instruments: Sequence[str] | None) -> Session:
        names = list(instruments or ["Percussive"])
        return Session(self.player, sample_rate_hz=RATE, channels=1, instruments=names, seeds=range(5, 5 + len(names)))

    def _musician(self, instruments: Sequence[str], references: NamedReferences) -> Callable[[Reply], OscMusician]:
        def line(session: Session, send: Callable[[Answer], None]) -> Line:
            return Line(session, send, clock=self.clock, say=self.printed.append)

        return lambda reply: OscMusician(self.session, line, instruments, reply, self.printed.append, references)

    def _send(self, datagram: bytes, address: Address) -> None:
        self.sent.append((address, read_message(datagram, FROM_SERVER)))

    def __call__(self, message: Message | bytes, sender: Address = MUSICIAN) -> list[Message]:
        """Send something, and get what is answered to this address."""
        before = len(self.sent)
        datagram = message if isinstance(message, bytes) else message.datagram()
        self.desk.receive(datagram, sender, self.clock.now())
        self.work()
        return [answer for address, answer in self.sent[before:] if address == (sender[0], 8000)]

    def work(self) -> None:
        """Let the line do what it has to do, unless it is busy."""
        while not self.busy and self.desk.musician.line.engine.work():
            pass

    def later(self, seconds: float) -> list[Message]:
        """Let time pass, and get what was sent to the musician meanwhile."""
        before = len(self.sent)
        self.clock.sleep(seconds)
        self.desk.tick(self.clock.now())
        self.work()
        return [answer for _, answer in self.sent[before:]]


def placed(answers: Sequence[Message], rows: int, samples: int) -> Audio:
    """What answers of the stream sound like, from position 0 on; NaN where there is none."""
    audio_BN = np.full((rows, samples), np.nan, dtype=np.float32)
    for answer in answers:
        if isinstance(answer, StreamAnswer) and answer.play_at < samples:
            end = min(samples, answer.play_at + len(answer.samples_N))
            audio_BN[answer.row, answer.play_at : end] = answer.samples_N[: end - answer.play_at]
    return audio_BN


def windows(answers: Sequence[Message]) -> dict[tuple[str, int], Audio]:
    """Address and batch → what its chunks say."""
    stems = [answer for answer in answers if isinstance(answer, Stem)]
    found: dict[tuple[str, int], list[Stem]] = {}
    for stem in stems:
        found.setdefault((stem.sent_to, stem.batch), []).append(stem)
    for chunks in found.values():
        assert [stem.chunk for stem in chunks] == list(range(chunks[0].chunks))
    return {key: np.concatenate([stem.samples_N for stem in chunks]) for key, chunks in found.items()}
