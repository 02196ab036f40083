"""The real-time engine: what it plays is what its session plays, and every accident has a defined outcome."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from echo_session import EchoSession, EchoTiming
from hypothesis import given, settings
from hypothesis import strategies as st

from livejam.streaming.clocks import TrueClock, VirtualClock
from livejam.streaming.engine import FADE_SECONDS, RealTimeEngine, place
from livejam.streaming.pacing import play_through

RATE, BLOCK, LEAD = 8000, 512, 700
FADE = round(FADE_SECONDS * RATE)
PEAK = 0.5


def tone(samples: int, channels: int = 1) -> np.ndarray:
    """A sine of 100 Hz, so that its own steps are small against a click."""
    wave = PEAK * np.sin(2 * np.pi * 100 * np.arange(samples) / RATE)
    return np.tile(wave.astype(np.float32), (channels, 1))


def played(
    audio_AN: np.ndarray, chunk: int, costs: Callable[[int], float], **options: float
) -> tuple[np.ndarray, EchoSession, RealTimeEngine]:
    """A recording through an engine on a virtual clock; piece i takes `costs(i)` seconds."""
    clock = VirtualClock()
    session = EchoSession(EchoTiming(RATE, BLOCK, LEAD), len(audio_AN), lambda i: clock.sleep(costs(i)))
    engine = RealTimeEngine(session, chunk, clock=clock, say=lambda _: None, **options)
    output_AN, _ = play_through(engine, audio_AN, chunk, clock)
    return output_AN, session, engine


@pytest.mark.parametrize("chunk", [1, 64, 100, 512, 700])
@pytest.mark.parametrize("channels", [1, 2])
def test_nothing_is_late_and_the_output_is_the_sessions(chunk: int, channels: int) -> None:
    audio_AN = tone(4 * RATE if chunk > 1 else 2000, channels)
    output_AN, session, engine = played(audio_AN, chunk, lambda i: 0.0)
    np.testing.assert_array_equal(output_AN, session.echo().numpy()[:, : audio_AN.shape[1]])
    statistics = engine.statistics()
    assert (statistics.misses, statistics.overruns, statistics.skipped_ms, statistics.problem) == (0, 0, 0, "")


@pytest.mark.parametrize(("share", "misses"), [(0.99, 0), (1.01, 1)])
def test_the_budget_is_what_a_step_may_take(share: float, misses: int) -> None:
    clock = VirtualClock()
    timing = EchoTiming(RATE, BLOCK, lead_samples=640)
    budget = place(timing.lead_samples, 0, 64, 1).budget_samples / RATE
    completes_a_block = 39
    session = EchoSession(timing, 1, lambda i: clock.sleep(share * budget if i == completes_a_block else 0))
    _, statistics = play_through(RealTimeEngine(session, 64, clock=clock), tone(RATE), 64, clock)
    assert statistics.misses == misses
    assert statistics.budget_ms == pytest.approx(1000 * budget)


def test_a_device_with_latency_hears_the_output_early() -> None:
    clock = VirtualClock()
    session = EchoSession(EchoTiming(RATE, BLOCK, LEAD), 1, lambda i: None)
    engine = RealTimeEngine(session, 100, latency_samples=230, clock=clock)
    audio_AN = tone(RATE)
    output_AN, _ = play_through(engine, audio_AN, 100, clock)
    np.testing.assert_array_equal(output_AN, session.echo().numpy()[:, 230 : 230 + RATE])


def test_too_little_lead_is_said_and_the_output_sounds_late_but_whole() -> None:
    said: list[str] = []
    clock = VirtualClock()
    session = EchoSession(EchoTiming(RATE, BLOCK, LEAD), 1, lambda i: clock.sleep(0.009))
    engine = RealTimeEngine(session, 100, latency_samples=1000, clock=clock, say=said.append)
    audio_AN = tone(RATE)
    output_AN, statistics = play_through(engine, audio_AN, 100, clock)
    late = 400  # 1000 + 100 of 700 samples
    assert statistics.late_ms == 1000 * late / RATE
    assert statistics.misses == 0
    assert said == [
        "the accompaniment sounds 50 ms late: sound card and computation need 138 ms, and the model plays 88 ms ahead; "
        "choose a smaller buffer, or a model with a larger anticipation"
    ]
    np.testing.assert_array_equal(output_AN, session.echo().numpy()[:, 1000 - late :][:, :RATE])


@settings(max_examples=40, deadline=None)
@given(
    chunk=st.sampled_from([32, 100, 256, 700]),
    costs=st.lists(st.one_of(st.just(0.0), st.floats(0, 0.3)), max_size=40),
    busy=st.floats(0, 0.03),
)
def test_stalls_never_click_and_never_move_positions(chunk: int, costs: list[float], busy: float) -> None:
    audio_AN = tone(4 * RATE)
    output_AN, session, engine = played(audio_AN, chunk, lambda i: costs[i] if i < len(costs) else busy)
    echo_AN = session.echo().numpy()[:, : 4 * RATE]
    assert largest_jump(output_AN) <= largest_jump(audio_AN) + 3 * PEAK * np.pi / 2 / FADE
    assert session.heard_samples == 4 * RATE
    statistics = engine.statistics()
    gaps = deviations(output_AN, echo_AN)
    assert gaps.sum() >= round(statistics.missed_ms * RATE / 1000) - (echo_AN == 0).sum()
    assert gaps.sum() <= round(statistics.missed_ms * RATE / 1000) + statistics.misses * FADE
    if not statistics.misses:
        assert not gaps.any()


@settings(max_examples=20, deadline=None)
@given(stalls=st.lists(st.floats(0, 3), min_size=1, max_size=4), chunk=st.sampled_from([100, 512]))
def test_lost_input_is_silence_and_positions_stay(stalls: list[float], chunk: int) -> None:
    audio_AN = np.random.default_rng(0).uniform(-1, 1, (1, 16 * RATE)).astype(np.float32)
    costs = {20 + 8 * i: stall for i, stall in enumerate(stalls)}
    output_AN, session, engine = played(audio_AN, chunk, lambda i: costs.get(i, 0.0), queue_seconds=1.0)
    heard_AN = torch.cat(session.everything, dim=1).numpy()
    lost = heard_AN != audio_AN
    statistics = engine.statistics()
    assert not heard_AN[lost].any()
    assert lost.sum() == pytest.approx(statistics.lost_ms * RATE / 1000)
    assert (statistics.overruns > 0) == lost.any() == ("stalled for seconds" in statistics.problem)
    tail = slice(-RATE, None)
    np.testing.assert_array_equal(output_AN[:, tail], session.echo().numpy()[:, : 16 * RATE][:, tail])


def test_after_a_stall_the_engine_is_back_in_time_by_hearing_bigger_pieces() -> None:
    sizes: list[int] = []
    clock = VirtualClock()
    session = EchoSession(EchoTiming(RATE, BLOCK, LEAD), 1, lambda i: clock.sleep(2.0 if i == 100 else 0.002))
    advance = session.advance
    session.advance = lambda audio_AN: (sizes.append(audio_AN.shape[1]), advance(audio_AN))[1]  # type: ignore[method-assign]
    engine = RealTimeEngine(session, 64, clock=clock)
    _, statistics = play_through(engine, tone(5 * RATE), 64, clock)
    assert statistics.misses == 1
    assert max(sizes) == RATE  # `piece_seconds`
    assert statistics.skipped_ms == pytest.approx(statistics.missed_ms, abs=1000 * BLOCK / RATE)
    assert statistics.missed_ms == pytest.approx(2000 - statistics.budget_ms, abs=1000 * (BLOCK + 64) / RATE)


def test_input_that_the_session_refuses_becomes_silence_and_is_said_once() -> None:
    said: list[str] = []
    clock = VirtualClock()
    session = EchoSession(EchoTiming(RATE, BLOCK, LEAD), 1, lambda i: None)
    engine = RealTimeEngine(session, 100, clock=clock, say=said.append)
    audio_AN = tone(RATE)
    audio_AN[:, 2010:2020] = audio_AN[:, 5010] = np.nan
    output_AN, statistics = play_through(engine, audio_AN, 100, clock)
    assert statistics.refused == 2
    assert said == ["the input holds samples that are not finite; silence takes the place of 100 samples"]
    whole_AN = audio_AN.copy()
    whole_AN[:, 2000:2100] = whole_AN[:, 5000:5100] = 0
    np.testing.assert_array_equal(output_AN[:, session.echo_samples :], whole_AN[:, : RATE - session.echo_samples])


@pytest.mark.parametrize("failing", [range(30, 31), range(30, 34), range(30, 210)])
def test_a_model_that_fails_is_reset_and_positions_stay(failing: range) -> None:
    """The tone goes on from the beginning of a period: what the session itself gives has no edge."""
    said: list[str] = []

    def computing(piece: int) -> None:
        if piece in failing:
            raise RuntimeError("no\nmemory")

    clock = VirtualClock()
    session = EchoSession(EchoTiming(RATE, BLOCK, LEAD), 1, computing)
    engine = RealTimeEngine(session, 100, clock=clock, say=said.append)
    audio_AN = tone(3 * RATE)
    output_AN, statistics = play_through(engine, audio_AN, 100, clock)
    assert said == ["the model failed (no memory); silence takes the place of 100 samples"]
    assert statistics.refused == len(failing)
    if len(failing) > 1:  # otherwise the session heard silence, and gave back its edges
        assert largest_jump(output_AN) <= largest_jump(audio_AN) + 3 * PEAK * np.pi / 2 / FADE
    late = session.echo_samples
    np.testing.assert_array_equal(output_AN[:, 2 * RATE :], audio_AN[:, 2 * RATE - late : 3 * RATE - late])


@pytest.mark.parametrize("restored_at", [0.501 + 0.8, 0.501 + 0.81, 0.501 + 1])
def test_a_snapshot_restored_while_playing_moves_no_position_and_does_not_click(restored_at: float) -> None:
    """All three are whole periods of the tone later: what the session itself gives has no edge."""
    clock = VirtualClock()
    session = EchoSession(EchoTiming(RATE, BLOCK, LEAD), 1, lambda i: None)
    engine = RealTimeEngine(session, 100, clock=clock)
    taken: list[object] = []
    clock.at(0.501, lambda: engine.post(lambda session: taken.append(session.snapshot())) and None)
    clock.at(restored_at, lambda: engine.post(lambda session: session.restore(taken[0])) and None)
    audio_AN = tone(3 * RATE)
    output_AN, statistics = play_through(engine, audio_AN, 100, clock)
    assert statistics.misses == 0
    assert largest_jump(output_AN) <= largest_jump(audio_AN) + 3 * PEAK * np.pi / 2 / FADE
    late = session.echo_samples
    np.testing.assert_array_equal(output_AN[:, 2 * RATE :], audio_AN[:, 2 * RATE - late : 3 * RATE - late])


def test_what_a_control_returns_or_raises_comes_back_to_its_sender() -> None:
    session = EchoSession(EchoTiming(RATE, BLOCK, LEAD), 1, lambda i: None)
    with RealTimeEngine(session, 100) as engine:
        assert engine.post(lambda session: threading.current_thread().name).result(5) == "livejam worker"
        failed = engine.post(lambda session: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            failed.result(5)
        assert engine.post(lambda session: session.heard_samples).result(5) == 0


def test_threads_and_the_true_clock_give_the_same_samples() -> None:
    clock = TrueClock()
    session = EchoSession(
        EchoTiming(RATE, BLOCK, 4 * RATE), 1, lambda i: None
    )  # nothing is late on the busiest machine
    engine = RealTimeEngine(session, 256, clock=clock)
    audio_AN = tone(RATE)
    output_AN, statistics = play_through(engine, np.tile(audio_AN, 1), 256, clock)
    assert statistics.seconds == 1
    assert (statistics.misses, statistics.overruns) == (0, 0)
    heard_AN = torch.cat(session.everything, dim=1).numpy()
    np.testing.assert_array_equal(heard_AN, audio_AN[:, : heard_AN.shape[1]])
    assert not output_AN.any()


def test_an_hour_with_its_stalls_takes_seconds() -> None:
    clock = VirtualClock()
    timing = EchoTiming(RATE, block_samples=8192, lead_samples=8000)
    session = EchoSession(timing, 1, lambda i: clock.sleep(1.9 if i % 1000 == 999 else 0.02))
    engine = RealTimeEngine(session, 4000, clock=clock)
    output_AN, statistics = play_through(engine, tone(3600 * RATE), 4000, clock)
    assert statistics.seconds == 3600
    assert statistics.misses == session.pieces // 1000
    assert statistics.latency_p50_ms == pytest.approx(20, rel=0.012)
    assert statistics.latency_max_ms >= 1900
    np.testing.assert_array_equal(output_AN[:, -RATE:], session.echo().numpy()[:, : 3600 * RATE][:, -RATE:])


def largest_jump(audio_AN: np.ndarray) -> float:
    return float(np.abs(np.diff(audio_AN)).max())


def deviations(output_AN: np.ndarray, echo_AN: np.ndarray) -> np.ndarray:
    return np.asarray(output_AN != echo_AN)
