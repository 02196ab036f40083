"""Names and numbers of instruments."""

from __future__ import annotations

from collections.abc import Sequence

from livejam.batch import CATEGORIES, NAMES, NULL_CATEGORY
from livejam.errors import UserError


def instrument_index(name: str) -> int:
    """The class index of an instrument in upper or lower case; "Drums" is "Percussive", "Any" is 18.

    Raises:
        UserError: there is no such instrument.
    """
    indices = {known.lower(): index for index, known in enumerate(NAMES)} | {"drums": CATEGORIES.index("Percussive")}
    if name.lower() not in indices:
        raise UserError(f"there is no instrument {name!r}; choose one of {', '.join(CATEGORIES)}, or Any")
    return indices[name.lower()]


def default_instrument(learnt: Sequence[str]) -> int:
    """The default instrument: the model's own choice if it learnt to choose, else the first one that it learnt."""
    return NULL_CATEGORY if not learnt or "Any" in learnt else NAMES.index(learnt[0])


def require_learnt(instrument: int, learnt: Sequence[str]) -> None:
    """Refuse an instrument that a model never learnt, whose embedding was never trained.

    Args:
        instrument: class index, 0–18.
        learnt: names of the instruments that the model learnt; empty = not known, and none is refused.

    Raises:
        UserError: names the instruments that it learnt.
    """
    if learnt and NAMES[instrument] not in learnt:
        raise UserError(f"this model never learnt to play {NAMES[instrument]}; it learnt {', '.join(learnt)}")
