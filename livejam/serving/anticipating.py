"""How far ahead a model should play that learnt several anticipations: as little as line and machine allow."""

from __future__ import annotations

import math

from livejam.serving.playout import MARGIN_SECONDS, SLACK_SECONDS

FIRST_SECONDS, PATIENCE_SECONDS = 3.0, 11.0
"""Time before the first change, and between two: a buffer remembers its latest answer for ten seconds."""


class Anticipating:
    """Chooses an anticipation from what came too late, or with time to spare. The page does the same
    (`web/anticipating.js`).

    Args:
        frames: that the model plays ahead at the beginning.
        least: that it can be asked for.
        most: that it can be asked for.
        frame_seconds: of a frame.
    """

    def __init__(self, frames: int, least: int, most: int, frame_seconds: float) -> None:
        self.frames = frames
        self._least, self._most, self._frame_seconds = least, most, frame_seconds
        self._next_at = FIRST_SECONDS

    def change(self, slack_seconds: float, now: float) -> bool:
        """Whether another number of `frames` is chosen now.

        Args:
            slack_seconds: by how much the latest of the recent answers came before it was due; negative = after that;
                NaN = there is none.
            now: the time in seconds since the beginning.
        """
        if now < self._next_at or math.isnan(slack_seconds):
            return False
        before, spare = self.frames, slack_seconds - MARGIN_SECONDS
        if spare < 0:
            self.frames += math.ceil(-spare / self._frame_seconds)
        else:
            self.frames -= math.floor(max(0.0, spare - SLACK_SECONDS) / self._frame_seconds)
        self.frames = min(max(self.frames, self._least), self._most)
        if self.frames != before:
            self._next_at = now + PATIENCE_SECONDS
        return self.frames != before
