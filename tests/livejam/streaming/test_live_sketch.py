"""A sound that leads the sketch while a session plays: as its curves, so many frames later, and never harmful.

Shapes: A audio channels, N samples, T latent frames, P numbers of a packed frame of a sketch.
"""

from __future__ import annotations

import math
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from players import liveband, lmdm, pocket, sound
from torch import Tensor

from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.networks import EncoderDecoder
from livejam.sketch import CONTROLS, SketchAnalysis, VoicePitch
from livejam.streaming import DelayGains, GenerativeDelay, LiveSketch, Session, answering
from livejam.streaming.delay import saturated
from livejam.streaming.drawing import HELD_SECONDS
from livejam.streaming.sketches import SketchStream

BLOCK, HOP, RATE = 3, 2048, 22050
FRAME_SECONDS = HOP / RATE


@cache
def follower(cutoff: int = 0) -> Player:
    return lmdm(pocket("pocket"), EncoderDecoder(9), cutoff, BLOCK, prompts=False, sketch=SketchAnalysis())


def led(session: Session, live: LiveSketch, mix_AN: Tensor, voice_AN: Tensor, chunk: int) -> Tensor:
    """What is played to a mix while a voice leads, of which every piece comes just before that of the mix."""
    out, place = [], 0
    for mix_piece, voice_piece in zip(mix_AN.split(chunk, 1), voice_AN.split(chunk, 1), strict=True):
        live.hear(session, voice_piece, place)
        out.append(session.process_rows(mix_piece))
        place += mix_piece.shape[1]
    return torch.cat(out, dim=-1)


def curves_of(player: Player, voice_AN: Tensor, rate: int, voice: VoicePitch | None = None) -> Tensor:
    """The curves of a whole sound, whose notes come as late as they are heard."""
    stream = SketchStream(player, rate, voice)
    return stream.step(voice_AN, stream.init_state())[0]


def asked_only(curves_TP: Tensor, controls: tuple[str, ...]) -> Tensor:
    """Nothing is asked of the other controls."""
    asked_TP = torch.full_like(curves_TP, math.nan)
    for name, columns in zip(CONTROLS, (slice(0, 1), slice(1, 2), slice(2, None)), strict=True):
        if name in controls:
            asked_TP[:, columns] = curves_TP[:, columns]
    return asked_TP


@pytest.mark.parametrize(("cutoff", "rate", "chunk"), [(0, RATE, 700), (0, 44_100, 9001), (-1, 48_000, 5000)])
@pytest.mark.parametrize("controls", [CONTROLS, ("pitch",), ("loudness", "brightness")])
def test_it_is_a_sketch_that_is_so_many_frames_late(
    cutoff: int, rate: int, chunk: int, controls: tuple[str, ...]
) -> None:
    """In any chunks, whatever the rate: what is played is what the curves ask for, 1 + δ frames later."""
    mix_AN, voice_AN = (sound(1, 4 * rate) for _ in range(2))
    session = Session(follower(cutoff), sample_rate_hz=rate, channels=1)
    alone = Session(follower(cutoff), sample_rate_hz=rate, channels=1)
    lag = 1 + session.anticipation_frames
    late_TP = curves_of(session.player, voice_AN, rate)
    nothing_TP = torch.full((lag, late_TP.shape[1]), math.nan)
    alone.set_sketch(torch.cat((nothing_TP, asked_only(late_TP, controls))))
    wanted_BAN = torch.cat([alone.process_rows(part) for part in mix_AN.split(5000, 1)], dim=-1)
    played_BAN = led(session, LiveSketch(session, controls), mix_AN, voice_AN, chunk)
    assert (played_BAN - wanted_BAN).abs().max() < 1e-4 * wanted_BAN.abs().max()
    plain = Session(follower(cutoff), sample_rate_hz=rate, channels=1)
    assert (plain.process_rows(mix_AN) - wanted_BAN).abs().max() > 1e-3 * wanted_BAN.abs().max()


def test_a_delay_that_follows_what_it_hears_is_led_by_it() -> None:
    player = answering(lmdm(pocket(), EncoderDecoder(9), sketch=SketchAnalysis()))
    audio_AN = sound(1, 8 * BLOCK * HOP)
    machine = GenerativeDelay(Session(player, channels=1), DelayGains(dry=0.0), following=True)
    wanted_AN = machine.process_parts(audio_AN)[1]
    session = Session(player, channels=1)
    played_AN = saturated(led(session, LiveSketch(session, CONTROLS), audio_AN, audio_AN, 1000).sum(dim=0))
    samples = wanted_AN.shape[1] - 1
    assert (played_AN[:, :samples] - wanted_AN[:, 1:]).abs().max() < 1e-4


def asked(session: Session) -> Tensor:
    """Loudness from the first frame of the accompaniment on; NaN where nothing is asked."""
    drawing = session.snapshot().pipeline.drawing
    assert drawing is not None
    return drawing.between(0, drawing.first_frame + len(drawing.curves_TP) + 1)[:, 0]


def test_the_newest_holds_for_a_second_and_then_nothing_is_asked() -> None:
    session = Session(follower(), channels=1)
    live, voice_AN = LiveSketch(session, ["loudness"]), sound(1, 10 * HOP)
    live.hear(session, voice_AN, 0)
    lag, heard = 1 + session.anticipation_frames, curves_of(session.player, voice_AN, RATE)[:, 0]
    held = math.ceil(HELD_SECONDS / FRAME_SECONDS)
    loudness_T = asked(session)
    assert loudness_T[:lag].isnan().all()
    torch.testing.assert_close(loudness_T[lag : lag + 10], heard)
    assert (loudness_T[lag + 10 : lag + 10 + held] == heard[-1]).all()
    assert loudness_T[lag + 10 + held :].isnan().all()


def test_what_comes_late_counts_from_the_next_block_on_and_nothing_before_it_changes() -> None:
    session = Session(follower(), channels=1)
    live, voice_AN = LiveSketch(session, ["loudness"]), sound(1, 10 * HOP)
    session.process(sound(1, 30 * HOP))
    before = session.snapshot()
    live.hear(session, voice_AN, 0)
    next_frame = session._pipeline.next_frame(before.pipeline)
    loudness_T = asked(session)
    assert loudness_T[:next_frame].isnan().all()
    assert loudness_T[next_frame] == curves_of(session.player, voice_AN, RATE)[-1, 0]


def test_gaps_are_silence_and_what_comes_twice_is_heard_once() -> None:
    voice_AN, gap = sound(1, 12 * HOP), 2 * HOP + 77
    silent_AN = voice_AN.clone()
    silent_AN[:, 3 * HOP : 3 * HOP + gap] = 0.0
    session, other = (Session(follower(), channels=1) for _ in range(2))
    one, two = LiveSketch(session, CONTROLS), LiveSketch(other, CONTROLS)
    one.hear(session, silent_AN, 0)
    two.hear(other, voice_AN[:, : 3 * HOP], 0)
    two.hear(other, voice_AN[:, HOP : 2 * HOP], HOP)
    two.hear(other, voice_AN[:, 3 * HOP + gap :], 3 * HOP + gap)
    torch.testing.assert_close(asked(session), asked(other), equal_nan=True)


def test_a_voice_has_its_note_heard_by_a_tracker() -> None:
    time_N = torch.arange(20 * HOP) / RATE
    voice_AN = 0.2 * sum(torch.sin(2 * math.pi * 220 * part * time_N) / part for part in range(1, 6))[None]
    session = Session(follower(), channels=1)
    LiveSketch(session, ["pitch"], VoicePitch()).hear(session, voice_AN, 0)
    drawing = session.snapshot().pipeline.drawing
    assert drawing is not None
    lag = 1 + session.anticipation_frames
    notes_TK = drawing.between(lag + 8, lag + 20)[:, 2:6]
    assert set(notes_TK.flatten().tolist()) <= {57.0, -1.0}
    assert (notes_TK == 57).any()


def test_it_ends_and_the_others_stay() -> None:
    session, mix_AN = Session(follower(), channels=1), sound(1, 12 * HOP)
    live = LiveSketch(session, ["loudness", "loudness"])
    assert live.controls == ("loudness",)
    session.hold_notes([60])
    live.hear(session, mix_AN, 0)
    live.end(session)
    drawing = session.snapshot().pipeline.drawing
    assert drawing is not None
    assert drawing.held_P[:2].isnan().all()
    assert drawing.held_P[2] == 60
    for controls, said in (((), "name what the sound shall lead"), (("tempo",), "no control 'tempo'")):
        with pytest.raises(UserError, match=said):
            LiveSketch(session, controls)
    with pytest.raises(UserError, match="follows no sketch"):
        LiveSketch(Session(liveband(pocket("pocket")), channels=1), CONTROLS)


def test_a_sound_far_ahead_is_refused_and_changes_nothing() -> None:
    session = Session(follower(), channels=1)
    live, before = LiveSketch(session, CONTROLS), session.snapshot()
    with pytest.raises(UserError, match="ahead of the music"):
        live.hear(session, sound(1, 2 * HOP), 2**53)
    assert session.snapshot() is before
    live.hear(session, sound(1, 2 * HOP), 0)
    assert session.snapshot() is not before


PIECES = st.tuples(
    st.one_of(st.integers(-(2**62), 2**62), st.integers(0, 200_000)), st.integers(0, 9000),
    st.sampled_from([0.0, 0.1, 1e30, math.nan, math.inf]), st.sampled_from(["voice", "mix", "undo", "reset"]),
)  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(st.lists(PIECES, max_size=12))
def test_no_sound_ever_stops_a_session(pieces: list[Any]) -> None:
    """Any positions, lengths and samples in any order, between blocks, undo and new beginnings."""
    session = Session(follower(), channels=1)
    live = LiveSketch(session, CONTROLS)
    for position, samples, level, kind in pieces:
        if kind == "undo":
            session.undo(1.0)
        elif kind == "reset":
            session.reset()
        elif kind == "mix":
            assert session.process(sound(1, samples)).isfinite().all()
        else:
            with suppress(UserError):  # it is far ahead of the music
                live.hear(session, torch.full((1, samples), level), position)
    assert session.process(sound(1, 4 * BLOCK * HOP)).isfinite().all()
    assert session.failures == 0
