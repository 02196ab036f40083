"""What an OSC message is: a dataclass whose fields with an `Argument` are on the wire, in their order."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

from livejam.errors import UserError
from livejam.option_ranges import FINITE, Range
from livejam.serving.osc_arguments import Argument
from livejam.serving.osc_wire import write_datagram

LAST = 2**31 - 1
"""The largest whole number of OSC."""

MOST_ROWS = 16
LONGEST_BLOCK = 1024
"""Samples of a block of `/stream`, and of the sound that leads a sketch."""

M = TypeVar("M", bound="Message")
Metadata = dict[str, Argument]


def whole(words: str, low: int = 0, high: int = LAST, optional: bool = False) -> Metadata:
    """A whole number."""
    return {"argument": Argument("i", words, Range(low, high), optional)}


def number(words: str, low: float, high: float, optional: bool = False) -> Metadata:
    """A number."""
    return {"argument": Argument("f", words, Range(low, high), optional)}


def text(words: str, optional: bool = False) -> Metadata:
    """Words."""
    return {"argument": Argument("s", words, FINITE, optional)}


def yes(words: str, optional: bool = False) -> Metadata:
    """Yes or no."""
    return {"argument": Argument("T", words, FINITE, optional)}


def rest(tag: str, words: str, least: int, most: int) -> Metadata:
    """All that is left."""
    return {"argument": Argument(tag, words, Range(least, most))}


def pairs(words: str, least: int, most: int) -> Metadata:
    """All that is left: one number, or names with a number each."""
    return {"argument": Argument("[s]f…", words, Range(least, most))}


def arguments_of(kind: type[Message]) -> list[tuple[str, Argument]]:
    """Name and meaning of every argument of a message, in the order of the wire."""
    return [(entry.name, entry.metadata["argument"]) for entry in fields(kind) if "argument" in entry.metadata]


@dataclass(frozen=True)
class Message:
    """An OSC message whose arguments are within their bounds.

    Raises:
        UserError: an argument is out of range.
    """

    address: ClassVar[str]

    def __post_init__(self) -> None:
        for name, argument in arguments_of(type(self)):
            argument.require(getattr(self, name))

    @property
    def sent_to(self) -> str:
        """Its address."""
        return self.address

    @classmethod
    def heard(cls: type[M], address: str, values: list[Any]) -> M:
        """The message with arguments that stood on the wire.

        Raises:
            UserError: there are too few or too many, or one is of another kind or out of range.
        """
        return cls(**read_arguments(cls, address, values))

    def datagram(self) -> bytes:
        """The message as it is sent."""
        given = ((argument.tag, getattr(self, name)) for name, argument in arguments_of(type(self)))
        return write_datagram(self.sent_to, [argument for argument in given if argument[1] is not None])


def read_arguments(kind: type[Message], address: str, values: list[Any]) -> dict[str, Any]:
    """The fields of a message with arguments that stood on the wire.

    Raises:
        UserError: names the message and what is wrong.
    """
    given: dict[str, Any] = {}
    wanted = arguments_of(kind)
    try:
        for place, (name, argument) in enumerate(wanted):
            if argument.many:
                return given | {name: argument.read(values[place:])}
            if place < len(values):
                given[name] = argument.read(values[place])
            elif not argument.optional:
                raise UserError(f"{argument.words} is missing")
        if len(values) > len(wanted):
            raise UserError(f"it has {len(values)} arguments instead of {len(wanted)}")
        return given
    except UserError as error:
        raise UserError(f"{address}: {error}") from error
