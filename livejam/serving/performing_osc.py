"""A musician's side of OSC.

Shapes: N audio samples.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar

from livejam.errors import UserError
from livejam.serving.addresses import is_loopback
from livejam.serving.osc_fields import Message
from livejam.serving.osc_messages import (
    FROM_SERVER,
    Anticipation,
    Error,
    Hello,
    Instrument,
    Seed,
    Stream,
    StreamAnswer,
    Welcome,
    read_message,
)
from livejam.serving.osc_server import open_socket
from livejam.serving.osc_wire import MalformedError
from livejam.serving.performing import Arrival, Refusal, Terms
from livejam.streaming.rings import Audio

M = TypeVar("M", bound=Message)
MEETING_SECONDS, ASK_AGAIN_SECONDS = 10.0, 0.5
MOST_AT_ONCE = 256


class OscTransport:
    """UDP packets to a server and back.

    Args:
        host: of the server.
        port: of the server.
        reply_port: where answers come; the server's `--reply-port`.
        say: prints a sentence.

    Raises:
        UserError: there is no such host, or the reply port is in use.
    """

    name = "osc"

    def __init__(self, host: str, port: int, reply_port: int, say: Callable[[str], None]) -> None:
        try:
            family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        except OSError as error:
            raise UserError(f"there is no host {host} ({error.strerror}); check --server") from error
        self._server: tuple[Any, ...] = address
        everywhere, here = ("::", "::1") if family == socket.AF_INET6 else ("0.0.0.0", "127.0.0.1")
        self._socket = open_socket(here if is_loopback(host) else everywhere, reply_port, say, "--reply-port")

    def meet(self, seed: int) -> tuple[Terms, list[bytes]]:
        """See `Transport.meet`."""
        welcome = self._asked(Hello(), Welcome)
        names = tuple(name.strip() for name in welcome.instruments.split(","))
        # said once more, so that a recording holds what played, and in what state
        sent = [message.datagram() for message in (Hello(), Instrument(names), Seed(seed))]
        for packet in sent:
            self.send(packet)
        anticipations = range(welcome.least, welcome.most + 1)
        shape = welcome.sample_rate_hz, welcome.block_samples, welcome.lead_samples
        return Terms(*shape, names, welcome.anticipation, anticipations), sent

    def _asked(self, question: Message, kind: type[M]) -> M:
        """The answer to a question, which may get lost."""
        host, port = self._server[:2]
        end = time.monotonic() + MEETING_SECONDS
        while time.monotonic() < end:
            self.send(question.datagram())
            asked = time.monotonic()
            while time.monotonic() < asked + ASK_AGAIN_SECONDS:
                for message in map(_message, self.received(ASK_AGAIN_SECONDS)):
                    if isinstance(message, kind):
                        return message
                    if isinstance(message, Error):
                        raise UserError(f"the server at {host}:{port} refuses: {message.sentence}")
        raise UserError(f"nobody answers at {host}:{port}; start `livejam serve osc`, with the same --reply-port")

    def packet(self, sequence: int, position: int, audio_N: Audio) -> bytes:
        """See `Transport.packet`."""
        return Stream(sequence, position, audio_N).datagram()

    def anticipate(self, frames: int) -> bytes:
        """See `Transport.anticipate`."""
        return Anticipation(frames).datagram()

    def send(self, packet: bytes) -> None:
        """See `Transport.send`."""
        try:
            self._socket.sendto(packet, self._server)
        except OSError as error:
            if not isinstance(error, BlockingIOError):
                raise UserError(f"{self._server[0]} cannot be reached ({error.strerror}); check --server") from error

    def received(self, seconds: float) -> list[bytes]:
        """See `Transport.received`."""
        packets: list[bytes] = []
        if not select.select([self._socket], [], [], seconds)[0]:
            return packets
        while len(packets) < MOST_AT_ONCE:
            try:
                packets.append(self._socket.recv(1 << 16))
            except OSError:
                break
        return packets

    def read(self, packet: bytes) -> Arrival | Refusal | None:
        """See `Transport.read`."""
        match _message(packet):
            case StreamAnswer(_, position, row, samples_N):
                return Arrival(position, row, samples_N)
            case Error(sentence):
                return Refusal(sentence)
        return None

    def close(self) -> None:
        """See `Transport.close`."""
        self._socket.close()


def _message(packet: bytes) -> Message | None:
    try:
        return read_message(packet, FROM_SERVER)
    except (MalformedError, UserError):  # whatever else comes to this port
        return None
