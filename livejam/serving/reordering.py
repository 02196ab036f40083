"""Blocks of a musician's sound, as a network delivers them, put in order.

Blocks in order go on at once, so order costs no time. A gap waits: for as long as packets were recently late, and a
little more. Then silence takes its place, and what comes afterwards is late.

Shapes: A audio channels, N audio samples.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass

import numpy as np

from livejam.serving.spread import Spread
from livejam.streaming.rings import Audio

JUMP_SECONDS = 2.0
"""A position further away than this is a new beginning, once the next block continues it; and no gap is longer."""

SHORTEST_PATIENCE, LONGEST_PATIENCE = 0.005, 0.25
FIRST_SPREAD = 0.04
"""Seconds by which blocks are taken to differ until the first ten seconds have shown how much they do."""

MARGIN = 1.25
"""The patience for a gap in terms of the measured spread of arrivals."""

KEPT_GAPS = 64


@dataclass
class Arrivals:
    """What has happened to the blocks so far.

    Args:
        blocks: that arrived.
        duplicates: blocks whose samples were all heard before.
        late: blocks that came after silence had taken their place.
        lost_samples: that silence has taken the place of.
        gaps: stretches of lost samples.
        strays: blocks far from all others that nothing continued.
        beginnings: jumps of position.
    """

    blocks: int = 0
    duplicates: int = 0
    late: int = 0
    lost_samples: int = 0
    gaps: int = 0
    strays: int = 0
    beginnings: int = 0


@dataclass(frozen=True)
class Ordered:
    """The next samples.

    Args:
        audio_AN: directly after what came before.
        beginning: position of its first sample, if it does not continue the positions before.
    """

    audio_AN: Audio
    beginning: int | None = None


class Reordering:
    """Puts blocks in order of position.

    Args:
        channels: of the audio.
        sample_rate_hz: of the audio.
    """

    def __init__(self, channels: int, sample_rate_hz: int) -> None:
        self.arrivals = Arrivals()
        self._channels, self._rate = channels, sample_rate_hz
        self._jump = round(JUMP_SECONDS * sample_rate_hz)
        self._next: int | None = None
        # a heap: position, number of the block, when it arrived, its samples
        self._waiting: list[tuple[int, int, float, Audio]] = []
        self._stray: tuple[int, Audio] | None = None
        self._silences: deque[tuple[int, int]] = deque(maxlen=KEPT_GAPS)
        self._transit = Spread()

    @property
    def spread_seconds(self) -> float:
        """How much longer the slowest of the recent blocks took than the fastest."""
        return self._transit.width

    @property
    def patience_seconds(self) -> float:
        """How long a gap waits at present."""
        return min(max(MARGIN * self.spread_seconds, SHORTEST_PATIENCE), LONGEST_PATIENCE)

    def put(self, position: int, audio_AN: Audio, now: float) -> list[Ordered]:
        """A block has arrived.

        Args:
            position: of its first sample.
            audio_AN: float32, at least one sample.
            now: the time in seconds.

        Returns:
            What is in order now; often just this block.
        """
        self.arrivals.blocks += 1
        if self._next is None:
            return self._begin(position, audio_AN, now)
        if abs(position - self._next) > self._jump:
            return self._far(position, audio_AN, now)
        self._transit.add(now - position / self._rate, now)
        if position + audio_AN.shape[1] <= self._next:
            self._count_past(position)
            return []
        heapq.heappush(self._waiting, (position, self.arrivals.blocks, now, audio_AN))
        return self._released(now)

    def _begin(self, position: int, audio_AN: Audio, now: float) -> list[Ordered]:
        self._next = position + audio_AN.shape[1]
        self._waiting.clear()
        self._silences.clear()
        self._stray = None
        self._transit.clear()
        for spread in (0.0, FIRST_SPREAD):
            self._transit.add(now - position / self._rate + spread, now)
        return [Ordered(audio_AN, position)]

    def _far(self, position: int, audio_AN: Audio, now: float) -> list[Ordered]:
        """A block far away: a new beginning if it continues another one, else perhaps a fault."""
        before, self._stray = self._stray, (position, audio_AN)
        if before is not None and before[0] + before[1].shape[1] == position:
            self.arrivals.beginnings += 1
            self.arrivals.strays -= 1
            first = self._begin(*before, now)
            return [*first, *self.put(position, audio_AN, now)]
        self.arrivals.strays += 1
        return []

    def _count_past(self, position: int) -> None:
        if any(start <= position < end for start, end in self._silences):
            self.arrivals.late += 1
        else:
            self.arrivals.duplicates += 1

    def _released(self, now: float) -> list[Ordered]:
        ordered = self._in_order()
        while self._waiting and now - self._waiting[0][2] >= self.patience_seconds:
            ordered += [self._silence(self._waiting[0][0]), *self._in_order()]
        return ordered

    def _in_order(self) -> list[Ordered]:
        assert self._next is not None
        ordered: list[Ordered] = []
        while self._waiting and self._waiting[0][0] <= self._next:
            position, _, _, audio_AN = heapq.heappop(self._waiting)
            new_AN = audio_AN[:, self._next - position :]
            if not new_AN.shape[1]:
                self.arrivals.duplicates += 1
                continue
            ordered.append(Ordered(new_AN))
            self._next += new_AN.shape[1]
        return ordered

    def _silence(self, end: int) -> Ordered:
        assert self._next is not None
        start, self._next = self._next, end
        self._silences.append((start, end))
        self.arrivals.gaps += 1
        self.arrivals.lost_samples += end - start
        return Ordered(np.zeros((self._channels, end - start), dtype=np.float32))
