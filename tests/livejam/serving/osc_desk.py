"""An OSC desk without sockets, threads and clock: what a datagram causes has happened when the call returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from livejam.checkpoints.player import Player
from livejam.serving.line import Answer, Line
from livejam.serving.named_references import NamedReferences
from livejam.serving.osc_fields import Message
from livejam.serving.osc_messages import FROM_SERVER, Error, Stem, Stream, StreamAnswer, read_message
from livejam.serving.osc_musician import OscMusician, Reply
from livejam.serving.osc_server import Address, OscDesk
from livejam.serving.osc_wire import write_datagram
from livejam.streaming import Session
from livejam.streaming.clocks import VirtualClock
from livejam.streaming.rings import Audio

RATE = 44_100
BLOCK = 256
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


def heard(desk: Desk, audio_N: Audio, start: int = 0) -> list[Message]:
    """What is answered to sound from a position on."""
    answers: list[Message] = []
    for at in range(0, len(audio_N) - BLOCK + 1, BLOCK):
        desk.clock.sleep(BLOCK / RATE)
        answers += desk(Stream((start + at) // BLOCK, start + at, audio_N[at : at + BLOCK]))
    return answers


def take_anything(desk: Desk, packets: Sequence[Any], audio_N: Audio) -> int:
    """Send packets, some of them damaged, with blocks of sound between: each gets at most one error, a sentence.

    Args:
        desk: gets them.
        packets: address and arguments; noise to damage the datagram with, or None; how many fours of blocks follow.
        audio_N: the sound, from its beginning after every packet.

    Returns:
        how many samples were sent.
    """
    position = 0
    for (address, arguments), noise, blocks in packets:
        datagram = write_datagram(address, list(arguments))
        if noise is not None:
            datagram = noise + datagram[len(noise) :] if noise[0] % 2 else datagram[: -len(noise)] + noise
        desk.clock.sleep(0.2)
        errors = [answer for answer in desk(datagram) if isinstance(answer, Error)]
        assert len(errors) <= 1
        assert all(error.sentence and "Traceback" not in error.sentence for error in errors)
        heard(desk, audio_N[: 4 * blocks * BLOCK], position)
        position += len(audio_N[: 4 * blocks * BLOCK])
    assert desk.desk.counts.failed == 0
    assert not [words for words in desk.printed if "failed" in words]
    return position


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
