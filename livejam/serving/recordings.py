"""What a server was sent, as a file: so that a report of a fault can be played again.

The file is a line of JSON and then, for every packet, its time, its length, the number of its sender and its bytes. It
may come from a stranger: everything in it is bounded, and nothing in it is run.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from livejam.errors import UserError
from livejam.files import atomic_path

KIND = "livejam performance 1"
SUFFIX = ".performance"
LONGEST_HEAD, LONGEST_PACKET, LONGEST_SECONDS = 10_000, 1 << 16, 6 * 3600.0
PACKET = struct.Struct("<dIH")


@dataclass(frozen=True)
class Head:
    """What the packets are.

    Args:
        protocol: that they are of: osc or ws.
        sample_rate_hz: of the sound in them.
        instruments: that played when the recording began.
        seed: of the first of them; the next ones have the next seeds.
        hear_each_other: whether they did.
    """

    protocol: str
    sample_rate_hz: int
    instruments: tuple[str, ...]
    seed: int = 0
    hear_each_other: bool = False


Record = Callable[[float, bytes, int], None]
"""Takes the time in seconds since the beginning, a packet, and the number of its sender: 0, 1, …"""


@contextmanager
def recording(path: Path, head: Head) -> Iterator[Record]:
    """Write a recording, whole or not at all.

    Raises:
        UserError: the disk is full.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(json.dumps({"kind": KIND, **asdict(head)}).encode() + b"\n")
        yield lambda seconds, packet, sender: _write(file, seconds, packet, sender)


def _write(file: BinaryIO, seconds: float, packet: bytes, sender: int) -> None:
    file.write(PACKET.pack(seconds, len(packet), sender) + packet)


def read_head(path: Path) -> Head:
    """What a recording is of.

    Raises:
        UserError: it is missing, or no recording.
    """
    if not path.is_file():
        raise UserError(f"there is no recording {path}; `livejam perform` writes one into its --out folder")
    with path.open("rb") as file:
        return _head(path, file)


def read_packets(path: Path) -> Iterator[tuple[float, bytes, int]]:
    """Time, bytes and sender of every packet, in the order in which they were sent.

    Raises:
        UserError: the file is no recording, damaged or cut off.
    """
    with path.open("rb") as file:
        _head(path, file)
        before = 0.0
        while start := file.read(PACKET.size):
            if len(start) < PACKET.size:
                raise UserError(f"{path} is cut off; record it again")
            seconds, length, sender = PACKET.unpack(start)
            if not (math.isfinite(seconds) and before <= seconds <= LONGEST_SECONDS and length <= LONGEST_PACKET):
                raise UserError(f"{path} is damaged after {before:.1f} s; record it again")
            packet, before = file.read(length), seconds
            if len(packet) < length:
                raise UserError(f"{path} is cut off; record it again")
            yield seconds, packet, sender


def _head(path: Path, file: BinaryIO) -> Head:
    line = file.readline(LONGEST_HEAD)
    try:
        told: Any = json.loads(line)
        names = tuple(map(str, told["instruments"]))
        own = int(told["seed"]), bool(told["hear_each_other"])
        head = Head(str(told["protocol"]), int(told["sample_rate_hz"]), names, *own)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(f"{path} is no recording of `livejam perform`; give its *{SUFFIX} file") from error
    if told["kind"] != KIND or not 8_000 <= head.sample_rate_hz <= 192_000 or not 1 <= len(head.instruments) <= 64:
        raise UserError(f"{path} is a recording of another kind ({str(told['kind'])[:40]!r}); update livejam")
    return head
