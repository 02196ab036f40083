"""OSC messages: what is sent is read, other programs agree, and nothing that a stranger sends does any harm."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from commands import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

from livejam.errors import UserError
from livejam.serving import osc_messages, osc_sound_messages, osc_word_messages
from livejam.serving.osc_arguments import Argument
from livejam.serving.osc_fields import Message, arguments_of
from livejam.serving.osc_messages import (
    FROM_SERVER,
    STEMS,
    TO_SERVER,
    Known,
    Level,
    Stem,
    Stream,
    read_message,
)
from livejam.serving.osc_tables import TABLES, renewed
from livejam.serving.osc_wire import LONGEST_DATAGRAM, MalformedError, write_datagram
from livejam.serving.osc_word_messages import Guidance

KINDS = [(kind, TO_SERVER) for kind in TO_SERVER.values()]
KINDS += [(kind, FROM_SERVER) for kind in dict.fromkeys(FROM_SERVER.values())]


TEXTS = st.text("aZ 0/äß→é#*?[]{},", max_size=40)


def values_of(argument: Argument) -> st.SearchStrategy[Any]:
    """What an argument may be."""
    low, high = argument.allowed.low, argument.allowed.high
    match argument.tag:
        case "i":
            value: st.SearchStrategy[Any] = st.integers(int(low), int(high))
        case "f":
            value = (
                st.floats(low, high).map(lambda number: float(np.float32(number))).filter(lambda x: low <= x <= high)
            )
        case "T":
            value = st.booleans()
        case "s":
            value = TEXTS
        case "s…":
            value = st.lists(TEXTS, min_size=1, max_size=min(4, int(high))).map(tuple)
        case "[s]f…":
            weight = st.floats(0, 30, width=32)
            names = st.lists(st.tuples(TEXTS.filter(bool), weight), min_size=1, max_size=4).map(tuple)
            value = names | weight.map(lambda one: (("", one),))
        case "i…":
            value = st.lists(st.integers(-5, 5), min_size=int(low), max_size=int(high)).map(tuple)
        case _:
            samples = st.lists(st.floats(-1000, 1000, width=32), min_size=int(low), max_size=8)
            value = samples.map(lambda samples: np.array(samples, dtype=np.float32))
    return st.none() | value if argument.optional else value


def messages_of(kind: type[Message]) -> st.SearchStrategy[Message]:
    """Any message of a kind."""
    arguments = {name: values_of(argument) for name, argument in arguments_of(kind)}
    if kind is Stem:
        arguments["instrument"] = st.sampled_from(list(STEMS.values()))
    return st.fixed_dictionaries(arguments).map(lambda given: kind(**given))


def same(one: Message, other: Message) -> bool:
    pairs = [(getattr(one, name), getattr(other, name)) for name in vars(one)]
    return type(one) is type(other) and all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(("kind", "known"), KINDS, ids=[kind.__name__ for kind, _ in KINDS])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_what_is_sent_is_read(kind: type[Message], known: Known, data: st.DataObject) -> None:
    message = data.draw(messages_of(kind))
    datagram = message.datagram()
    assert len(datagram) <= LONGEST_DATAGRAM
    assert same(read_message(datagram, known), message)
    foreign = OscMessage(datagram)  # python-osc reads the same
    assert foreign.address == message.sent_to
    values = [getattr(message, name) for name, _ in arguments_of(kind) if getattr(message, name) is not None]
    parts = [part for value in values for part in (value if isinstance(value, tuple | np.ndarray) else (value,))]
    if kind is Guidance:  # pairs of a name, which may be left out, and a number
        parts = [part for name, weight in parts for part in ((name, weight) if name else (weight,))]
    assert foreign.params == parts


def test_what_other_programs_send_is_read() -> None:
    """Pd sends all numbers as floats, Max whole numbers where they are whole, SuperCollider doubles."""
    builder = OscMessageBuilder("/stream")
    for value, tag in ((3.0, "f"), (640.0, "f"), (0, "i"), (0.5, "f"), (-1, "i")):
        builder.add_arg(value, tag)
    message = read_message(builder.build().dgram, TO_SERVER)
    assert same(message, Stream(3, 640, np.array([0, 0.5, -1], dtype=np.float32)))
    for value, tag in ((-6, "i"), (-6.0, "d"), (-6, "h")):
        builder = OscMessageBuilder("/level")
        builder.add_arg(value, tag)
        assert read_message(builder.build().dgram, TO_SERVER) == Level(-6.0)


@pytest.mark.parametrize(
    ("address", "arguments", "said"),
    [
        ("/levle", [("f", 1.0)], "did you mean /level?"),
        ("/level", [], "/level: level in dB is missing"),
        ("/level", [("f", 99.0)], "level in dB is 99.0; it must be from -120 to 24"),
        ("/level", [("s", "loud")], "'loud' is not a finite number"),
        ("/level", [("f", 0.0), ("i", 0), ("i", 0)], "/level: it has 3 arguments instead of 2"),
        ("/level", [("f", float("nan"))], "'nan' is not a finite number"),
        ("/seed", [("f", 0.5)], "seed: '0.5' is not a whole number"),
        ("/mute", [("i", 2)], "it must be from 0 to 1"),
        ("/stream", [("i", 0), ("i", 0)], "0 samples, up to 1024 were given; it must be from 1 to 1024"),
        ("/stream", [("i", 0), ("i", 0), ("f…", np.zeros(1025, dtype=np.float32))], "1025 samples"),
        ("/stream", [("i", 0), ("i", -1), ("f", 0.0)], "it must be from 0 to"),
        ("/stream", [("i", 0), ("i", 0), ("f", float("inf"))], "must be finite and within ±1000"),
        ("/stream", [("i", 0), ("i", 0), ("s", "0.5")], "is not a finite number"),
        ("/instrument", [], "0 names of instruments"),
        ("/prompt", [("s", "x" * 2000)], "less than 1000 letters"),
        ("/predict_instruments", [("i", 1)], "it must be from 4 to 4"),
        ("/negative_prompt", [("s", "x" * 2000)], "less than 1000 letters"),
        ("/negative_prompt", [("s", "strings " * 10_000)], "less than 1000 letters"),
        ("/negative_prompt", [("i", 1)], "is not a text"),
        ("/negative_prompt", [("s", "piano"), ("i", 16)], "it must be from 0 to 15"),
        ("/guidance", [], "is not one finite number, or names"),
        ("/guidance", [("s", "mix"), ("f", 1.0)] * 5, "5 names among `mix`"),
        ("/guidance", [("f", math.nan)], "is not one finite number, or names"),
        ("/guidance", [("s", "prompt"), ("f", math.inf)], "is not one finite number, or names"),
        ("/guidance", [("s", "prompt")], "is not one finite number, or names"),
        ("/guidance", [("s", "prompt"), ("s", "3")], "is not one finite number, or names"),
        ("/guidance", [("f", 3.0), ("f", 3.0)], "is not one finite number, or names"),
        ("/guidance", [("s", "prompt"), ("f", 3.0), ("s", "mix")], "is not one finite number, or names"),
    ],
)
def test_what_is_refused_is_said_in_a_sentence(address: str, arguments: list[tuple[str, Any]], said: str) -> None:
    with pytest.raises(UserError) as refused:
        read_message(write_datagram(address, arguments), TO_SERVER)
    assert said in str(refused.value)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"/", b"/stream\0", b"/level\0\0,", b"#bundle\0"]))
def test_any_bytes_are_a_message_or_refused(noise: bytes, head: bytes) -> None:
    try:
        assert isinstance(read_message(head + noise, TO_SERVER), Message)
    except (MalformedError, UserError):
        return


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_message_is_a_message_or_refused(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(TO_SERVER.values())))
    damaged = bytearray(data.draw(messages_of(kind)).datagram())
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    try:
        assert isinstance(read_message(bytes(damaged[:cut]), TO_SERVER), Message)
    except (MalformedError, UserError):
        return


@pytest.mark.parametrize(
    "hostile",
    [
        b"/" + b"x" * 65_503,
        b"/level\0\0," + b"if" * 32_700 + b"x\0\0",
        b"/level\0\0," + b"s" * 65_000 + b"\0\0\0\0",
        b"/level\0\0," + b"[" * 65_000 + b"\0\0\0\0",
        b"/level\0\0,b\0\0\x7f\xff\xff\xff",
        b"/level\0\0,f\0\0\0\0",
        b"#bundle\0\0\0\0\0\0\0\0\x01",
    ],
)
def test_hostile_datagrams_cost_no_time(hostile: bytes) -> None:
    began = time.process_time()
    with pytest.raises((MalformedError, UserError)):
        read_message(hostile[: len(hostile) // 4 * 4], TO_SERVER)
    assert time.process_time() - began < 0.1


def test_the_page_has_the_messages_of_now() -> None:
    page = (REPOSITORY / "docs" / "osc.md").read_text(encoding="utf-8")
    assert renewed(page) == page, "python -m livejam.serving.osc_tables docs/osc.md renews them"
    assert all(f"<!-- table: {name} -->" in page for name in TABLES)
    shown = {kind for kinds in TABLES.values() for kind in kinds}
    assert shown == {*TO_SERVER.values(), *FROM_SERVER.values()}


def test_every_message_is_in_a_table() -> None:
    modules = osc_messages, osc_sound_messages, osc_word_messages
    named = [value for module in modules for value in vars(module).values()]
    kinds = {kind for kind in named if isinstance(kind, type) and issubclass(kind, Message)}
    assert kinds - {Message} == {*TO_SERVER.values(), *FROM_SERVER.values()}
    assert all(kind.__doc__ and arguments_of(kind) is not None for kind in kinds)
