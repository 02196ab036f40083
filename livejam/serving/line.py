"""One musician at the other end of a network.

    musician's blocks, in any order → Reordering → RealTimeEngine → Session → answers, as soon as they are known

The musician's clock is the only one: every block carries the position of its first sample, and every answer the
position with which it should sound. So nothing drifts, and blocks that arrive in a burst are no missed deadlines: how
late an answer may be is the business of whoever plays it (`livejam.serving.playout`).

Shapes: B rows (accompanists), A audio channels, N audio samples.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from livejam.serving.reordering import Ordered, Reordering
from livejam.streaming.clocks import Clock, TrueClock
from livejam.streaming.engine import LOG, RealTimeEngine
from livejam.streaming.rings import Audio
from livejam.streaming.session import Session
from livejam.streaming.timing import Timing

R = TypeVar("R")
CHUNK_SAMPLES = 64
"""Calls of a sound card that the engine reckons with; a line has none."""


@dataclass(frozen=True)
class Answer:
    """Accompaniment that has become known.

    Args:
        position_samples: the musician's sample with which its first sample should sound.
        audio_BAN: float32, every row by itself.
    """

    position_samples: int
    audio_BAN: Audio


@dataclass(frozen=True)
class LineMeters:
    """What has happened on a line so far.

    Args:
        seconds: of the musician's sound that were heard, silence in the place of lost blocks included.
        blocks: that arrived.
        spread_ms: how much longer the slowest of the recent blocks took than the fastest.
        patience_ms: how long a gap waits at present.
        lost_ms: of sound that did not arrive in time; silence took its place.
        gaps: in how many stretches.
        late: blocks that arrived after silence had taken their place.
        duplicates: blocks that had arrived before.
        strays: blocks with a position far from all others.
        beginnings: how often the musician's positions began anew.
        overruns: how often the model stalled for so long that sound was missed.
        latency_p50_ms: from the arrival of a block to the answer that it made known, median.
        latency_p99_ms: 99 % took no longer.
        latency_max_ms: the longest.
        failures: blocks in which the model failed.
        queue_ms: sound that waits for the model now.
        problem: the last thing that went wrong, in a sentence; empty = nothing.
    """

    seconds: float
    blocks: int
    spread_ms: float
    patience_ms: float
    lost_ms: float
    gaps: int
    late: int
    duplicates: int
    strays: int
    beginnings: int
    overruns: int
    latency_p50_ms: float
    latency_p99_ms: float
    latency_max_ms: float
    failures: int
    queue_ms: float
    problem: str


class RowsApart:
    """A session whose rows an engine does not add: they come out as channels, row after row.

    Args:
        session: plays.
        turn: is entered while it does.
    """

    def __init__(self, session: Session, turn: AbstractContextManager[object]) -> None:
        self.session, self._turn = session, turn

    @property
    def timing(self) -> Timing:
        return self.session.timing

    @property
    def channels(self) -> int:
        return self.session.channels

    @property
    def heard_samples(self) -> int:
        return self.session.heard_samples

    @property
    def known_samples(self) -> int:
        return self.session.known_samples

    @property
    def failures(self) -> int:
        return self.session.failures

    def advance(self, audio_AN: Tensor) -> Tensor:
        with self._turn:
            return self.session.advance(audio_AN).flatten(0, 1)[None]

    def reset(self) -> None:
        self.session.reset()

    def snapshot(self) -> Any:
        return self.session.snapshot()

    def restore(self, snapshot: Any) -> None:
        self.session.restore(snapshot)


class Line:
    """A session that accompanies a musician over a network.

    Args:
        session: plays; between `start` and `stop` only the line's worker may touch it (see `post`).
        send: called with every answer, in the worker's thread. It must not block.
        turn: entered by the worker while the session plays, such as a baton; None = nothing is.
        clock: the time; None = the machine's.
        say: told every kind of problem once, in a sentence.
    """

    def __init__(
        self,
        session: Session,
        send: Callable[[Answer], None],
        *,
        turn: AbstractContextManager[object] | None = None,
        clock: Clock | None = None,
        say: Callable[[str], None] = LOG.warning,
    ) -> None:
        self._send, self._clock = send, clock or TrueClock()
        self._rows, self._channels = session.rows, session.channels
        self._reordering = Reordering(session.channels, session.sample_rate_hz)
        self._to_next_block = session.samples_to_next_block
        self._held: list[Audio] = []
        self._written = 0
        self._due = self._to_next_block(0)
        # (a sample that the engine heard, what is to be added for the musician's position), newest last
        self._origins: list[tuple[int, int]] = []
        self.engine = RealTimeEngine(
            RowsApart(session, turn or nullcontext()),
            CHUNK_SAMPLES,
            reserve_seconds=0,
            clock=self._clock,
            say=say,
            on_output=self._answer,
        )
        self._lock = threading.Lock()

    def hear(self, position_samples: int, audio_AN: Audio) -> None:
        """A block has arrived; it never waits. One thread at a time may call this.

        Args:
            position_samples: the musician's position of its first sample.
            audio_AN: float32 in [-1, 1], as many channels as the session has; an empty block is ignored.
        """
        if not audio_AN.shape[1]:
            return
        for ordered in self._reordering.put(position_samples, audio_AN, self._clock.now()):
            self._hear(ordered)

    def _hear(self, ordered: Ordered) -> None:
        if ordered.beginning is not None:
            with self._lock:
                self._origins.append((self._written, ordered.beginning - self._written))
        self._written += ordered.audio_AN.shape[1]
        self._held.append(ordered.audio_AN)
        # the model needs whole blocks, and waking it for each of ten packets takes longer than its step
        if self._written >= self._due:
            self.engine.capture(np.concatenate(self._held, axis=1))
            self._held.clear()
            self._due = self._written + self._to_next_block(self._written)

    def _answer(self, start: int, audio_CN: Audio) -> None:
        """Send output, cut where the musician's positions began anew."""
        end = start + audio_CN.shape[1]
        with self._lock:
            del self._origins[: sum(since <= start for since, _ in self._origins[1:])]
            origins = list(self._origins)
        ends = [since for since, _ in origins[1:]] + [end]
        for (_, offset), until in zip(origins, ends, strict=True):
            stop = min(until, end)
            if start < stop:
                piece_CN, audio_CN = audio_CN[:, : stop - start], audio_CN[:, stop - start :]
                self._send(Answer(start + offset, piece_CN.reshape(self._rows, self._channels, -1)))
                start = stop

    def post(self, change: Callable[[Session], R]) -> Future[R]:
        """Change the session between two pieces of its input: `line.post(lambda session: session.undo(4))`.

        Returns:
            what `change` returns or raises, once the worker has run it.
        """
        return self.engine.post(lambda apart: change(apart.session))

    def post_at(self, position_samples: int, change: Callable[[Session, int], R]) -> Future[R]:
        """Change the session, which is told which of its own samples has a musician's position.

        Args:
            position_samples: the musician's; before the first block has come, positions count from the first sample.
            change: given the session and its sample, which may be long past or far ahead.

        Returns:
            as of `post`.
        """
        with self._lock:
            offset = self._origins[-1][1] if self._origins else 0
        stream = position_samples - offset
        return self.engine.post(lambda apart: change(apart.session, stream - self.engine.origin_samples))

    def start(self) -> None:
        """Start the worker, and return when it is ready to play."""
        self.engine.start()

    def stop(self) -> None:
        """Stop the worker."""
        self.engine.stop()

    def __enter__(self) -> Line:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def meters(self) -> LineMeters:
        """What has happened so far."""
        arrivals, engine = self._reordering.arrivals, self.engine.statistics()
        return LineMeters(
            seconds=self._written / self.engine.sample_rate_hz,
            blocks=arrivals.blocks,
            spread_ms=1000 * self._reordering.spread_seconds,
            patience_ms=1000 * self._reordering.patience_seconds,
            lost_ms=1000 * arrivals.lost_samples / self.engine.sample_rate_hz,
            gaps=arrivals.gaps,
            late=arrivals.late,
            duplicates=arrivals.duplicates,
            strays=arrivals.strays,
            beginnings=arrivals.beginnings,
            overruns=engine.overruns,
            latency_p50_ms=engine.latency_p50_ms,
            latency_p99_ms=engine.latency_p99_ms,
            latency_max_ms=engine.latency_max_ms,
            failures=engine.failures,
            queue_ms=engine.queue_ms,
            problem=engine.problem,
        )
