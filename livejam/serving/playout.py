"""What a musician's program does with answers: keep them until they are due, and play them as little late as it can.

An answer that arrives before its position sounds exactly with it. If answers arrive later than that, everything sounds
later, by as much as they were late during the last seconds and a little more: the delay rises at once and falls only
after ten seconds in which less was needed. A fixed delay is either too long or full of gaps.

Shapes: C rows and channels, N audio samples.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from livejam.serving.spread import Spread
from livejam.streaming.engine import FADE_SECONDS
from livejam.streaming.fades import MissFader
from livejam.streaming.rings import Audio

KEPT_SECONDS = 8.0
"""Answers that are further away than half of this from what sounds now are not kept."""

MARGIN_SECONDS, SLACK_SECONDS = 0.003, 0.01
"""What the delay exceeds the need by, and what it must exceed it by to fall."""

LONGEST_DELAY_SECONDS = 2.0
NEVER = np.iinfo(np.int64).min


class Playout:
    """A buffer of answers by position, read by the musician's clock.

    `put` may be called in another thread than `read`.

    Args:
        channels: of an answer, all rows together.
        sample_rate_hz: of the musician.
    """

    def __init__(self, channels: int, sample_rate_hz: int) -> None:
        self._rate = sample_rate_hz
        self._audio_CN = np.zeros((channels, round(KEPT_SECONDS * sample_rate_hz)), dtype=np.float32)
        self._position_N = np.full(self._audio_CN.shape[1], NEVER)  # of the sample that each place holds
        self._fader = MissFader(channels, max(1, round(FADE_SECONDS * sample_rate_hz)))
        self._slack = Spread()
        self._first: int | None = None
        self._opening = 0, 0
        self._now = 0
        self.delay_samples = 0
        self.too_late = self.unplaced = self.moves = 0

    @property
    def gaps(self) -> int:
        """How often sound was missing when it was due, since the first answer."""
        return self._fader.misses - self._opening[0]

    @property
    def missing_samples(self) -> int:
        """How much, in all."""
        return self._fader.missed_samples - self._opening[1]

    @property
    def slack_seconds(self) -> float:
        """By how much the latest of the recent answers came before its position; negative = after it; NaN = none."""
        return self._slack.smallest

    def put(self, position: int, audio_CN: Audio) -> None:
        """An answer has arrived.

        Args:
            position: of the musician's sample with which it should sound.
            audio_CN: float32.
        """
        samples, kept = audio_CN.shape[1], self._audio_CN.shape[1]
        if abs(position - self._now) + samples > kept // 2:
            self.unplaced += 1
            return
        self._first = position if self._first is None else min(position, self._first)
        self._slack.add((position - self._now) / self._rate, self._now / self._rate)
        self.too_late += position < self._now - self.delay_samples
        position_N = np.arange(position, position + samples)
        self._audio_CN[:, position_N % kept] = audio_CN
        self._position_N[position_N % kept] = position_N

    def read(self, samples: int) -> Audio:
        """What sounds during the musician's next samples.

        Args:
            samples: at most a second.
        """
        if self._settle():
            self._fader.cut()
        start = self._now - self.delay_samples
        position_N = np.arange(start, start + samples)
        place_N = position_N % self._audio_CN.shape[1]
        out_CN, known_N = self._audio_CN[:, place_N], self._position_N[place_N] == position_N
        out_CN[:, ~known_N] = 0
        self._fill_gaps(out_CN, known_N)
        if self._first is None or start < self._first:
            self._opening = self._fader.misses, self._fader.missed_samples
        self._now += samples
        return out_CN

    def _settle(self) -> bool:
        """Choose the delay, and say whether it has changed."""
        if math.isnan(self.slack_seconds):
            return False
        needed = min(max(0.0, MARGIN_SECONDS - self.slack_seconds), LONGEST_DELAY_SECONDS)
        now = self.delay_samples / self._rate
        if needed <= now < needed + SLACK_SECONDS and needed:
            return False
        before, self.delay_samples = self.delay_samples, round(needed * self._rate)
        self.moves += before != self.delay_samples
        return before != self.delay_samples

    def _fill_gaps(self, out_CN: Audio, known_N: npt.NDArray[np.bool_]) -> None:
        """Fade out where sound is missing, and in where it is there again."""
        ends = np.flatnonzero(~known_N[:-1] & known_N[1:]) + 1  # each piece: known samples, then missing ones
        for start, end in pairwise((0, *ends.tolist(), len(known_N))):
            self._fader(out_CN[:, start:end], int(known_N[start:end].sum()))
