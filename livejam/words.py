"""What a model is asked to play, in words: one prompt, or several with weights.

`jazz piano:0.7, strings:0.3` asks for both at once. Such a mix is the weighted mean of the encoded prompts, as LMDM
mixes the prompts of a cross-fade. A text in which no part ends with `:` and a number is one prompt, commas and all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from livejam.errors import UserError
from livejam.option_ranges import Range

MOST_PARTS = 8
WEIGHTS = Range(0, 10)
LONGEST_WORDS = 1000

_WEIGHTED = re.compile(r"^(?P<text>.*\S):(?P<weight>[+-]?[\d.][\w.+-]*)$", re.DOTALL)
"""A weight follows its colon at once: `BPM: 120` is a word and a number."""


@dataclass(frozen=True)
class Words:
    """Prompts that are mixed.

    Args:
        parts: every prompt with its share of the mix; all shares together are 1.
    """

    parts: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        if len(self.parts) == 1:
            return self.parts[0][0]
        return ", ".join(f"{text}:{share:g}" for text, share in self.parts)


def read_words(text: str) -> Words:
    """The words of a text.

    Args:
        text: one prompt, or several as `jazz piano:0.7, strings:0.3`.

    Raises:
        UserError: a part has no weight while another has one, a weight is no number or out of range, or there is too
            much of something.
    """
    if len(text) > LONGEST_WORDS:
        raise UserError(f"a description of {len(text)} letters is too long; use at most {LONGEST_WORDS}")
    pieces = [piece.strip() for piece in text.split(",")]
    found = [_WEIGHTED.match(piece) for piece in pieces]
    if not any(found):
        return Words(((text, 1.0),))
    weights: dict[str, float] = {}
    for piece, match in zip(pieces, found, strict=True):
        if match is None:
            raise UserError(
                f"'{piece[:40]}' has no weight, but another part of '{text[:60]}' has one; give each its weight, as in "
                "'jazz piano:0.7, strings:0.3', or write a space after a colon that is none"
            )
        words = match["text"].strip()
        if words in weights:
            raise UserError(f"'{words[:40]}' has two weights in '{text[:60]}'; give it one")
        weights[words] = _number(match["weight"], words)
    return weighted(weights)


def weighted(weights: Mapping[str, float]) -> Words:
    """Prompts with any weights, of which only the ratios count.

    Raises:
        UserError: a weight is out of range, all are 0, or there are too many.
    """
    if not 1 <= len(weights) <= MOST_PARTS:
        raise UserError(f"{len(weights)} prompts cannot be mixed; use 1 to {MOST_PARTS}")
    for words, weight in weights.items():
        if weight not in WEIGHTS:
            raise UserError(f"the weight of '{words[:40]}' is {weight}; it must be {WEIGHTS}")
    total = sum(weights.values())
    if total <= 0:
        raise UserError("all weights of the prompts are 0; give at least one of them more")
    return Words(tuple((words, weight / total) for words, weight in weights.items() if weight))


def _number(text: str, words: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UserError(f"the weight of '{words[:40]}' is '{text[:20]}', which is no number; use 0.5, say") from error
