"""Values in the JSON messages of the page: what each means, and what it may be."""

from __future__ import annotations

import math
from dataclasses import Field, dataclass, field
from typing import Any, Protocol

from livejam.errors import UserError
from livejam.option_ranges import FINITE, Range

LONGEST_TEXT = 200


class Value(Protocol):
    """The values that one field of a message may have."""

    @property
    def words(self) -> str:
        """What it means."""

    @property
    def bounds(self) -> str:
        """What it may be, for people."""

    def read(self, given: object) -> Any:
        """The value in our types.

        Raises:
            ValueError: it is of another kind or out of range.
        """


@dataclass(frozen=True)
class Number:
    """A finite number."""

    words: str
    allowed: Range = FINITE

    @property
    def bounds(self) -> str:
        return f"number, {self.allowed}"

    def read(self, given: object) -> float:
        if isinstance(given, bool) or not isinstance(given, int | float):
            raise ValueError
        try:
            number = float(given)
        except OverflowError as error:
            raise ValueError from error
        if not math.isfinite(number) or number not in self.allowed:
            raise ValueError
        return number


@dataclass(frozen=True)
class Whole:
    """A whole number."""

    words: str
    low: int = 0
    high: int = 2**53 - 1

    @property
    def bounds(self) -> str:
        return f"whole number, {self.low} or more" if self.high >= 2**53 - 1 else f"{self.low} to {self.high}"

    def read(self, given: object) -> int:
        # a browser knows no whole numbers: 3.0 is 3
        if isinstance(given, bool) or not isinstance(given, int | float) or given != math.floor(given):
            raise ValueError
        if not self.low <= given <= self.high:
            raise ValueError
        return int(given)


@dataclass(frozen=True)
class Text:
    """A text."""

    words: str
    longest: int = LONGEST_TEXT

    @property
    def bounds(self) -> str:
        return f"text of at most {self.longest} letters"

    def read(self, given: object) -> str:
        if not isinstance(given, str) or len(given) > self.longest or "\0" in given:
            raise ValueError
        return given


@dataclass(frozen=True)
class Truth:
    """True or false."""

    words: str

    @property
    def bounds(self) -> str:
        return "true or false"

    def read(self, given: object) -> bool:
        if not isinstance(given, bool):
            raise ValueError
        return given


@dataclass(frozen=True)
class Texts:
    """A list of texts."""

    words: str
    most: int
    least: int = 0

    @property
    def bounds(self) -> str:
        return f"list of {self.least} to {self.most} texts"

    def read(self, given: object) -> tuple[str, ...]:
        if not isinstance(given, list | tuple) or not self.least <= len(given) <= self.most:
            raise ValueError
        text = Text(self.words)
        return tuple(text.read(word) for word in given)


@dataclass(frozen=True)
class Optional:
    """A value that may be left out."""

    value: Value

    @property
    def words(self) -> str:
        return self.value.words

    @property
    def bounds(self) -> str:
        return f"{self.value.bounds}; may be left out"

    def read(self, given: object) -> Any:
        return None if given is None else self.value.read(given)


def valued(value: Value) -> Any:
    """A field of a message."""
    metadata = {"value": value}
    return field(default=None, metadata=metadata) if isinstance(value, Optional) else field(metadata=metadata)


def value_of(entry: Field[Any]) -> Value:
    """What a field of a message may be."""
    value: Value = entry.metadata["value"]
    return value


def read_value(kind: str, entry: Field[Any], given: object) -> Any:
    """A field's value as a program sent it.

    Raises:
        UserError: it is of another kind or out of range.
    """
    value = value_of(entry)
    try:
        return value.read(given)
    except (ValueError, OverflowError) as error:
        shown = repr(given)[:40]
        raise UserError(f"{kind}: {entry.name} is {shown}; it must be: {value.bounds}") from error
