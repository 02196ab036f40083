"""How a model learns to sound like a reference."""

from __future__ import annotations

from dataclasses import dataclass

from livejam.errors import UserError
from livejam.reference.analysis import ReferenceAnalysis


@dataclass(frozen=True)
class ReferenceTraining:
    """A reference is another excerpt of the target's own stem; sometimes there is none.

    Args:
        analysis: how references are made, in training and in playing.
        dropout: share of items, 0 to 1, without a reference for both networks; the others always have one.
        mismatch_weight: weight ≥ 0 of a term that teaches the discriminator to rank real accompaniments with their own
            reference above those with another item's. Ours.

    Raises:
        UserError: a number is out of range.
    """

    analysis: ReferenceAnalysis
    dropout: float = 0.1
    mismatch_weight: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.dropout <= 1 or self.mismatch_weight < 0:
            raise UserError(
                f"dropout is a share from 0 to 1 and mismatch_weight 0 or more; these are {self.dropout} and "
                f"{self.mismatch_weight}"
            )
