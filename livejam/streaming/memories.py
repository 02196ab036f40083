"""What a session is and was, to go back to.

Shapes: A audio channels, N samples, B rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from livejam.errors import UserError
from livejam.streaming.pipeline import Musician, PipelineState

UNDO_SECONDS = 30.0
"""How far back `Session.undo` reaches."""

UNDO_GRID_SECONDS = 0.25
"""Memories to go back to are at least this far apart."""

History = tuple[tuple[int, Musician], ...]
"""The musician after earlier numbers of input samples, oldest first."""


@dataclass(frozen=True)
class Snapshot:
    """All of a session; what it holds is never changed.

    Args:
        pipeline: audio, codec and model.
        level_db_B: level of every row in dB.
        muted_B: which rows are silent.
        heard_samples: input samples so far.
        known_samples: output samples known so far.
        due_BAN: output that is known and that `process` has not returned yet.
        late_samples: how late `process` plays since the beginning.
        history: what it can go back to.
    """

    pipeline: PipelineState
    level_db_B: tuple[float, ...]
    muted_B: tuple[bool, ...]
    heard_samples: int
    known_samples: int
    due_BAN: Tensor
    late_samples: int
    history: History


@dataclass(frozen=True)
class Memories:
    """Which memories are kept.

    Args:
        sample_rate_hz: of the session's input.
    """

    sample_rate_hz: int

    def remembered(self, history: History, heard: int, musician: Musician) -> History:
        """The history with the musician of this moment, and without what is too old to be gone back to."""
        if heard < history[-1][0] + round(UNDO_GRID_SECONDS * self.sample_rate_hz):
            return history
        oldest = heard - UNDO_SECONDS * self.sample_rate_hz
        # the last one before the oldest moment stays, so that every moment since then can be gone back to
        first = max((place for place, (moment, _) in enumerate(history) if moment <= oldest), default=0)
        return (*history[first:], (heard, musician))

    def undone(self, history: History, heard: int, seconds: float) -> tuple[Musician, History, float]:
        """The musician of some seconds ago, the history from then on, and how many seconds ago it was.

        Raises:
            UserError: the time is negative or too long ago.
        """
        if not 0 <= seconds <= UNDO_SECONDS:
            raise UserError(f"{seconds} s cannot be undone; the last {UNDO_SECONDS:g} s can")
        wanted = heard - seconds * self.sample_rate_hz
        kept = [entry for entry in history if entry[0] <= wanted] or [history[0]]
        moment, musician = kept[-1]
        # the memories after that are forgotten as well; those before it keep their age
        gone = heard - moment
        return musician, tuple((earlier + gone, who) for earlier, who in kept), gone / self.sample_rate_hz
