"""The cells of a table of results, and what can be said of two of them."""

from __future__ import annotations

from typing import Any

Cell = dict[str, Any]
Rows = dict[str, dict[str, Cell]]


def separate(one: Cell | None, other: Cell | None) -> bool:
    """Whether the 95 % intervals of two cells do not overlap; False where one has none."""
    if not (one and other and one.get("interval") and other.get("interval")):
        return False
    (low, high), (other_low, other_high) = one["interval"], other["interval"]
    return bool(high < other_low or other_high < low)
