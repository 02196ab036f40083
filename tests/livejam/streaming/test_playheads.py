"""Two clocks that run apart: the output is resampled to the pace of the input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from echo_session import EchoSession, EchoTiming

from livejam.streaming.clocks import VirtualClock
from livejam.streaming.engine import RealTimeEngine
from livejam.streaming.playheads import DelayLockedLoop, DriftingPlayhead
from livejam.streaming.rings import TimedRing

RATE, CHUNK = 1000, 512


def sine(hz: float, positions: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * np.sin(2 * np.pi * hz / RATE * positions))


class TwoDevices:
    """An input and an output whose calls come up to 3 ms late, at random.

    Args:
        input_hz: the rate of the input's clock; the output's is `RATE`.
        engine: what both call.
        clock: of the engine.
        seconds: how long they run.
        lost: calls of the output between these seconds never come.
    """

    def __init__(
        self,
        input_hz: float,
        engine: RealTimeEngine[EchoSession],
        clock: VirtualClock,
        seconds: float,
        lost: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.errors_ms: list[float] = []
        self.margins: list[int] = []
        self._input_hz, self._engine, self._clock = input_hz, engine, clock
        self._seconds, self._lost = seconds, lost
        self._rng = np.random.default_rng(0)
        clock.at(CHUNK / input_hz, lambda: self._hear(0))
        clock.at(CHUNK / RATE, lambda: self._play(0))

    def _hear(self, i: int) -> None:
        self._later((i + 2) * CHUNK / self._input_hz, lambda: self._hear(i + 1))
        self._engine.capture(np.ones((1, CHUNK), dtype=np.float32))

    def _play(self, i: int) -> None:
        self._later((i + 2) * CHUNK / RATE, lambda: self._play(i + 1))
        if self._lost[0] <= i * CHUNK / RATE < self._lost[1]:
            return
        self._engine.render(CHUNK)
        due = i * CHUNK * self._input_hz / RATE + self._engine.placement.offset_samples
        position = self._engine._playhead.position_samples
        self.errors_ms.append(1000 * (position - CHUNK - due) / RATE)
        self.margins.append(self._engine._output.known_samples - position)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        if seconds < self._seconds:
            self._clock.at(seconds + self._rng.uniform(0, 0.003), call)


@pytest.mark.parametrize("ppm", [-300, 300])
def test_an_hour_with_clocks_apart(ppm: float) -> None:
    clock = VirtualClock()
    session = EchoSession(EchoTiming(RATE, 512, 1200), 1, lambda i: None)
    engine = RealTimeEngine(session, CHUNK, playhead=DriftingPlayhead, clock=clock)
    devices = TwoDevices(RATE * (1 + 1e-6 * ppm), engine, clock, seconds=3600)
    clock.run(engine)
    statistics = engine.statistics()
    assert (statistics.misses, statistics.overruns) == (0, 0)
    assert statistics.drift_ppm == pytest.approx(ppm, abs=20)  # calls are half a second apart
    settled = slice(60 * RATE // CHUNK, None)
    assert np.abs(devices.errors_ms[1:]).max() < 4  # the first call comes before any input
    assert np.abs(devices.errors_ms[settled]).max() < 2
    assert abs(np.mean(devices.errors_ms[:1000]) - np.mean(devices.errors_ms[-1000:])) < 0.5
    assert np.ptp(devices.margins[settled]) <= 2 * CHUNK + 4  # what a call brings and a call takes


def test_a_device_that_loses_sound_is_caught_up_with() -> None:
    """A second of the output's calls never comes: one miss, with its fades, and the position is right again."""
    clock = VirtualClock()
    session = EchoSession(EchoTiming(RATE, 512, 1200), 1, lambda i: None)
    engine = RealTimeEngine(session, CHUNK, playhead=DriftingPlayhead, clock=clock)
    devices = TwoDevices(RATE, engine, clock, seconds=120, lost=(60, 61))
    clock.run(engine)
    assert engine.statistics().misses == 1
    assert np.abs(devices.errors_ms[-50:]).max() < 4


@pytest.mark.parametrize("hz", [10, 125, 330])
def test_between_the_samples_the_error_is_below_90_db(hz: float) -> None:
    ring = TimedRing(1, 4 * RATE, 0)
    ring.append(sine(hz, np.arange(2 * RATE)).astype(np.float32)[None])
    playhead = DriftingPlayhead(0, RATE)
    at_N = 100 + 1.0003 * np.arange(RATE)
    playhead.position_samples = 100
    out_AN = np.zeros((1, RATE), dtype=np.float32)
    playhead._interpolate(ring, out_AN, at_N - 100)
    error = out_AN[0] - sine(hz, at_N)
    assert 20 * np.log10(np.abs(error).max() / 0.5) < -90


@pytest.mark.parametrize("ppm", [-300, 40])
def test_a_clock_is_known_in_spite_of_late_calls(ppm: float) -> None:
    rng = np.random.default_rng(1)
    loop = DelayLockedLoop(RATE)
    rate = RATE * (1 + 1e-6 * ppm)
    for i in range(60 * RATE // CHUNK):
        loop.update(i * CHUNK, 5 + i * CHUNK / rate + rng.exponential(0.001))
    assert 1e6 * (loop.rate_hz / rate - 1) == pytest.approx(0, abs=20)
