"""Windows over OSC: a hop of the musician's sound in, a hop of accompaniment out.

The protocol is the published one of Karchkhadze and Dubnov (arXiv 2604.07612), spoken for any accompanist: instead of a
window that slides over what was heard, the session remembers.

Shapes: B rows (accompanists), N audio samples.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from livejam.errors import UserError
from livejam.serving.osc_fields import Message
from livejam.serving.osc_hops import Hop, OutputTape
from livejam.serving.osc_messages import (
    LONGEST_CHUNK,
    BatchDropped,
    Context,
    Error,
    ServerPredicted,
    Stem,
    UpdateFade,
    UpdatePackageSize,
    UpdateR,
    Verbose,
    W,
)
from livejam.streaming import Session, Timing
from livejam.streaming.rings import Audio

WINDOW_SECONDS = 6.0
"""What r is a share of; and the most that is heard for one answer."""

PATIENCE_GAPS = 5
"""A batch of which nothing came for so many mean gaps between its packets is taken as it is."""

SHORTEST_PATIENCE, FIRST_PATIENCE = 0.05, 1.0
"""In seconds: packets that follow at once have no gap to speak of, and a single one has none."""

OLD_BATCHES = 1000
"""A batch so many numbers back is late; one further back begins anew."""

Post = Callable[[Callable[[Session], None]], Future[None]]


@dataclass(frozen=True)
class WindowSettings:
    """What a client has set.

    Args:
        share: r, the hop as a share of `WINDOW_SECONDS`.
        hops: w, the hops from the one just heard to the one that is answered, minus 1.
        fade_seconds: by how much an answer begins before its hop.
        package_samples: samples of a chunk.
        verbose: whether every batch is printed.
    """

    share: float = 0.25
    hops: float = -1.0
    fade_seconds: float = 0.02
    package_samples: int = 5120
    verbose: bool = False

    def hop_samples(self, sample_rate_hz: int) -> int:
        """The hop, as a client counts it that knows r more exactly than a 32-bit float."""
        return max(1, int(round(WINDOW_SECONDS * sample_rate_hz) * self.share + 0.02))

    def changed(self, message: Message) -> WindowSettings:
        """The settings after a message; others change nothing."""
        match message:
            case UpdateR(share):
                return replace(self, share=share)
            case W(hops):
                return replace(self, hops=hops)
            case UpdateFade(seconds):
                return replace(self, fade_seconds=seconds)
            case UpdatePackageSize(samples):
                return replace(self, package_samples=min(samples, LONGEST_CHUNK))
            case Verbose(lines):
                return replace(self, verbose=bool(lines))
        return self

    def require_playable(self, timing: Timing) -> None:
        """Refuse a hop that a session does not know in time.

        Raises:
            UserError: names what the model can.
        """
        lead, wanted = timing.lead_samples, (self.hops + 1) * self.hop_samples(timing.sample_rate_hz)
        if wanted <= lead:
            return
        seconds = f"{lead / timing.sample_rate_hz:.3f} s"
        if lead < 0:
            raise UserError(f"this model plays {seconds[1:]} late and has no windows; use /stream")
        share = lead / (self.hops + 1) / (WINDOW_SECONDS * timing.sample_rate_hz)
        fix = f"/w -1, or /update_r {np.floor(share * 1e4) / 1e4:g} or less"
        raise UserError(
            f"/w {self.hops:g} needs a hop that is known ahead, but this model plays {seconds} ahead; {fix}"
        )


@dataclass
class Batch:
    """A hop of the musician's sound, as its chunks come.

    Args:
        number: of the batch.
        chunks: that it has.
        audio_N: silence where nothing has come.
        starts: of the chunks that have come.
        first_at: when the first one came, in seconds.
        last_at: when the last one came.
    """

    number: int
    chunks: int
    audio_N: Audio
    first_at: float
    last_at: float
    starts: set[int] = field(default_factory=set)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return len(self.starts) >= self.chunks

    @property
    def given_up_at(self) -> float:
        """When it is taken as it is."""
        gaps = len(self.starts) - 1
        mean = (self.last_at - self.first_at) / gaps if gaps else FIRST_PATIENCE / PATIENCE_GAPS
        return self.last_at + max(PATIENCE_GAPS * mean, SHORTEST_PATIENCE)

    def add(self, message: Context, now: float) -> bool:
        """Store a chunk that fits into the hop. False = it was there already."""
        if message.start in self.starts:
            return False
        self.audio_N[message.start : message.start + len(message.samples_N)] = message.samples_N
        self.starts.add(message.start)
        self.last_at = now
        return True


@dataclass
class WindowCounts:
    """What has happened.

    Args:
        batches: that were answered.
        incomplete: batches with missing chunks; silence took their place.
        late: chunks of batches that were answered already.
        duplicates: chunks that came twice.
        dropped: batches without an answer.
    """

    batches: int = 0
    incomplete: int = 0
    late: int = 0
    duplicates: int = 0
    dropped: int = 0


class Windows:
    """Assembles batches, lets the session hear them, and sends the answers.

    Args:
        timing: of the session, as it is now.
        post: lets the session's worker do something.
        reply: sends a message, from any thread.
        say: prints a sentence.
    """

    def __init__(
        self, timing: Callable[[], Timing], post: Post, reply: Callable[[Message], None], say: Callable[[str], None]
    ) -> None:
        self.settings, self.counts = WindowSettings(), WindowCounts()
        self._timing, self._post, self._reply, self._say = timing, post, reply, say
        self._running: Future[None] | None = None
        self.reset()

    def reset(self) -> None:
        """Forget batches, not settings."""
        self._batch: Batch | None = None
        self._last: int | None = None
        self._unheard: list[Audio] = []
        self._tape = OutputTape()

    @property
    def due(self) -> float:
        """When `tick` has something to do; infinite = never."""
        return self._batch.given_up_at if self._batch else float("inf")

    def tick(self, now: float) -> None:
        """Take a batch as it is if nothing more of it comes."""
        if now >= self.due:
            self.predict()

    def set(self, message: Message) -> None:
        """Change a setting.

        Raises:
            UserError: the session cannot play like that; another setting may change this, so it is kept.
        """
        before, self.settings = self.settings, self.settings.changed(message)
        if self.settings.share != before.share:
            self._batch = None
        self.settings.require_playable(self._timing())

    def hear(self, message: Context, now: float) -> None:
        """Take a chunk.

        Raises:
            UserError: it does not fit into the hop.
        """
        if self._is_late(message.batch):
            self.counts.late += 1
            return
        self._require_fitting(message)
        if self._batch and self._batch.number != message.batch:
            self.predict()
        if self._batch is None:
            silence_N = np.zeros(self._hop, dtype=np.float32)
            self._batch = Batch(message.batch, message.chunks, silence_N, now, now)
        if not self._batch.add(message, now):
            self.counts.duplicates += 1
        if self._batch.complete:
            self.predict()

    def _require_fitting(self, message: Context) -> None:
        end = message.start + len(message.samples_N)
        if end > self._hop:
            raise UserError(
                f"/context: samples {message.start} to {end} are outside of the hop of {self._hop} samples; "
                "/update_r sets the hop"
            )

    def predict(self) -> None:
        """Take the batch as it is: the session hears it and plays.

        Raises:
            UserError: there is none.
        """
        batch = self._batch
        if batch is None:
            raise UserError("/predict: nothing was heard that is not answered; send /context first")
        self.counts.incomplete += not batch.complete
        self._unheard = self._with_silence(batch)
        self._batch, self._last = None, batch.number
        if self._running is not None and not self._running.done():
            self._drop(batch.number)
            return
        heard_N = np.concatenate(self._unheard)[-round(WINDOW_SECONDS * self._timing().sample_rate_hz) :]
        self._unheard = []
        self._running = self._post(self._answering(batch.number, heard_N))
        self._running.add_done_callback(lambda done: self._finish(batch.number, done))

    @property
    def _hop(self) -> int:
        return self.settings.hop_samples(self._timing().sample_rate_hz)

    def _is_late(self, number: int) -> bool:
        current = self._batch.number if self._batch else None
        return self._last is not None and number != current and 0 <= self._last - number < OLD_BATCHES

    def _with_silence(self, batch: Batch) -> list[Audio]:
        """What is to be heard: batches that found the session at work, silence for lost ones, and this one."""
        lost = batch.number - self._last - 1 if self._last is not None else 0
        most = round(WINDOW_SECONDS * self._timing().sample_rate_hz)
        silence_N = np.zeros(min(max(0, lost) * self._hop, most), dtype=np.float32)
        return [*self._unheard[-int(most // self._hop + 1) :], silence_N, batch.audio_N]

    def _answering(self, number: int, heard_N: Audio) -> Callable[[Session], None]:
        settings, tape = self.settings, self._tape
        hop = Hop(self._hop, settings.hops, round(settings.fade_seconds * self._timing().sample_rate_hz))

        def play(session: Session) -> None:
            tape.hear(session, heard_N)
            settings.require_playable(session.timing)
            for instrument, samples_N in tape.answer(session, hop).items():
                self._send(instrument, number, samples_N, settings.package_samples)
            self._reply(ServerPredicted(True))

        return play

    def _send(self, instrument: str, number: int, samples_N: Audio, package: int) -> None:
        chunks = -(-len(samples_N) // package)
        for chunk in range(chunks):
            part_N = samples_N[chunk * package : (chunk + 1) * package]
            self._reply(Stem(instrument, number, chunk, chunks, part_N))

    def _drop(self, number: int) -> None:
        self.counts.dropped += 1
        self._reply(BatchDropped(number))

    def _finish(self, number: int, done: Future[Any]) -> None:
        if done.cancelled():
            return
        try:
            done.result()
            self.counts.batches += 1
        except CancelledError:
            return
        except Exception as error:  # whatever goes wrong in a model, the next batch gets its chance
            self._reply(Error(" ".join(str(error).split())[:500]))
            self._drop(number)
        if self.settings.verbose:
            self._say(f"batch {number}: {self.counts}")
