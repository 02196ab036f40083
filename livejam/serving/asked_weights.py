"""Weights of guidance that somebody asks for over a network."""

from __future__ import annotations

from collections.abc import Sequence

from livejam.accompanist import Weights
from livejam.errors import UserError
from livejam.option_ranges import Range

MOST_WEIGHT = 30.0
"""Papers use 7 and less; far beyond that nothing is left but noise."""

WEIGHTS = Range(0, MOST_WEIGHT)


def asked_weights(pairs: Sequence[tuple[str, float]]) -> Weights:
    """The weights of names and numbers.

    Args:
        pairs: a control and its weight each; a single weight has an empty name.

    Raises:
        UserError: a weight is out of range, a control is named twice, or a weight for all is among others.
    """
    for name, weight in pairs:
        if weight not in WEIGHTS:
            raise UserError(f"the weight {f'of {name[:40]} ' if name else ''}is {weight}; it must be {WEIGHTS}")
    weights = dict(pairs)
    if len(weights) < len(pairs):
        raise UserError("a control has two weights; give it one")
    if "" not in weights:
        return weights
    if len(weights) > 1:
        raise UserError("one weight is for all controls, so no other can stand beside it; give each its name")
    return weights[""]
