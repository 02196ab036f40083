"""A session that follows a sketch: as offline, whatever the curves, and for as long as they last."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from players import liveband, lmdm, offline, pocket, sound
from torch import Tensor

from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.networks import BlockCausal, EncoderDecoder
from livejam.networks.diffusion_masks import AttentionMask
from livejam.sketch import SketchAnalysis
from livejam.streaming import Session, sketch_of
from livejam.streaming.resampling import resample

ANALYSIS, BLOCK = SketchAnalysis(), 3
MASKS: dict[str, AttentionMask] = {"encdec": EncoderDecoder(3 * BLOCK), "blockcausal": BlockCausal(BLOCK, 3)}
HOP = 2048


def follower(mask: str = "encdec", cutoff: int = 0) -> Player:
    return lmdm(pocket("pocket"), MASKS[mask], cutoff, BLOCK, prompts=False, sketch=ANALYSIS)


def curves(frames: int = 60, seed: int = 4) -> Tensor:
    return ANALYSIS.at(pocket("pocket").spec)(sound(1, frames * HOP, seed)[None])[0]


def played(session: Session, audio_AN: Tensor, chunk: int = 5000) -> Tensor:
    return torch.cat([session.process_rows(part) for part in audio_AN.split(chunk, dim=1)], dim=-1)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("rate", "cutoff", "chunk"), [(22050, 0, 700), (48000, -1, 5001), (22050, 1, 9999)])
def test_what_is_streamed_is_what_is_played_offline(mask: str, rate: int, cutoff: int, chunk: int) -> None:
    player, mix_AN = follower(mask, cutoff), sound(1, 4 * rate)
    session = Session(player, sample_rate_hz=rate, instruments=["Drums", "Bass"], seeds=[3, 4])
    session.set_sketch(curves())
    late = session.timing.late_samples
    expected_BAN = offline(player, mix_AN, rate, ["Percussive", "Bass"], [3, 4], curves())
    streamed_BAN = played(session, mix_AN, chunk)
    assert torch.allclose(streamed_BAN[..., late:], expected_BAN[..., : expected_BAN.shape[-1] - late], atol=1e-4)
    plain_BAN = offline(player, mix_AN, rate, ["Percussive", "Bass"], [3, 4])
    assert (plain_BAN - expected_BAN).abs().max() > 1e-3


@pytest.mark.parametrize("rate", [22050, 44100, 8000])
@pytest.mark.parametrize("samples", [1, 2047, 30_001])
def test_a_sketch_of_any_rate_is_that_of_the_resampled_sound(rate: int, samples: int) -> None:
    player, voice_AN = follower(), sound(2, samples)
    made_TP = sketch_of(player, voice_AN.split(777, dim=1), rate)
    spec = player.codec.spec
    whole_1N = resample(voice_AN.mean(dim=0, keepdim=True), rate, spec.sample_rate_hz)
    frames = -(-whole_1N.shape[-1] // spec.hop_samples)
    assert len(made_TP) == frames
    # what a resampler rings on after the end of the sound is in the last frame of both
    padded_1N = torch.nn.functional.pad(whole_1N, (0, frames * spec.hop_samples - whole_1N.shape[-1]))
    expected_TP = ANALYSIS.at(spec)(padded_1N[None])[0]
    assert torch.allclose(made_TP[:-1], expected_TP[:-1], atol=1e-4)
    assert torch.allclose(made_TP[-1, :2], expected_TP[-1, :2], atol=0.05)


def test_it_begins_and_ends_while_it_plays_and_survives_undo_and_reset() -> None:
    player, mix_AN = follower(), sound(1, 40 * HOP)
    asked, plain = (Session(player, sample_rate_hz=22050) for _ in range(2))
    asked.set_sketch(curves())
    before = asked.snapshot()
    with_BAN, without_BAN = played(asked, mix_AN), played(plain, mix_AN)
    asked.reset()
    assert torch.equal(played(asked, mix_AN), with_BAN)
    asked.restore(before)
    asked.set_sketch(None)
    assert torch.equal(played(asked, mix_AN), without_BAN)
    asked.restore(before)
    played(asked, mix_AN[:, : 20 * HOP])
    asked.undo(0.5)
    assert asked.snapshot().pipeline.sketch_TP is not None


def test_a_sketch_that_is_shorter_than_the_mix_only_ends() -> None:
    player, mix_AN = follower(), sound(1, 40 * HOP)
    outputs = []
    for frames in (60, 21, 0):
        session = Session(player, sample_rate_hz=22050)
        session.set_sketch(curves()[:frames])
        outputs.append(played(session, mix_AN))
    whole_BAN, ended_BAN, none_BAN = outputs
    assert torch.equal(ended_BAN[..., : 17 * HOP], whole_BAN[..., : 17 * HOP])
    assert ended_BAN.isfinite().all()
    plain = Session(player, sample_rate_hz=22050)
    assert torch.allclose(none_BAN, played(plain, mix_AN), atol=1e-5)


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.floats(width=32), min_size=10, max_size=80),
    st.sampled_from([torch.float16, torch.float32, torch.float64]),
    st.sampled_from(sorted(MASKS)),
)
def test_no_curve_ever_stops_a_session(numbers: list[float], dtype: torch.dtype, mask: str) -> None:
    frames = len(numbers) // 10
    session = Session(follower(mask), sample_rate_hz=22050)
    session.set_sketch(torch.tensor(numbers[: 10 * frames]).view(frames, 10).to(dtype))
    out_BAN = played(session, sound(1, 16 * HOP))
    assert out_BAN.isfinite().all()
    assert session.failures == 0


def test_absent_controls_are_as_if_never_asked_for() -> None:
    player, mix_AN, asked_TP = follower(), sound(1, 24 * HOP), curves()
    absent_TP = torch.full_like(asked_TP, math.nan)
    session, plain = (Session(player, sample_rate_hz=22050) for _ in range(2))
    session.set_sketch(absent_TP)
    assert torch.allclose(played(session, mix_AN), played(plain, mix_AN), atol=1e-5)


@pytest.mark.parametrize(
    "wrong", [torch.zeros(4, 9), torch.zeros(10), torch.zeros(1, 4, 10), torch.zeros(4, 10, dtype=torch.int64)]
)
def test_curves_of_another_form_are_refused_and_the_session_goes_on(wrong: Tensor) -> None:
    session = Session(follower(), sample_rate_hz=22050)
    before = session.snapshot()
    with pytest.raises(UserError, match="sketch"):
        session.set_sketch(wrong)
    assert session.snapshot() is before


def test_who_follows_no_sketch_says_so() -> None:
    codec = pocket("pocket")
    for player in (liveband(codec), lmdm(codec, MASKS["encdec"], block=BLOCK)):
        with pytest.raises(UserError, match="follows no sketch"):
            Session(player).set_sketch(curves())
        with pytest.raises(UserError, match="follows no sketch"):
            sketch_of(player, [sound(1, 100)], 22050)
        Session(player).set_sketch(None)
