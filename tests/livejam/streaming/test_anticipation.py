"""A session that plays further ahead, or less far, while it plays: nothing is doubled, lost or forgotten.

Shapes: B rows, T latent frames, C latent channels.
"""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from players import liveband, pocket, sound
from torch import Tensor

from livejam.accompanist import Controls
from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.streaming import Session
from livejam.streaming.batons import Baton
from livejam.streaming.sharing import shared

ANTICIPATIONS = 6
HOP = 2048
ASKED = {"instruments": ["Percussive", "Bass"], "seeds": [3, 4]}


@cache
def told() -> Player:
    return liveband(pocket(), 1, ANTICIPATIONS)


def expected(player: Player, mix_AN: Tensor, anticipation_T: list[int]) -> Tensor:
    """Frame f is played in the first step t with f ≤ t + 1 + δ, and its anticipation is f - t - 1."""
    mix_BTC = player.codec.encode(mix_AN[None]).expand(2, -1, -1)
    accompanist = player.accompanist.with_anticipation(anticipation_T[0])
    controls = Controls(torch.tensor([14, 4]), torch.tensor([3, 4]))
    state = accompanist.init_state(2, controls)
    played = [player.silence_C.expand(2, 1 + anticipation_T[0], -1)]
    for t, frames in enumerate(anticipation_T):
        known = sum(piece.shape[1] for piece in played)
        for needed in range(known - t - 1, frames + 1):
            at = accompanist.with_anticipation(needed)
            out_BTC, _ = at.step(mix_BTC[:, t : t + 1], at.with_controls(controls, state))
            played.append(out_BTC)
        at = accompanist.with_anticipation(frames)
        _, state = at.step(mix_BTC[:, t : t + 1], at.with_controls(controls, state))
    return player.codec.decode(torch.cat(played, dim=1))


@settings(max_examples=10, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=6))
def test_every_frame_is_played_once_as_early_as_the_anticipation_asks(changes: list[tuple[int, int]]) -> None:
    player, session = told(), Session(told(), **ASKED, anticipation_frames=changes[0][1])
    mix_AN = sound(1, sum(blocks for blocks, _ in changes) * HOP)
    pieces, place = [], 0
    for blocks, frames in changes:
        session.set_anticipation(frames)
        pieces.append(session.advance(mix_AN[:, place : place + blocks * HOP]))
        place += blocks * HOP
    played_BAN = torch.cat(pieces, dim=-1)
    anticipation_T = [frames for blocks, frames in changes for _ in range(blocks)]
    with torch.inference_mode():
        wanted_BAN = expected(player, mix_AN, anticipation_T)
    samples = played_BAN.shape[-1]
    assert samples == session.known_samples >= session.heard_samples + session.timing.lead_samples
    assert (played_BAN - wanted_BAN[..., :samples]).abs().max() <= 1e-5


def test_the_timing_follows_and_the_memory_stays() -> None:
    session = Session(told(), sample_rate_hz=44_100)
    near = session.timing
    session.process(sound(1, 30_000))
    heard = session.snapshot().pipeline.musician.memory.cache.position_B
    session.set_anticipation(5)
    assert session.anticipation_frames == 5
    assert session.timing.anticipation_samples == near.anticipation_samples * 5
    assert session.timing.lead_samples - near.lead_samples == pytest.approx(4 * 2 * HOP, abs=4)
    assert torch.equal(session.snapshot().pipeline.musician.memory.cache.position_B, heard)
    session.reset()
    assert session.timing == Session(told(), sample_rate_hz=44_100, anticipation_frames=5).timing


def test_undo_and_restore_keep_every_frame_in_its_place() -> None:
    """Undo brings the anticipation of then back; the output goes on where it was."""
    session, audio_AN = Session(told()), sound(1, 20 * HOP)
    session.process(audio_AN)
    kept = session.snapshot()
    session.set_anticipation(4)
    session.process(audio_AN)
    session.undo(25 * HOP / 22_050)
    assert session.anticipation_frames == 1
    session.advance(audio_AN)
    frames = session.heard_samples // HOP
    assert session.known_samples == (frames + 2) * HOP - pocket().spec.delay_samples
    session.restore(kept)
    plain = Session(told())
    plain.process(audio_AN)
    assert torch.equal(session.process(audio_AN), plain.process(audio_AN))


def test_an_anticipation_that_would_be_late_is_refused() -> None:
    session = Session(told())
    with pytest.raises(UserError, match="767 samples late"):
        session.set_anticipation(0)
    with pytest.raises(UserError, match="knows 0 to 5"):
        session.set_anticipation(6)
    assert session.anticipations == range(1, ANTICIPATIONS)
    late = Session(told(), anticipation_frames=0)
    assert late.anticipations == range(ANTICIPATIONS)
    assert Session(liveband(pocket(), 1)).anticipations == range(1, 2)
    late.set_anticipation(3)
    late.set_anticipation(0)
    assert late.process(sound(1, 10_000)).shape == (1, 10_000)


def test_a_shared_model_switches_as_one_of_its_own() -> None:
    def played(player: Player) -> Tensor:
        session = Session(player, **ASKED)
        first = session.advance(sound(1, 5 * HOP))
        session.set_anticipation(4)
        return torch.cat((first, session.advance(sound(1, 9 * HOP, seed=1))), dim=-1)

    together = shared(told(), Baton())
    torch.testing.assert_close(played(together), played(told()), atol=1e-5, rtol=0)
    assert together.accompanist.turns.calls == 5 + 9 + 3, "the frames in between are steps as well"
