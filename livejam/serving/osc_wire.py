"""OSC 1.0 messages as bytes. Everything that is read may come from a stranger or be damaged.

python-osc reads and writes single arguments. Addresses, types and runs of numbers are read at once: python-osc goes
through texts letter by letter, and copies the rest of a datagram for every number of it.

Shapes: N numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

LONGEST_DATAGRAM = 65_507
"""Bytes that UDP carries at most."""

MOST_SINGLE = 64
"""Arguments before a run of numbers."""


class MalformedError(ValueError):
    """A datagram that is no OSC message."""


def read_datagram(datagram: bytes) -> tuple[str, list[Any]]:
    """Address and arguments of an OSC message.

    Args:
        datagram: any bytes.

    Returns:
        The address, and the arguments as int, float, str or bool; numbers of a run are floats.

    Raises:
        MalformedError: it is no message of OSC 1.0, holds types other than i, f, s, h, d, T and F, or more arguments
            before a run of numbers than any message has.
    """
    from pythonosc.parsing import osc_types

    if not datagram.startswith(b"/"):
        raise MalformedError("it does not begin with the address of a message")
    if len(datagram) % 4:
        raise MalformedError("its length is no multiple of four")
    try:
        address, place = _text(datagram, 0)
        tags, place = _text(datagram, place) if place < len(datagram) else (",", place)
        if not tags.startswith(","):
            raise MalformedError("it has no types")
        single = tags[1:].rstrip("if")
        values, place = _single(datagram, single, place)
    except (osc_types.ParseError, UnicodeDecodeError, struct.error) as error:
        raise MalformedError(str(error)) from error
    return address, values + _run(datagram[place:], tags[1 + len(single) :]).tolist()


def _text(datagram: bytes, place: int) -> tuple[str, int]:
    """A text that ends with a zero, and where the next argument begins."""
    end = datagram.find(b"\0", place)
    if end < 0:
        raise MalformedError("a text has no end")
    return datagram[place:end].decode(), (end // 4 + 1) * 4


def _single(datagram: bytes, tags: str, place: int) -> tuple[list[Any], int]:
    """Arguments of any types, one after the other, and where the next one begins."""
    from pythonosc.parsing import osc_types

    readers: Mapping[str, Callable[[bytes, int], tuple[Any, int]]] = {
        "i": osc_types.get_int,
        "h": osc_types.get_int64,
        "f": osc_types.get_float,
        "d": osc_types.get_double,
        "s": osc_types.get_string,
        "T": lambda _, at: (True, at),
        "F": lambda _, at: (False, at),
    }
    if len(tags) > MOST_SINGLE or not readers.keys() >= set(tags):
        raise MalformedError(f"its types {tags[:MOST_SINGLE]!r} are none of ours")
    values = []
    for tag in tags:
        value, place = readers[tag](datagram, place)
        values.append(value)
    return values, place


def _run(data: bytes, tags: str) -> npt.NDArray[np.float64]:
    """Numbers of four bytes, which must be all that is left."""
    if len(data) != 4 * len(tags):
        raise MalformedError(f"it holds {len(data)} bytes for {len(tags)} numbers")
    with np.errstate(invalid="ignore"):  # whole numbers may look like any float
        floats_N = np.frombuffer(data, dtype=">f4").astype(np.float64)
    if "i" not in tags:
        return floats_N
    whole_N = np.frombuffer(tags.encode(), dtype=np.uint8) == ord("i")
    return np.where(whole_N, np.frombuffer(data, dtype=">i4"), floats_N)


def write_datagram(address: str, arguments: list[tuple[str, Any]]) -> bytes:
    """An OSC message.

    Args:
        address: begins with a slash.
        arguments: type and value of each; a type with `…` has many values, `f…` in an array, and `[s]f…` a name and a
            number each, of which an empty name is left out.
    """
    from pythonosc.parsing import osc_types

    writers: Mapping[str, Callable[[Any], bytes]] = {
        "i": osc_types.write_int,
        "f": osc_types.write_float,
        "s": osc_types.write_string,
    }
    tags, data = ",", b""
    for tag, value in arguments:
        if tag == "f…":
            tags, data = tags + "f" * len(value), data + value.astype(">f4").tobytes()
        elif tag == "T":
            tags += "T" if value else "F"
        elif tag == "[s]f…":
            for name, number in value:
                tags += "sf" if name else "f"
                data += (writers["s"](name) if name else b"") + writers["f"](number)
        else:
            values = value if tag.endswith("…") else (value,)
            tags, data = tags + tag[0] * len(values), data + b"".join(map(writers[tag[0]], values))
    return bytes(osc_types.write_string(address) + osc_types.write_string(tags) + data)
