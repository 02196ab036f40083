"""A scripted musician: plays to a server in real time over a bad network, and notes what comes back and when.

Shapes: N audio samples.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from livejam.serving.anticipating import Anticipating
from livejam.serving.playout import Playout
from livejam.serving.recordings import Record
from livejam.streaming.priority import prioritised, without_long_collections
from livejam.streaming.rings import Audio

AFTERMATH_SECONDS = 1.0
"""For how long answers are waited for after the last block."""

POLL_SECONDS = 0.002
MOST_INCOMPLETE = 256


@dataclass(frozen=True)
class Terms:
    """What a server says of itself.

    Args:
        sample_rate_hz: in both directions.
        block_samples: between two steps of its model.
        lead_samples: that it plays ahead.
        instruments: of every row.
        anticipation: frames that it plays ahead.
        anticipations: that it can be asked for.
    """

    sample_rate_hz: int
    block_samples: int
    lead_samples: int
    instruments: tuple[str, ...]
    anticipation: int
    anticipations: range

    @property
    def anticipating(self) -> Anticipating:
        """Chooses the anticipation while it plays."""
        asked, frame_seconds = self.anticipations, self.block_samples / self.sample_rate_hz
        return Anticipating(self.anticipation, asked[0], asked[-1], frame_seconds)


@dataclass(frozen=True)
class Arrival:
    """A part of an answer.

    Args:
        position: of the musician's sample with which it should sound.
        row: that plays it.
        samples_N: float32.
    """

    position: int
    row: int
    samples_N: Audio


@dataclass(frozen=True)
class Refusal:
    """Why a server refused something, in its own words."""

    sentence: str


class Rows:
    """Adds the rows of an answer; where one is lost, the others are of no use.

    Args:
        rows: that an answer has.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._parts: dict[int, dict[int, Audio]] = {}

    def add(self, arrival: Arrival) -> list[Audio]:
        """The sum, if this was the last row that was missing."""
        parts = self._parts.setdefault(arrival.position, {})
        parts[arrival.row] = arrival.samples_N
        if len(self._parts) > MOST_INCOMPLETE:
            del self._parts[next(iter(self._parts))]
        if len(parts) < self._rows or len({len(part_N) for part_N in parts.values()}) > 1:
            return []
        self._parts.pop(arrival.position, None)
        return [np.sum(list(parts.values()), axis=0, dtype=np.float32)]


class Transport(Protocol):
    """A protocol between a musician's program and a server, in packets."""

    @property
    def name(self) -> str:
        """Of the protocol, for recordings."""

    def meet(self, seed: int) -> tuple[Terms, list[bytes]]:
        """Begin, with a seed for the model's choices; what the server says of itself, and what was sent.

        Raises:
            UserError: there is no server, or it refuses.
        """

    def packet(self, sequence: int, position: int, audio_N: Audio) -> bytes:
        """A block of the musician's sound."""

    def anticipate(self, frames: int) -> bytes:
        """The wish for another anticipation."""

    def send(self, packet: bytes) -> None:
        """Send a packet; never waits."""

    def received(self, seconds: float) -> list[bytes]:
        """What has arrived; waits for so long if there is nothing."""

    def read(self, packet: bytes) -> Arrival | Refusal | None:
        """What a packet says, if it matters to a performance."""

    def close(self) -> None:
        """End."""


class BadNetwork:
    """Packets that come later, in another order, or not at all.

    Args:
        jitter_seconds: packets take between nothing and this time, evenly distributed.
        loss: share of the packets that do not arrive.
        rng: decides.
    """

    def __init__(self, jitter_seconds: float, loss: float, rng: np.random.Generator) -> None:
        self._jitter, self._loss, self._rng = jitter_seconds, loss, rng
        self._under_way: list[tuple[float, int, bytes]] = []
        self.packets = self.lost = 0

    def put(self, packet: bytes, now: float) -> None:
        """A packet is sent."""
        self.packets += 1
        if self._rng.random() < self._loss:
            self.lost += 1
        else:
            heapq.heappush(self._under_way, (now + self._jitter * self._rng.random(), self.packets, packet))

    @property
    def next_at(self) -> float:
        """When the next packet arrives; infinite = never."""
        return self._under_way[0][0] if self._under_way else float("inf")

    def due(self, now: float) -> Iterator[tuple[float, bytes]]:
        """Packets that have arrived, and when."""
        while self.next_at <= now:
            at, _, packet = heapq.heappop(self._under_way)
            yield at, packet


@dataclass(frozen=True)
class Faults:
    """What the network and the musician's clock do.

    Args:
        jitter_seconds: of every packet, in both directions.
        loss: share of packets that are lost, in both directions.
        drift_ppm: by how much the musician's clock is fast, in parts per million.
        seed: of all chances.
    """

    jitter_seconds: float = 0.0
    loss: float = 0.0
    drift_ppm: float = 0.0
    seed: int = 0


@dataclass
class Log:
    """What came back, and when.

    Args:
        arrivals: of every part of an answer: the musician's position at that time, and the position of the part.
        delays: position, delay of the buffer and smallest slack in samples, for every block that sounded.
        gaps: position and missing samples, wherever sound was missing.
        refusals: what the server refused.
        anticipations: position and frames, whenever another anticipation was asked for.
    """

    arrivals: list[tuple[float, int]] = field(default_factory=list)
    delays: list[tuple[int, int, float]] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    anticipations: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Performance:
    """What was heard.

    Args:
        answer_N: what sounded, the sum of all rows, sample by sample with what was played.
        log: of arrivals.
        playout: the buffer, with its counts.
        outward: the network to the server.
        inward: the network back.
        slips: blocks that were played more than a block late, because the machine was busy.
    """

    answer_N: Audio
    log: Log
    playout: Playout
    outward: BadNetwork
    inward: BadNetwork
    slips: int


class Performer:
    """Plays a recording to a server.

    Args:
        transport: to the server, which it has met.
        terms: of the server.
        faults: of network and clock.
        block_samples: per packet.
        record: takes the time and every packet that is sent.
        anticipating: chooses the anticipation while it plays; None = it stays as it is.
        clock: the time in seconds.
    """

    def __init__(
        self,
        transport: Transport,
        terms: Terms,
        faults: Faults,
        block_samples: int,
        record: Record,
        anticipating: Anticipating | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport, self._terms, self._block = transport, terms, block_samples
        self._record, self._anticipating, self._clock = record, anticipating, clock
        outward, inward = np.random.default_rng(faults.seed).spawn(2)
        self._outward = BadNetwork(faults.jitter_seconds, faults.loss, outward)
        self._inward = BadNetwork(faults.jitter_seconds, faults.loss, inward)
        self._rate = terms.sample_rate_hz * (1 + faults.drift_ppm * 1e-6)
        self._playout, self._rows = Playout(1, terms.sample_rate_hz), Rows(len(terms.instruments))
        self._log = Log()
        self._began = 0.0
        self._slips = 0

    def play(self, mix_N: Audio, progress: Callable[[int], object] = lambda samples: None) -> Performance:
        """Play from beginning to end, as fast as it sounds.

        Args:
            mix_N: mono, at the server's rate.
            progress: told the samples of every block.
        """
        with prioritised(), without_long_collections():
            return self._play(mix_N, progress)

    def _play(self, mix_N: Audio, progress: Callable[[int], object]) -> Performance:
        heard: list[Audio] = [self._playout.read(self._block)]  # sounds while the first block is played
        self._began = self._clock()
        for number, start in enumerate(range(0, len(mix_N), self._block)):
            block_N = mix_N[start : start + self._block]
            self._pass_time(start + self._block)
            self._outward.put(self._transport.packet(number, start, block_N), self._now())
            heard.append(self._sounding(start + self._block))
            self._anticipate(start + self._block)
            progress(len(block_N))
        self._pass_time(len(mix_N) + round(AFTERMATH_SECONDS * self._rate))
        answer_N = np.concatenate(heard, axis=1)[0, : len(mix_N)]
        return Performance(answer_N, self._log, self._playout, self._outward, self._inward, self._slips)

    def _now(self) -> float:
        return self._clock() - self._began

    def _pass_time(self, position: int) -> None:
        """Until the musician's clock has reached a position, let packets go their ways."""
        end = position / self._rate
        self._slips += self._now() > end + self._block / self._rate
        while True:
            now = self._now()
            self._exchange(now)
            wait = min(end, self._outward.next_at, self._inward.next_at) - now
            if now >= end:
                return
            for packet in self._transport.received(min(max(0.0, wait), POLL_SECONDS)):
                self._inward.put(packet, self._now())

    def _exchange(self, now: float) -> None:
        for at, packet in self._outward.due(now):
            self._transport.send(packet)
            self._record(at, packet, 0)
        for _, packet in self._inward.due(now):
            self._take(self._transport.read(packet), now)

    def _take(self, message: Arrival | Refusal | None, now: float) -> None:
        if isinstance(message, Refusal):
            self._log.refusals.append(message.sentence)
        elif message is not None:
            self._log.arrivals.append((now * self._rate, message.position))
            for sum_N in self._rows.add(message):
                self._playout.put(message.position, sum_N[None])

    def _anticipate(self, position: int) -> None:
        """Ask for another anticipation where answers come too late, or too early."""
        chooses, now = self._anticipating, position / self._terms.sample_rate_hz
        if chooses is not None and chooses.change(self._playout.slack_seconds, now):
            self._log.anticipations.append((position, chooses.frames))
            self._outward.put(self._transport.anticipate(chooses.frames), self._now())

    def _sounding(self, position: int) -> Audio:
        """The accompaniment of the next block."""
        missing = self._playout.missing_samples
        sum_1N = self._playout.read(self._block)
        slack = self._playout.slack_seconds * self._terms.sample_rate_hz
        self._log.delays.append((position, self._playout.delay_samples, slack))
        if self._playout.missing_samples > missing:
            self._log.gaps.append((position, self._playout.missing_samples - missing))
        return sum_1N
