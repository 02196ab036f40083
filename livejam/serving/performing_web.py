"""A musician's side of the page's WebSocket.

Shapes: N audio samples.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TypeVar

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect

from livejam.errors import UserError
from livejam.serving.performing import Arrival, Refusal, Terms
from livejam.serving.web_frames import Heard, read_played, write_heard
from livejam.serving.web_messages import (
    FROM_SERVER,
    Anticipation,
    Begin,
    Begun,
    Message,
    Problem,
    Welcome,
    read_message,
)
from livejam.streaming.rings import Audio

M = TypeVar("M", bound=Message)
MEETING_SECONDS = 20.0
MOST_AT_ONCE = 256
PREFERRED = "Percussive"


class WebTransport:
    """A WebSocket to the page's server.

    Args:
        url: the address that `livejam serve web` prints, or the same with ws in the place of http.

    Raises:
        UserError: nobody answers there.
    """

    name = "ws"

    def __init__(self, url: str) -> None:
        address = re.sub(r"^http", "ws", url.rstrip("/")).removesuffix("/jam") + "/jam"
        self._url, self._stack = url, ExitStack()
        try:
            opened = connect(address, max_size=None, compression=None, open_timeout=MEETING_SECONDS, proxy=None)
            self._socket: ClientConnection = self._stack.enter_context(opened)
        except (OSError, ValueError, WebSocketException) as error:
            raise UserError(
                f"nobody answers at {url} ({error}); give the whole address that `livejam serve web` prints"
            ) from error

    def meet(self, seed: int) -> tuple[Terms, list[bytes]]:
        """See `Transport.meet`. Drums play if the model has learnt them, else its first instrument."""
        welcome = self._told(Welcome)
        name = PREFERRED if PREFERRED in welcome.instruments else welcome.instruments[0]
        begin = Begin((name,), seed).text()
        self._socket.send(begin)
        begun = self._told(Begun)
        anticipations = range(begun.least_anticipation, begun.most_anticipation + 1)
        shape = welcome.sample_rate_hz, begun.block_samples, begun.lead_samples
        return Terms(*shape, begun.instruments, begun.anticipation, anticipations), [begin.encode()]

    def _told(self, kind: type[M]) -> M:
        """The next message of a kind.

        Raises:
            UserError: the server refuses, or says nothing.
        """
        try:
            while True:
                message = _message(_bytes(self._socket.recv(timeout=MEETING_SECONDS)))
                if isinstance(message, kind):
                    return message
                if isinstance(message, Problem):
                    raise UserError(f"the server at {self._url} refuses: {message.sentence}")
        except (ConnectionClosed, TimeoutError) as error:
            raise UserError(f"{self._url} does not answer as `livejam serve web` does; check --server") from error

    def packet(self, sequence: int, position: int, audio_N: Audio) -> bytes:
        """See `Transport.packet`."""
        return write_heard(Heard(sequence, position, audio_N))

    def anticipate(self, frames: int) -> bytes:
        """See `Transport.anticipate`."""
        return Anticipation(frames).text().encode()

    def send(self, packet: bytes) -> None:
        """See `Transport.send`."""
        try:
            # JSON travels as text
            self._socket.send(packet.decode() if packet.startswith(b"{") else packet)
        except ConnectionClosed as error:
            raise UserError(f"the server at {self._url} ended the connection ({error})") from error

    def received(self, seconds: float) -> list[bytes]:
        """See `Transport.received`."""
        packets: list[bytes] = []
        try:
            while len(packets) < MOST_AT_ONCE:
                packets.append(_bytes(self._socket.recv(timeout=0 if packets else seconds)))
        except (TimeoutError, ConnectionClosed):  # `send` says that it is closed
            return packets
        return packets

    def read(self, packet: bytes) -> Arrival | Refusal | None:
        """See `Transport.read`."""
        message = _message(packet)
        if isinstance(message, Problem):
            return Refusal(message.sentence)
        if message is not None:
            return None
        try:
            played = read_played(packet)
        except UserError:
            return None
        return Arrival(played.position_samples, played.row, played.audio_N)

    def close(self) -> None:
        """See `Transport.close`."""
        self._stack.close()


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


def _message(packet: bytes) -> Message | None:
    """A JSON message, or None for sound and for what livejam does not say."""
    if not packet.startswith(b"{"):
        return None
    try:
        return read_message(packet.decode(errors="replace"), FROM_SERVER)
    except UserError:
        return None
