"""Which instruments a model learnt to play, and which one is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from livejam.batch import CATEGORIES, NAMES, NULL_CATEGORY
from livejam.errors import UserError


def instrument_index(name: str) -> int:
    """The class index of an instrument, whatever its case; "Drums" is "Percussive", "Any" is 18.

    Raises:
        UserError: there is no such instrument.
    """
    indices = {known.lower(): index for index, known in enumerate(NAMES)} | {"drums": CATEGORIES.index("Percussive")}
    if name.lower() not in indices:
        raise UserError(f"there is no instrument {name!r}; choose one of {', '.join(CATEGORIES)}, or Any")
    return indices[name.lower()]


def default_instrument(learnt: Sequence[str]) -> int:
    """What is played if nothing is asked for: what the model chooses where it learnt to, else the first it learnt."""
    return NULL_CATEGORY if not learnt or "Any" in learnt else NAMES.index(learnt[0])


def require_learnt(instrument: int, learnt: Sequence[str]) -> None:
    """Refuse what a model would play from an embedding that no training ever touched.

    Args:
        instrument: class index, 0–18.
        learnt: names of what the model learnt; empty = not known, anything goes.

    Raises:
        UserError: names what it learnt.
    """
    if learnt and NAMES[instrument] not in learnt:
        raise UserError(f"this model never learnt to play {NAMES[instrument]}; it learnt {', '.join(learnt)}")
