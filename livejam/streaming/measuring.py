"""How fast a model plays here, and how far ahead it has to play for that.

A step that takes long delays the next one, so times alone do not say which deadlines are missed: `latencies` lets every
step wait for the one before.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from livejam.streaming.pipeline import StepTimes
from livejam.streaming.session import Session
from livejam.streaming.timing import Timing

Seconds = npt.NDArray[np.float64]
"""One number per step of the model."""

WARM_UP_STEPS = 5

LOUDNESS = 0.1
"""Standard deviation of the noise that is played to a model: what it hears does not change its time."""


@dataclass(frozen=True)
class Measured:
    """The time of every step of a session.

    Args:
        timing: the session's.
        encode: time of the encoder.
        generate: time of the model.
        decode: time of the decoder.
        total: time of the whole call, with resampling and bookkeeping.
    """

    timing: Timing
    encode: Seconds
    generate: Seconds
    decode: Seconds
    total: Seconds

    @property
    def block_seconds(self) -> float:
        """The sound that a step makes; the time of a step has to stay below it."""
        return self.timing.block_samples / self.timing.sample_rate_hz

    @property
    def real_time_factor(self) -> float:
        """Seconds of sound per second of computing."""
        return self.block_seconds / float(self.total.mean())


def measure(
    session_of: Callable[[Callable[[StepTimes], None]], Session],
    steps: int,
    progress: Callable[[], object] = lambda: None,
) -> Measured:
    """Let a new session play noise, one block at a time.

    Args:
        session_of: makes a session that tells its steps to the given listener.
        steps: steps of the model that are measured, after some that are not.
        progress: called after every one of them.
    """
    noted: list[StepTimes] = []
    session = session_of(noted.append)
    rng, played = torch.Generator().manual_seed(0), 0
    totals, seconds = list[float](), 0.0
    while played < WARM_UP_STEPS + steps:
        audio_AN = LOUDNESS * torch.randn(session.channels, session.timing.block_samples, generator=rng)
        started = time.perf_counter()
        session.advance(audio_AN)
        seconds += time.perf_counter() - started
        new, played = len(noted) - played, len(noted)
        # rates that do not divide each other let a call complete two blocks, or none
        if new:
            totals += [seconds / new] * new
            seconds = 0.0
        progress()
    kept = noted[WARM_UP_STEPS : WARM_UP_STEPS + steps]
    encode, generate, decode = (
        np.array([getattr(step, name) for step in kept]) for name in ("encode", "generate", "decode")
    )
    return Measured(session.timing, encode, generate, decode, np.array(totals[WARM_UP_STEPS : WARM_UP_STEPS + steps]))


def latencies(seconds: Seconds, block_seconds: float) -> Seconds:
    """From the moment when a step could begin to its end, if blocks come in time and steps wait for each other."""
    waited, found = 0.0, []
    for taken in seconds:
        latency = waited + taken
        found.append(latency)
        waited = max(0.0, latency - block_seconds)
    return np.array(found)


def misses(measured: Measured, buffer_seconds: float) -> int:
    """Steps that come too late, if buffers and sound card take their share of the lead."""
    budget = measured.timing.budget_seconds - buffer_seconds
    return int((latencies(measured.total, measured.block_seconds) > budget).sum())


def smallest_anticipation(
    measured: Measured, anticipation_frames: int, step_frames: int, frame_seconds: float, buffer_seconds: float
) -> int | None:
    """The fewest frames of anticipation with which no step of these would have come too late; None: they pile up.

    Args:
        measured: what was measured.
        anticipation_frames: δ of the model that was measured.
        step_frames: by how many frames δ can be chosen: 1, or a block for models whose cutoff is counted in blocks.
        frame_seconds: duration of a frame.
        buffer_seconds: what buffers and sound card take.
    """
    if float(measured.total.mean()) >= measured.block_seconds:
        return None
    needed = float(latencies(measured.total, measured.block_seconds).max()) + buffer_seconds
    missing = needed - measured.timing.budget_seconds
    steps = math.ceil(missing / (step_frames * frame_seconds) - 1e-9)
    # a causal model plays the next frame at the earliest
    return max(anticipation_frames + steps * step_frames, step_frames - 1)


def quantiles_ms(seconds: Sequence[float] | Seconds) -> dict[str, float]:
    """Mean, p50, p95, p99 and the longest, in ms."""
    ms = 1000 * np.asarray(seconds)
    shares = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    return {"mean": float(ms.mean()), **{name: float(np.percentile(ms, share)) for name, share in shares.items()}}
