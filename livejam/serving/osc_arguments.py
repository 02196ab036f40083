"""Arguments of OSC messages: what each means, and what it may be.

Shapes: N audio samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from livejam.errors import UserError
from livejam.option_ranges import FINITE, Range
from livejam.streaming.rings import Audio

LONGEST_TEXT = 1000
LOUDEST_SAMPLE = 1000.0
"""60 dB above full scale: nobody plays that, and a model would choke on it."""


@dataclass(frozen=True)
class Argument:
    """An argument of a message, or all that are left.

    Args:
        tag: its OSC type, i, f, s or T; with `…`, all arguments that are left are of this type; `[s]f…` is one number,
            or names with a number each.
        words: what it means.
        allowed: the range of a number, or of how many there are.
        optional: whether it may be missing.
    """

    tag: str
    words: str
    allowed: Range = FINITE
    optional: bool = False

    @property
    def many(self) -> bool:
        """Whether it takes all arguments that are left."""
        return self.tag.endswith("…")

    def read(self, value: Any) -> Any:
        """What stands on the wire, in our types.

        Programs that know no whole numbers (Pd) send floats, and others whole numbers where a float is meant: a number
        that means the same is as good.

        Raises:
            UserError: it is of another kind.
        """
        try:
            return _READERS[self.tag](value)
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{self.words}: {str(value)[:40]!r} is not {_KINDS[self.tag.rstrip('…')]}") from error

    def require(self, value: Any) -> None:
        """Refuse a value that is out of range.

        Raises:
            UserError: says what is allowed.
        """
        if value is None and self.optional:
            return
        if self.many and len(value) not in self.allowed:
            raise UserError(f"{len(value)} {self.words} were given; it must be {self.allowed}")
        if self.tag in "if" and value not in self.allowed:
            raise UserError(f"{self.words} is {value}; it must be {self.allowed}")
        if self.tag == "f…" and not (np.abs(value) <= LOUDEST_SAMPLE).all():  # refuses NaN as well
            raise UserError(f"{self.words} must be finite and within ±{LOUDEST_SAMPLE:g}")
        for text in (value,) if self.tag == "s" else value if self.tag == "s…" else ():
            if len(text) > LONGEST_TEXT or "\0" in text:
                raise UserError(f"{self.words} must have less than {LONGEST_TEXT} letters")


def _whole(value: Any) -> int:
    if isinstance(value, str) or value != int(value):
        raise ValueError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, str) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _samples(values: Any) -> Audio:
    if not {type(value) for value in values} <= {int, float}:
        raise ValueError
    with np.errstate(over="ignore"):  # what becomes infinite is refused
        return np.array(values, dtype=np.float32)


def _pairs(values: Any) -> tuple[tuple[str, float], ...]:
    if not values:
        raise ValueError
    if len(values) == 1:
        return (("", _number(values[0])),)
    names, numbers = map(_text, values[::2]), map(_number, values[1::2])
    return tuple(zip(names, numbers, strict=True))


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "i": _whole,
    "f": _number,
    "s": _text,
    "T": bool,
    "f…": _samples,
    "i…": lambda values: tuple(map(_whole, values)),
    "s…": lambda values: tuple(map(_text, values)),
    "[s]f…": _pairs,
}

_KINDS: Mapping[str, str] = {
    "i": "a whole number",
    "f": "a finite number",
    "s": "a text",
    "T": "true or false",
    "[s]f": "one finite number, or names with a finite number each",
}
