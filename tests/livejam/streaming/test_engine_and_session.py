"""The engine around the session that it is made for, with the bundled codec."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from players import liveband, lmdm, pocket, sound
from torch import Tensor

from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.networks import BlockCausal
from livejam.streaming import Session
from livejam.streaming.clocks import VirtualClock
from livejam.streaming.engine import FADE_SECONDS, RealTimeEngine
from livejam.streaming.pacing import play_through


def on_stage(
    session: Session, audio_AN: Tensor, chunk: int, events: dict[float, Callable[[Session], object]]
) -> tuple[np.ndarray, RealTimeEngine[Session], list[str]]:
    """What a session plays on a virtual clock, with controls at their times."""
    clock, said = VirtualClock(), list[str]()
    engine = RealTimeEngine(session, chunk, clock=clock, say=said.append)
    for seconds, change in events.items():
        clock.at(seconds, lambda change=change: engine.post(change) and None)
    output_AN, _ = play_through(engine, audio_AN.numpy(), chunk, clock)
    return output_AN, engine, said


@pytest.mark.parametrize(("rate", "channels", "chunk"), [(22050, 1, 64), (22050, 1, 1000), (48000, 2, 256)])
def test_nothing_is_late_and_every_sample_is_the_sessions(rate: int, channels: int, chunk: int) -> None:
    player, audio_AN = liveband(pocket()), sound(channels, rate)
    with torch.inference_mode():
        expected_AN = Session(player, sample_rate_hz=rate, channels=channels).process(audio_AN).numpy()
    session = Session(player, sample_rate_hz=rate, channels=channels)
    output_AN, engine, said = on_stage(session, audio_AN, chunk, {})
    np.testing.assert_allclose(output_AN, expected_AN, atol=1e-5)
    assert np.abs(expected_AN).max() > 1e-3
    assert (engine.statistics().misses, said) == (0, [])


def test_a_model_that_cannot_play_ahead_is_late_and_says_so() -> None:
    player: Player = lmdm(pocket(), BlockCausal(block_frames=3, context_blocks=3))
    audio_AN = sound(1, 3 * 22050)
    output_AN, engine, said = on_stage(session := Session(player), audio_AN, 64, {})
    late = engine.placement.late_samples
    assert session.timing.lead_samples < 0
    assert late == -session.timing.lead_samples + 4 * 64  # and 10 ms to compute in
    assert said[0].startswith(f"the accompaniment sounds {1000 * late / 22050:.0f} ms late")
    whole_BAN = torch.cat([Session(player).advance(audio_AN)], dim=-1).numpy()[0]
    samples = whole_BAN.shape[1]
    np.testing.assert_allclose(
        output_AN[:, late : late + samples], whole_BAN[:, : output_AN.shape[1] - late], atol=1e-5
    )
    assert engine.statistics().misses == 0


def test_nan_in_the_middle_of_the_stream_is_silence_for_a_moment() -> None:
    audio_AN = sound(1, 2 * 22050)
    broken_AN = audio_AN.clone()
    broken_AN[:, 22050] = float("nan")
    output_AN, engine, said = on_stage(Session(liveband(pocket())), broken_AN, 256, {})
    assert np.isfinite(output_AN).all()
    assert said == [
        "the audio contains NaN or infinite samples and was not heard; check where it comes from; silence takes the "
        "place of 256 samples"
    ]
    healed_AN = audio_AN.clone()
    healed_AN[:, 22050 // 256 * 256 :][:, :256] = 0
    healthy_AN, _, _ = on_stage(Session(liveband(pocket())), healed_AN, 256, {})
    np.testing.assert_allclose(output_AN, healthy_AN, atol=1e-5)
    assert engine.statistics().refused == 1


def test_controls_while_playing() -> None:
    """Another instrument, another level, an undo, a restored snapshot: no position moves, and nothing clicks."""
    taken: list[object] = []
    session = Session(liveband(pocket()), instruments=["Drums"])
    events: dict[float, Callable[[Session], object]] = {
        0.5: lambda session: taken.append(session.snapshot()),
        0.8: lambda session: session.set_instrument("Bass"),
        1.1: lambda session: session.undo(0.3),
        1.4: lambda session: session.restore(taken[0]),
        1.7: lambda session: session.reset(),
    }
    output_AN, engine, _ = on_stage(session, 0 * sound(1, 2 * 22050), 256, events)
    assert engine.statistics().misses == 0
    plain_AN, _, _ = on_stage(Session(liveband(pocket())), 0 * sound(1, 2 * 22050), 256, {})
    fade = round(FADE_SECONDS * 22050)
    allowed = np.abs(np.diff(plain_AN)).max() + 3 * np.abs(plain_AN).max() * np.pi / 2 / fade
    assert np.abs(np.diff(output_AN)).max() <= 2 * allowed
    assert engine._heard.written_samples == engine._heard.taken_samples == 2 * 22050


def test_a_control_that_cannot_be_met_goes_back_to_its_sender() -> None:
    with RealTimeEngine(Session(liveband(pocket())), 256) as engine:
        refused = engine.post(lambda session: session.set_instrument("Kazoo"))
        with pytest.raises(UserError, match="Kazoo"):
            refused.result(10)


def test_a_model_that_gives_nonsense_is_counted() -> None:
    player = liveband(pocket())
    accompanist, calls = player.accompanist, []
    step = accompanist.step

    def failing(mix_BTC: Tensor, state: object) -> tuple[Tensor, object]:
        calls.append(1)
        out_BTC, state = step(mix_BTC, state)
        return (out_BTC * float("nan") if len(calls) == 3 else out_BTC), state

    accompanist.step = failing  # type: ignore[method-assign]
    output_AN, engine, _ = on_stage(Session(player), sound(1, 22050), 256, {})
    assert np.isfinite(output_AN).all()
    assert engine.statistics().failures == 1
