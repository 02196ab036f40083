"""The OSC server on a UDP port, for one musician at a time. One thread receives; the line's worker plays."""

from __future__ import annotations

import errno
import logging
import math
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from livejam.errors import UserError
from livejam.serving.addresses import is_loopback
from livejam.serving.osc_fields import Message
from livejam.serving.osc_messages import TO_SERVER, Error, Hello, Ready, read_message
from livejam.serving.osc_musician import OscMusician, Reply, Say
from livejam.serving.osc_wire import MalformedError
from livejam.serving.recordings import Record
from livejam.streaming.priority import prioritised

LOG = logging.getLogger(__name__)

FREE_AFTER_SECONDS = 10.0
"""A musician who is silent for so long makes room for another."""

METERS_EVERY_SECONDS = 1.0
ERRORS_EVERY_SECONDS = 0.1
"""At most one `/error` in this time: a stranger must not make us send more than he does."""

BUFFER_BYTES = 4 << 20
LARGEST_DATAGRAM = 1 << 16
MOST_SENDERS = 1000
AT_ONCE = 64
"""Datagrams between two looks at the clock."""

Address = tuple[Any, ...]
"""Host, port, and for IPv6 two numbers more."""

MusicianMaker = Callable[[Reply], OscMusician]


@dataclass
class Counts:
    """Datagrams so far.

    Args:
        received: all.
        malformed: that are no OSC message.
        refused: messages that do not exist, or with wrong arguments.
        strangers: from somebody else while a musician plays.
        unsent: answers that the network did not take.
        failed: that met a fault of ours.
    """

    received: int = 0
    malformed: int = 0
    refused: int = 0
    strangers: int = 0
    unsent: int = 0
    failed: int = 0

    @property
    def unread(self) -> int:
        """Datagrams that changed nothing."""
        return self.malformed + self.refused + self.strangers


class OscDesk:
    """Takes datagrams from anybody, lets one musician play, and answers that one.

    Args:
        make: makes who plays, given what sends a message to the musician.
        send: sends a datagram to an address; called from several threads.
        reply_port: where the musician's program listens.
        record: takes what the musician sends.
    """

    def __init__(
        self,
        make: MusicianMaker,
        send: Callable[[bytes, Address], None],
        reply_port: int,
        record: Record = lambda seconds, datagram, sender: None,
    ) -> None:
        self.counts = Counts()
        self._record, self._began, self._senders = record, float("nan"), dict[Address, int]()
        self._send, self._reply_port = send, reply_port
        self._owner: Address | None = None
        self._heard_at = self._metered_at = float("-inf")
        self._error_at = float("-inf")
        self.musician = make(self._reply)

    def receive(self, datagram: bytes, sender: Address, now: float) -> None:
        """Do what a datagram asks for; whatever it holds, nothing is raised."""
        self.counts.received += 1
        with self._carrying_on():
            self._receive(datagram, sender, now)

    @contextmanager
    def _carrying_on(self) -> Iterator[None]:
        """A fault of ours costs what it was met at, and is said once."""
        try:
            yield
        except Exception as error:
            self.counts.failed += 1
            if self.counts.failed == 1:
                LOG.exception("a datagram could not be handled (%s); please report it", error)

    def _receive(self, datagram: bytes, sender: Address, now: float) -> None:
        try:
            message = read_message(datagram, TO_SERVER)
        except MalformedError:
            self.counts.malformed += 1
            return
        except UserError as error:
            self.counts.refused += 1
            if self._may_play(sender, now):
                self._refuse(error, sender, now)
            return
        if self._may_play(sender, now):
            self._welcome(message, sender, now)
            self._keep(datagram, sender, now)
            self.musician.receive(message, now)
        else:
            self.counts.strangers += 1
            self._refuse(UserError("another musician plays here; try again when it is silent for 10 s"), sender, now)

    def _keep(self, datagram: bytes, sender: Address, now: float) -> None:
        """Record what a musician sends; all senders beyond a thousand are one."""
        self._began = now if math.isnan(self._began) else self._began
        if len(self._senders) < MOST_SENDERS:
            self._senders.setdefault(sender, len(self._senders))
        self._record(now - self._began, datagram, self._senders.get(sender, MOST_SENDERS))

    def _may_play(self, sender: Address, now: float) -> bool:
        """Whether nobody else plays. Programs of one machine are one musician: they share its reply port."""
        silent = now - self._heard_at >= FREE_AFTER_SECONDS
        return self._owner is None or silent or sender[0] == self._owner[0]

    def _welcome(self, message: Message, sender: Address, now: float) -> None:
        """Note who plays; a program that comes anew begins anew."""
        self._heard_at = now
        known = self._owner is not None and sender[0] == self._owner[0]
        if not known or (isinstance(message, Hello) and sender != self._owner):
            self._owner, self._metered_at = sender, now
            self.musician.another()

    def _refuse(self, error: BaseException, sender: Address, now: float) -> None:
        if now - self._error_at >= ERRORS_EVERY_SECONDS:
            self._error_at = now
            self._send(Error(" ".join(str(error).split())[:500]).datagram(), self._at_reply_port(sender))

    def _at_reply_port(self, sender: Address) -> Address:
        return (sender[0], self._reply_port, *sender[2:])

    def _reply(self, message: Message) -> None:
        if self._owner is not None:
            self._send(message.datagram(), self._at_reply_port(self._owner))

    def tick(self, now: float) -> None:
        """Do what is due."""
        with self._carrying_on():
            self._tick(now)

    def _tick(self, now: float) -> None:
        self.musician.tick(now)
        present = self._owner is not None and now - self._heard_at < FREE_AFTER_SECONDS
        if present and now - self._metered_at >= METERS_EVERY_SECONDS:
            self._metered_at = now
            self._reply(self.musician.meters(self.counts.unread))

    def seconds_to_wait(self, now: float) -> float:
        """Until `tick` has something to do."""
        return min(max(0.0, self.musician.due - now), METERS_EVERY_SECONDS / 10)


class OscServer:
    """A desk at a UDP port.

    Args:
        make: makes who plays.
        host: name or address of this machine that is listened at.
        port: that is listened at; 0 = any.
        reply_port: of the musician's program.
        say: prints a sentence.
        record: takes what the musician sends.

    Raises:
        UserError: the port is in use, or the address is none of this machine.
    """

    def __init__(
        self,
        make: MusicianMaker,
        host: str,
        port: int,
        reply_port: int,
        say: Say,
        record: Record = lambda seconds, datagram, sender: None,
    ) -> None:
        self._socket = open_socket(host, port, say)
        self.port: int = self._socket.getsockname()[1]
        self._host, self._reply_port, self._stopping = host, reply_port, False
        try:
            self.desk = OscDesk(make, self._send, reply_port, record)
        except BaseException:
            self._socket.close()
            raise

    def run(self) -> None:
        """Serve until `stop` is called, or an interrupt."""
        try:
            if is_loopback(self._host):
                self._send(Ready(True).datagram(), (self._socket.getsockname()[0], self._reply_port))
            with prioritised():
                while not self._stopping:
                    self._turn()
        finally:
            self.desk.musician.stop()
            self._socket.close()

    def stop(self) -> None:
        """Let `run` return within a tenth of a second; called from another thread."""
        self._stopping = True

    def _turn(self) -> None:
        """Wait for datagrams, take them, and do what is due."""
        readable, _, _ = select.select([self._socket], [], [], self.desk.seconds_to_wait(time.monotonic()))
        for _ in range(AT_ONCE if readable else 0):
            try:
                datagram, sender = self._socket.recvfrom(LARGEST_DATAGRAM)
            except BlockingIOError:
                break
            except OSError:  # what some systems say of an answer that nobody took
                continue
            self.desk.receive(datagram, sender, time.monotonic())
        self.desk.tick(time.monotonic())

    def _send(self, datagram: bytes, address: Address) -> None:
        try:
            self._socket.sendto(datagram, address)
        except OSError:  # a full buffer, or a network that is gone: it is as good as lost on the way
            self.desk.counts.unsent += 1


def open_socket(host: str, port: int, say: Say, option: str = "--port") -> socket.socket:
    """A UDP socket that never blocks, with buffers of 4 MiB if the system grants them.

    Args:
        host: name or address of this machine.
        port: that is listened at; 0 = any.
        say: prints a sentence.
        option: that chooses the port.

    Raises:
        UserError: the port is in use, or the address is none of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        opened = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UserError(f"--host {host} is no address ({error.strerror}); use 127.0.0.1, or 0.0.0.0 for all") from error
    try:
        opened.bind(address)
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port {port} is in use; end the other program, or choose another {option}") from error
        raise UserError(f"{host}:{port} cannot be listened at ({error.strerror}); choose another address") from error
    opened.setblocking(False)
    granted = min(_granted(opened, option) for option in (socket.SO_RCVBUF, socket.SO_SNDBUF))
    if granted < BUFFER_BYTES:
        say(
            f"the system grants network buffers of {granted >> 10} KiB instead of {BUFFER_BYTES >> 10}: large packets "
            "may get lost; on Linux, sysctl -w net.core.rmem_max=4194304 net.core.wmem_max=4194304 helps"
        )
    return opened


def _granted(opened: socket.socket, option: int) -> int:
    """Ask for a buffer, and say how large it is; Linux counts every byte twice."""
    with suppress(OSError):  # some systems refuse instead of granting less
        opened.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    doubled = 2 if hasattr(socket, "SO_PEERCRED") else 1
    return opened.getsockopt(socket.SOL_SOCKET, option) // doubled
