"""The real-time engine: a session that computes in a thread of its own, beside a sound card that cannot wait.

The sound card's thread calls `callback`, which stores what was heard and returns what is due; it takes microseconds
and never waits. The worker takes what was heard, lets the session play, and stores what will sound. The session plays
ahead, and that time is there for computing.

A missed deadline: the last sound fades out within milliseconds, silence follows, and sound that is there again fades
in. The output that came too late is skipped, and the waiting input is taken in bigger pieces, so that the engine is
back in time as soon as the machine permits. A worker that stalls for so long that input is lost gets silence in its
place. Positions never move: output sample k sounds while input sample k sounds, after every accident.

Shapes: A audio channels, N audio samples.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic

import numpy as np
import torch

from livejam.streaming.clocks import Clock, Signal, TrueClock
from livejam.streaming.fades import MissFader, after_silence, spliced
from livejam.streaming.performer import Performer, R, S
from livejam.streaming.playheads import DriftingPlayhead, Playhead, SteadyPlayhead
from livejam.streaming.priority import prioritised, without_long_collections
from livejam.streaming.rings import Audio, HeardRing, TimedRing
from livejam.streaming.statistics import Histogram, Statistics
from livejam.streaming.threads import fewest_threads

LOG = logging.getLogger(__name__)
FADE_SECONDS, IDLE_SECONDS, JOIN_SECONDS = 0.005, 0.1, 10.0


@dataclass(frozen=True)
class Placement:
    """Where the output is read, relative to the input, and the time that this leaves for computing.

    Args:
        offset_samples: the output sample that is read while input sample 0 is captured.
        late_samples: by how much the output sounds later than it should.
        budget_samples: what a step may take.
    """

    offset_samples: int
    late_samples: int
    budget_samples: int


def place(lead_samples: int, latency_samples: int, chunk_samples: int, reserve_samples: int) -> Placement:
    """Read the output as early as the sound card needs it, if there is still time to compute.

    What is captured and what is played by one call of the sound card are `latency_samples` apart in the room, so the
    output is read that much ahead. A step that begins with one call has to end before the call that needs its output:
    its time is a whole number of calls.

    Args:
        lead_samples: how far the session plays ahead.
        latency_samples: of the sound card, input and output together.
        chunk_samples: per call of the sound card.
        reserve_samples: the least that a step may take.
    """
    calls = max(1, -(-reserve_samples // chunk_samples))
    offset = min(latency_samples, lead_samples - calls * chunk_samples)
    budget = (lead_samples - offset) // chunk_samples * chunk_samples
    return Placement(offset, latency_samples - offset, budget)


@contextmanager
def _threads_kept() -> Iterator[None]:
    """PyTorch's number of threads is the same afterwards."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class RealTimeEngine(Generic[S]):
    """A session that plays in real time.

    Args:
        session: plays; from `start` to `stop` only the engine's worker may touch it (see `post`).
        chunk_samples: samples per call of the sound card; calls may bring fewer.
        latency_samples: the sound card's, from a sound that enters to one that leaves it, without computing.
        reserve_seconds: the least time that a step gets. If the session does not play far enough ahead for this and the
            sound card, the output sounds late, and the engine says by how much.
        queue_seconds: input that may wait; what the worker does not fetch in time is lost.
        piece_seconds: the most that the session hears at once while it catches up.
        playhead: how the output is read: `SteadyPlayhead`, or `DriftingPlayhead` if input and output have clocks of
            their own.
        clock: the time; None = the machine's.
        latencies: counts what every step takes; None = a new histogram.
        say: told every kind of problem once, in a sentence; later ones come from the worker's thread.
        on_output: called in the worker's thread with all output as soon as it is known, and the position of its first
            sample. Whoever plays it elsewhere, and calls `capture` and never `render`, needs no sound card here.
    """

    def __init__(
        self,
        session: S,
        chunk_samples: int,
        latency_samples: int = 0,
        reserve_seconds: float = 0.01,
        queue_seconds: float = 4.0,
        piece_seconds: float = 1.0,
        playhead: type[SteadyPlayhead] | type[DriftingPlayhead] = SteadyPlayhead,
        clock: Clock | None = None,
        latencies: Histogram | None = None,
        say: Callable[[str], None] = LOG.warning,
        on_output: Callable[[int, Audio], None] | None = None,
    ) -> None:
        rate, lead = session.timing.sample_rate_hz, session.timing.lead_samples - playhead.look_ahead_samples
        self.chunk_samples, self.sample_rate_hz, self.channels = chunk_samples, rate, session.channels
        self.placement = place(lead, latency_samples, chunk_samples, round(reserve_seconds * rate))
        self._clock = clock or TrueClock()
        self._performer = Performer(session, say)
        self._playhead: Playhead = playhead(self.placement.offset_samples, rate)
        self._heard = HeardRing(self.channels, max(round(queue_seconds * rate), 2 * chunk_samples))
        with torch.inference_mode():
            start, opening_AN = self._performer.advance(np.zeros((self.channels, 0), dtype=np.float32))
        ahead = start + opening_AN.shape[1] + session.timing.block_samples - self.placement.offset_samples
        self._output = TimedRing(len(opening_AN), max(0, ahead) + 2 * rate, start)
        self._output.append(opening_AN)
        self._on_output = on_output
        self._fade = max(1, round(FADE_SECONDS * rate))
        self._fader = MissFader(len(opening_AN), self._fade)
        self._out_AN = np.zeros((len(opening_AN), chunk_samples), dtype=np.float32)
        self._piece = max(round(piece_seconds * rate), chunk_samples)
        self._controls: queue.SimpleQueue[tuple[Callable[[S], Any], Future[Any]]] = queue.SimpleQueue()
        self._signal, self._closing, self._ready = Signal(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._captured = (self._clock.now(), 0)
        self._latency, self._answers = latencies or Histogram(), Histogram()
        self._gap = 0.0
        self._skipped = self._overruns = self._lost = 0
        self._losing = False
        if self.placement.late_samples > 0:
            say(self._lateness(latency_samples))

    def _lateness(self, latency_samples: int) -> str:
        late, needed, lead = (
            f"{1000 * samples / self.sample_rate_hz:.0f} ms"
            for samples in (
                self.placement.late_samples,
                latency_samples + self.placement.budget_samples,
                latency_samples + self.placement.budget_samples - self.placement.late_samples,
            )
        )
        return (
            f"the accompaniment sounds {late} late: sound card and computation need {needed}, and the model plays "
            f"{lead} ahead; choose a smaller buffer, or a model with a larger anticipation"
        )

    # The sound card's side

    def callback(self, input_AN: Audio) -> Audio:
        """Store what was captured and return as many samples that are due, without ever waiting.

        Args:
            input_AN: float32 in [-1, 1]; one row stands for all channels.

        Returns:
            output_AN, valid until the next call.
        """
        began = time.perf_counter()  # the processor's time, whatever the clock
        self._store(input_AN)
        output_AN = self.render(input_AN.shape[1])
        self._answers.add(time.perf_counter() - began)
        self._signal.set()  # last: the worker that wakes up competes for the interpreter
        return output_AN

    def capture(self, input_AN: Audio) -> None:
        """The input's half of `callback`, for an input with a clock of its own."""
        self._store(input_AN)
        self._signal.set()

    def _store(self, input_AN: Audio) -> None:
        now, (before, samples) = self._clock.now(), self._captured
        if samples:
            self._gap = max(self._gap, now - before)
        self._playhead.hear(input_AN.shape[1], now)
        self._heard.write(input_AN)
        self._captured = (now, self._heard.written_samples)

    def render(self, samples: int) -> Audio:
        """The output's half of `callback`, for an output with a clock of its own."""
        if samples > self._out_AN.shape[1]:
            self._out_AN = np.zeros((len(self._out_AN), samples), dtype=np.float32)
        output_AN = self._out_AN[:, :samples]
        self._fader(output_AN, self._playhead.read(self._output, output_AN, self._clock.now()))
        return output_AN

    # The worker's side

    def warm_up(self) -> None:
        """Choose PyTorch's number of threads, and make the first real block as fast as the others.

        The worker's thread does this by itself; a caller of `work` may do it before.
        """
        budget = self.placement.budget_samples / self.sample_rate_hz
        try:
            with torch.inference_mode():
                threads = self._performer.rehearse(lambda step: fewest_threads(step, budget))
            torch.set_num_threads(threads)
        except Exception as error:  # `work` meets it again, and copes
            self._performer.note("before", f"the model failed before it began ({error})")

    def work(self) -> bool:
        """Do the next piece of work, in the caller's thread. False = there is none."""
        controlled = self._run_controls()
        audio_AN, lost = self._heard.take(self._piece)
        if not audio_AN.shape[1]:
            return controlled
        self._count_lost(lost)
        captured, samples = self._captured
        arrived = captured - (samples - self._heard.taken_samples) / self.sample_rate_hz
        with torch.inference_mode():
            start, new_AN = self._performer.advance(audio_AN)
        if new_AN.shape[1]:
            self._publish(start, new_AN)
            self._latency.add(self._clock.now() - arrived)
        return True

    def _publish(self, start: int, new_AN: Audio) -> None:
        """Store new output at its position, with a cross-fade where it does not continue what is there."""
        gap = start - self._output.known_samples
        if gap > 0:
            new_AN = after_silence(new_AN, gap, self._fade)
        new_AN = new_AN[:, max(0, -gap) :]
        if (gap or self._performer.cut) and new_AN.shape[1]:
            last_AN = np.zeros((len(new_AN), self._fade), dtype=np.float32)
            self._output.last(last_AN)
            new_AN, self._performer.cut = spliced(new_AN, last_AN), False
        late = self._playhead.position_samples - self._output.known_samples
        self._skipped += min(max(0, late), new_AN.shape[1])
        if self._on_output is not None:
            self._on_output(self._output.known_samples, new_AN)
        self._output.append(new_AN)

    def _count_lost(self, samples: int) -> None:
        self._lost += samples
        self._overruns += bool(samples) and not self._losing
        if samples:
            stalled = "the model stalled for seconds and missed part of the input; silence takes its place"
            self._performer.note("overrun", f"{stalled} (close other programs, or choose a smaller model)")
        self._losing = bool(samples)

    def _run_controls(self) -> bool:
        ran = False
        while not self._controls.empty():
            change, future = self._controls.get()
            ran = True
            if not future.set_running_or_notify_cancel():
                continue
            try:
                with torch.inference_mode():
                    future.set_result(self._performer.control(change))
            except Exception as error:  # it belongs to whoever asked
                future.set_exception(error)
        return ran

    def _run(self) -> None:
        with prioritised(), _threads_kept():
            self.warm_up()
            self._ready.set()
            while not self._closing.is_set():
                if not self._work_safely():
                    self._clock.wait(self._signal, IDLE_SECONDS)

    def _work_safely(self) -> bool:
        try:
            return self.work()
        except Exception as error:  # a fault of the engine itself: silence, and the next piece gets its chance
            self._performer.note("engine", f"the engine failed on a piece of input ({error}); please report it")
            return True

    # Everybody's side

    def post(self, change: Callable[[S], R]) -> Future[R]:
        """Change the session between two pieces of its input: `engine.post(lambda session: session.undo(4))`.

        Returns:
            what `change` returns or raises, once the worker has run it.
        """
        future: Future[R] = Future()
        self._controls.put((change, future))
        self._signal.set()
        return future

    @property
    def origin_samples(self) -> int:
        """The stream's position of the session's first sample, for whoever changes the session (`post`)."""
        return self._performer.origin_samples

    def start(self) -> None:
        """Start the worker, and return when it is ready to play."""
        self._closing.clear()
        self._ready.clear()
        self._freezer = ExitStack()
        self._freezer.enter_context(without_long_collections())
        self._thread = threading.Thread(target=self._run, name="livejam worker", daemon=True)
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Stop the worker after the piece that it is at; what it was not asked in time is cancelled."""
        if self._thread is None:
            return
        self._closing.set()
        self._signal.set()
        self._thread.join(JOIN_SECONDS)
        self._thread = None
        self._freezer.close()
        while not self._controls.empty():
            self._controls.get()[1].cancel()

    def __enter__(self) -> RealTimeEngine[S]:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def statistics(self) -> Statistics:
        """What has happened so far."""
        ms = 1000 / self.sample_rate_hz
        return Statistics(
            seconds=self._heard.written_samples / self.sample_rate_hz,
            steps=self._latency.count,
            latency_p50_ms=self._latency.quantile_ms(0.5),
            latency_p95_ms=self._latency.quantile_ms(0.95),
            latency_p99_ms=self._latency.quantile_ms(0.99),
            latency_max_ms=1000 * self._latency.longest_seconds,
            budget_ms=self.placement.budget_samples * ms,
            misses=self._fader.misses,
            missed_ms=self._fader.missed_samples * ms,
            skipped_ms=self._skipped * ms,
            overruns=self._overruns,
            lost_ms=self._lost * ms,
            refused=self._performer.refused,
            failures=self._performer.session.failures,
            queue_ms=self._heard.waiting_samples * ms,
            late_ms=self.placement.late_samples * ms,
            drift_ppm=self._playhead.drift_ppm,
            callback_p99_ms=self._answers.quantile_ms(0.99),
            callback_max_ms=1000 * self._answers.longest_seconds,
            gap_max_ms=1000 * self._gap,
            problem=self._performer.problem,
        )
