"""Ways to let a session play: as fast as it can, by the clock, or through a sound card.

Shapes: A audio channels, B rows, N audio samples.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch

from livejam.audio_files import FLOAT, Audio, Recording, Write, audio_writer, open_recording
from livejam.errors import UserError
from livejam.streaming import Session, StepTimes
from livejam.streaming.clocks import TrueClock
from livejam.streaming.devices import SoundCard, Stage
from livejam.streaming.engine import RealTimeEngine
from livejam.streaming.statistics import Statistics
from livejam.streaming.threads import fewest_threads

Sink = Callable[[Audio], None]
"""Takes what is played next (BAN)."""

SessionMaker = Callable[[int, int], Session]
"""Sample rate in Hz and number of channels → a session that has heard nothing yet."""

MOST_INPUTS = 2
SUBTYPE = "PCM_24"
"""Of all files that are kept."""


class StepLog:
    """The times of every step since the performance began."""

    def __init__(self) -> None:
        self.steps: list[StepTimes] = []

    def __call__(self, times: StepTimes) -> None:
        """Note one step."""
        self.steps.append(times)

    def clear(self) -> None:
        """Forget the steps of warming up."""
        self.steps.clear()


@dataclass(frozen=True)
class Performance:
    """What was heard and played, sample by sample.

    Args:
        session: that played.
        mix: what it heard.
        played: the sum of its rows, which is not clipped.
        statistics: the engine's, if there was one.
        problem: what ended it before its time.
    """

    session: Session
    mix: Recording
    played: Recording
    statistics: Statistics | None = None
    problem: UserError | None = None


Progress = Callable[[Iterator[Audio]], Iterator[Audio]]
"""Hands on the chunks AN of a recording, and shows how far it has come."""


def play_at_once(
    make: SessionMaker, log: StepLog, mix: Recording, progress: Progress, played: Path, rows: Iterable[Path]
) -> Performance:
    """Hear a recording in chunks of a block of the model, as fast as the machine can.

    Args:
        make: makes the session.
        log: of its steps.
        mix: the recording.
        progress: shows how far it has come.
        played: the file for the sum of all rows, in 32-bit floating point.
        rows: files for every row, in 24 bits.
    """
    session = make(mix.sample_rate_hz, mix.channels)
    settle(session)
    log.clear()
    with written(mix, played, rows) as sink:
        for heard_AN in progress(mix.blocks(session.timing.block_samples)):
            sink(session.process_rows(torch.from_numpy(heard_AN)).numpy())
    return Performance(session, mix, open_recording(played))


def play_by_the_clock(
    make: SessionMaker, log: StepLog, mix: Recording, progress: Progress, chunk_samples: int, played: Path
) -> Performance:
    """Hear a recording as fast as it sounds, through the real-time engine.

    Args:
        make: makes the session.
        log: of its steps.
        mix: the recording.
        progress: shows how far it has come.
        chunk_samples: samples that it hears at once.
        played: the file for the sum of all rows, in 32-bit floating point.
    """
    session = make(mix.sample_rate_hz, mix.channels)
    settle(session)
    engine = RealTimeEngine(session, chunk_samples, say=say)
    source = progress(mix.blocks(chunk_samples))
    with written(mix, played) as sink:

        def tick(number: int) -> None:
            if number == 0:
                log.clear()
            sink(engine.callback(next(source))[np.newaxis])

        TrueClock().pace(engine, tick, chunk_samples / mix.sample_rate_hz, -(-mix.samples // chunk_samples))
    return Performance(session, mix, open_recording(played), engine.statistics())


def play_through_card(
    make: SessionMaker,
    log: StepLog,
    card: SoundCard,
    mix: Recording | None,
    seconds: float | None,
    heard: Path,
    played: Path,
) -> Performance:
    """Play on stage until the time is over, the recording ends, somebody interrupts, or the card is gone.

    Args:
        make: makes the session.
        log: of its steps.
        card: without an input if there is a recording.
        mix: a recording that is heard, and sounds together with what is played to it; None = the card's input is heard.
        seconds: how long; None = until the recording ends, or KeyboardInterrupt.
        heard: the file for what is heard, at the card's rate.
        played: the file for what is played, as it sounds in the room beside what is heard.

    Raises:
        UserError: the card does not open, or nothing was heard.
    """
    rate = card.sample_rate_hz
    channels = mix.channels if mix else min(MOST_INPUTS, card.input.channels if card.input else MOST_INPUTS)
    session, mix_AN = make(rate, channels), None if mix is None else at_rate(mix, rate)
    settle(session)
    with ExitStack() as stack:
        stage = stack.enter_context(card.opened(channels))
        engine = RealTimeEngine(
            session, card.chunk_samples, latency_samples=stage.latency_samples, playhead=card.playhead, say=say
        )
        write_heard, write_played = (
            stack.enter_context(audio_writer(path, rate, channels, FLOAT)) for path in (heard, played)
        )
        write_played(np.zeros((channels, stage.latency_samples), dtype=np.float32))
        tape = _Tape(write_heard, write_played, with_mix=mix is not None, begin=log.clear)
        say(f"playing through {card.names} at {rate} Hz; Ctrl-C ends it")
        problem = _until_the_end(stage, engine, mix_AN, tape, seconds)
    if not tape.heard_samples:
        raise problem or UserError("nothing was heard before the end; play for longer")
    return Performance(session, open_recording(heard), open_recording(played), engine.statistics(), problem)


def settle(session: Session) -> None:
    """Warm up, and let as many threads work from now on as serve this model best; nothing was heard afterwards."""
    before, silence_AN = session.snapshot(), torch.zeros(session.channels, session.timing.block_samples)
    torch.set_num_threads(fewest_threads(lambda: session.advance(silence_AN), session.timing.budget_seconds))
    session.restore(before)


def _until_the_end(
    stage: Stage, engine: RealTimeEngine[Session], mix_AN: Audio | None, tape: _Tape, seconds: float | None
) -> UserError | None:
    """Play, and give what went wrong: what was played until then is kept."""
    try:
        stage.play(engine, mix_AN, tape, seconds)
    except KeyboardInterrupt:
        return None
    except UserError as error:
        return error
    return None


class _Tape:
    """Writes what a sound card captures and plays.

    Args:
        write_heard: takes what was heard.
        write_played: takes what was played.
        with_mix: whether the card plays what was heard as well, which is then taken away.
        begin: called once, with the first sound.
    """

    def __init__(self, write_heard: Write, write_played: Write, with_mix: bool, begin: Callable[[], None]) -> None:
        self.heard_samples = 0
        self._write_heard, self._write_played, self._with_mix, self._begin = write_heard, write_played, with_mix, begin
        self._unpaired: list[Audio] = []

    def __call__(self, heard_AN: Audio, played_AN: Audio) -> None:
        """Take what came since the last call; between two calls of the card one side may be ahead."""
        if not self.heard_samples:
            self._begin()
        self._write_heard(heard_AN)
        self.heard_samples += heard_AN.shape[1]
        self._write_played(self._alone(heard_AN, played_AN) if self._with_mix else played_AN)

    def _alone(self, heard_AN: Audio, played_AN: Audio) -> Audio:
        """What was played without what was heard, as far as both are known."""
        sides = [heard_AN, played_AN]
        if self._unpaired:
            sides = [np.concatenate(both, axis=1) for both in zip(self._unpaired, sides, strict=True)]
        samples = min(side.shape[1] for side in sides)
        self._unpaired = [side[:, samples:] for side in sides]
        return sides[1][:, :samples] - sides[0][:, :samples]


@contextmanager
def written(mix: Recording, played: Path, rows: Iterable[Path] = ()) -> Iterator[Sink]:
    """Files for what is played to a recording: the sum of all rows in 32-bit floating point, and every row."""
    with ExitStack() as stack:
        kinds = {played: FLOAT} | dict.fromkeys(rows, SUBTYPE)
        files = [audio_writer(path, mix.sample_rate_hz, mix.channels, kind) for path, kind in kinds.items()]
        writes = [stack.enter_context(file) for file in files]

        def sink(played_BAN: Audio) -> None:
            for write, audio_AN in zip(writes, (played_BAN.sum(axis=0), *played_BAN), strict=False):
                write(audio_AN)

        yield sink


def at_rate(mix: Recording, sample_rate_hz: int) -> Audio:
    """All of a recording at another rate."""
    (audio_AN,) = mix.blocks(mix.samples)
    resampled_NA = soxr.resample(audio_AN.T, mix.sample_rate_hz, sample_rate_hz)
    return np.ascontiguousarray(resampled_NA.T, dtype=np.float32)


def say(sentence: str) -> None:
    """What a performer wants to know while it plays."""
    sys.stderr.write(f"note: {sentence}\n")
