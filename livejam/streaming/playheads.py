"""Where in the output a sound card reads: straight on, or at the pace of another sound card's clock.

Shapes: A audio channels, N audio samples, K taps of a filter.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import numpy.typing as npt

from livejam.streaming.rings import Audio, TimedRing

HALF_TAPS, PHASES, KAISER_BETA = 16, 1024, 9.0
LOOP_HZ, FIRST_LOOP_HZ = 0.01, 1.0
PULL_SECONDS, LARGEST_PULL = 5.0, 1e-3
JUMP_SECONDS, CLIPPED_SECONDS = 0.1, 0.005


class Playhead(Protocol):
    """Reads the output that is due."""

    @property
    def position_samples(self) -> int:
        """The next output sample to be read; earlier ones are too late."""

    @property
    def drift_ppm(self) -> float:
        """The input's clock against the output's."""

    def hear(self, samples: int, now: float) -> None:
        """So many input samples were captured, at this time."""

    def read(self, ring: TimedRing, out_AN: Audio, now: float) -> int:
        """Fill `out_AN` with the next samples; how many of them are known (the first ones)."""


class SteadyPlayhead:
    """One clock for input and output: one output sample per input sample.

    Args:
        offset_samples: the output sample that is read while input sample 0 is captured.
        sample_rate_hz: of both.
    """

    look_ahead_samples = 0
    drift_ppm = 0.0

    def __init__(self, offset_samples: int, sample_rate_hz: int) -> None:
        self.position_samples = offset_samples

    def hear(self, samples: int, now: float) -> None:
        """Nothing: the output follows by itself."""

    def read(self, ring: TimedRing, out_AN: Audio, now: float) -> int:
        known = ring.read(self.position_samples, out_AN)
        self.position_samples += out_AN.shape[1]
        return known


class DelayLockedLoop:
    """A clock that counts samples, seen through calls that come at unsteady times.

    A loop of second order follows counts and times (F. Adriaensen, "Using a DLL to filter time", 2005). Its bandwidth
    begins wide and narrows, so that it has the rate within seconds and ignores the jitter of calls afterwards.

    Args:
        sample_rate_hz: the nominal rate.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self._nominal_hz = sample_rate_hz
        self._line = (0.0, 0.0, float(sample_rate_hz))  # count, time and rate: replaced at once, for other threads
        self._elapsed = 0.0
        self._started = False

    @property
    def rate_hz(self) -> float:
        """Samples per second, as measured."""
        return self._line[2]

    def update(self, count: int, now: float) -> None:
        """The clock had counted so many samples at this time."""
        expected, (_, before, rate_hz) = self.at(now), self._line
        error, passed = count - expected, now - before
        if not self._started or abs(error) > JUMP_SECONDS * self._nominal_hz:
            self._started, self._line = True, (float(count), now, rate_hz)
            return
        if passed <= 0:
            return
        self._elapsed += passed
        omega = min(2 * math.pi * max(LOOP_HZ, min(FIRST_LOOP_HZ, 0.5 / self._elapsed)) * passed, 0.5)
        clipped = CLIPPED_SECONDS * self._nominal_hz
        error = min(max(error, -clipped), clipped)
        self._line = (expected + math.sqrt(2) * omega * error, now, rate_hz + omega**2 * error / passed)

    def at(self, seconds: float) -> float:
        """The count at a time."""
        count, time, rate_hz = self._line
        return count + (seconds - time) * rate_hz

    def time_of(self, count: int) -> float:
        """The time of a count."""
        counted, time, rate_hz = self._line
        return time + (count - counted) / rate_hz


class DriftingPlayhead:
    """Two clocks: the output is resampled to the pace of the input, so that neither buffer ever fills or runs dry.

    Both clocks are measured. The ratio of their rates, and a slow pull towards the position that is due, say how far
    the playhead moves per sample. In between samples it interpolates with a windowed sinc of 32 taps. A playhead that
    is far from its position (a device lost sound) jumps there, as after a missed deadline.

    Args:
        offset_samples: the output sample that is read while input sample 0 is captured.
        sample_rate_hz: nominal rate of both clocks.
    """

    look_ahead_samples = HALF_TAPS + 1

    def __init__(self, offset_samples: int, sample_rate_hz: int) -> None:
        self.position_samples = offset_samples
        self._offset = offset_samples
        self._rate = sample_rate_hz
        self._input, self._output = DelayLockedLoop(sample_rate_hz), DelayLockedLoop(sample_rate_hz)
        self._heard = self._played = 0
        self._fraction = 0.0
        self._placed = False
        self._taps_PK = sinc_taps()

    @property
    def drift_ppm(self) -> float:
        """The input's clock against the output's."""
        return 1e6 * (self._input.rate_hz / self._output.rate_hz - 1)

    def hear(self, samples: int, now: float) -> None:
        self._input.update(self._heard, now)
        self._heard += samples

    def read(self, ring: TimedRing, out_AN: Audio, now: float) -> int:
        samples = out_AN.shape[1]
        self._output.update(self._played, now)
        if not self._heard:
            out_AN[:] = 0
            self._played += samples
            return samples
        ratio, jumped = self._ratio()
        self._played += samples
        steps_N = self._fraction + ratio * np.arange(samples + 1)
        known = self._interpolate(ring, out_AN, steps_N[:-1])
        self.position_samples += int(steps_N[-1])
        self._fraction = float(steps_N[-1] % 1)
        return 0 if jumped else known

    def _ratio(self) -> tuple[float, bool]:
        """Input samples per output sample, and whether the sound has to stop for a jump."""
        due = self._input.at(self._output.time_of(self._played)) + self._offset
        error = due - self.position_samples - self._fraction
        rates = self._input.rate_hz / self._output.rate_hz
        if not self._placed or abs(error) > JUMP_SECONDS * self._rate:
            jumped, self._placed = self._placed, True
            self.position_samples, self._fraction = math.floor(due), due % 1
            return rates, jumped
        return rates + min(max(error / (PULL_SECONDS * self._rate), -LARGEST_PULL), LARGEST_PULL), False

    def _interpolate(self, ring: TimedRing, out_AN: Audio, steps_N: npt.NDArray[np.float64]) -> int:
        whole_N = steps_N.astype(np.int64)
        span_AN = np.zeros((len(out_AN), whole_N[-1] + 2 * HALF_TAPS), dtype=np.float32)
        known = ring.read(self.position_samples - HALF_TAPS + 1, span_AN) - 2 * HALF_TAPS + 1
        windows_ANK = np.lib.stride_tricks.sliding_window_view(span_AN, 2 * HALF_TAPS, axis=1)[:, whole_N]
        np.einsum("ank,nk->an", windows_ANK, self._weights(steps_N - whole_N), out=out_AN)
        return int(np.searchsorted(whole_N, max(0, known)))

    def _weights(self, fraction_N: npt.NDArray[np.float64]) -> Audio:
        """The filter's taps at each fraction of a sample, between the two nearest of the table."""
        phase_N = fraction_N * PHASES
        below_N = phase_N.astype(np.int64)
        weight_N1 = (phase_N - below_N).astype(np.float32)[:, None]
        return (1 - weight_N1) * self._taps_PK[below_N] + weight_N1 * self._taps_PK[below_N + 1]


def sinc_taps() -> Audio:
    """A sinc in a Kaiser window, at every 1024th of a sample: row p delays by p / 1024 of a sample less."""
    at_PK = np.arange(-HALF_TAPS + 1, HALF_TAPS + 1)[None] - np.arange(PHASES + 1)[:, None] / PHASES
    window_PK = np.i0(KAISER_BETA * np.sqrt(np.clip(1 - (at_PK / HALF_TAPS) ** 2, 0, None))) / np.i0(KAISER_BETA)
    return np.asarray(np.sinc(at_PK) * window_PK, dtype=np.float32)
