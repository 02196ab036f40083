"""Weights of classifier-free guidance: one for all that the unconditional side lacks, or one for each control.

With one weight w, v = v_u + w (v_c - v_u) (Ho and Salimans 2022). With several, the sides are nested, as in
InstructPix2Pix (Brooks et al. 2023, equation 3), and the control with the largest weight comes last, as words do there:

    v = v_0 + w_1 (v_1 - v_0) + … + w_n (v_n - v_{n-1}),   w_1 < … < w_n

v_0 lacks every control whose weight is not 1, v_k has those of the weights w_1 … w_k as well, and v_n has all. So n
different weights cost n + 1 evaluations; controls of one weight come and go together; a control of weight 1 is on every
side and costs nothing; and where two weights meet, v does not jump, because their differences add up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

from livejam.accompanist import Weights
from livejam.errors import UserError

CONTROLS = ("mix", "past", "prompt", "sketch")
"""What can have a weight of its own; past is what the model itself played."""

Side: TypeAlias = frozenset[str]
"""The controls that a side of guidance lacks."""


def require_weights(guidance: Weights, fits: Callable[[float], bool], allowed: str) -> None:
    """Refuse weights that are out of range, or of something that is no control.

    Args:
        guidance: the weights.
        fits: whether a finite weight is in range.
        allowed: what a weight must be, for the message.

    Raises:
        UserError: names the control.
    """
    for name, weight in by_name(guidance).items():
        if name and name not in CONTROLS:
            raise UserError(f"guidance has no weight of '{name[:40]}'; there are {', '.join(CONTROLS)}")
        if not (math.isfinite(weight) and fits(weight)):
            raise UserError(f"guidance{f' of the {name}' if name else ''} is {weight}, but {allowed}")


def by_name(guidance: Weights) -> Mapping[str, float]:
    """Control → weight; a single weight has an empty name."""
    return guidance if isinstance(guidance, Mapping) else {"": guidance}


def nested(weights: Mapping[str, float]) -> tuple[float, ...]:
    """w_1 < … < w_n: the different weights but 1."""
    return tuple(sorted({weight for weight in weights.values() if weight != 1}))


def nested_sides(weights: Mapping[str, float]) -> tuple[Side, ...]:
    """What v_{n-1} … v_0 lack, in the order of a velocity's rows, which begin with v_n."""
    return tuple(
        frozenset(name for name, weight in weights.items() if weight >= least and weight != 1)
        for least in reversed(nested(weights))
    )


def read_weights(text: str) -> Weights:
    """Weights from text: `3`, or `mix=2,prompt=3`.

    Raises:
        UserError: it is neither, or a control is named twice.
    """
    pairs = [piece.partition("=") for piece in text.split(",")]
    try:
        if "=" not in text:
            return float(text)
        weights = {name.strip(): float(weight) for name, _, weight in pairs}
    except ValueError as error:
        raise UserError(f"guidance is '{text[:60]}'; give one weight, as 3, or some, as mix=2,prompt=3") from error
    if len(weights) < len(pairs):
        raise UserError(f"guidance '{text[:60]}' names a control twice; give it one weight")
    return weights


def weights_text(guidance: Weights) -> str:
    """As `read_weights` reads it."""
    return ",".join(f"{name}={weight:g}" if name else f"{weight:g}" for name, weight in by_name(guidance).items())
