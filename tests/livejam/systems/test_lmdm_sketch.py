"""A Live Music Diffusion Model that follows a sketch while it plays."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lmdm_toys import BLOCK, CONTEXT, CONTROLS, MASKS, SILENCE_C, SPEC, STATISTICS, C, make_accompanist, make_mix
from torch import Tensor

from livejam.accompanist import accompany
from livejam.errors import UserError
from livejam.networks import DiffusionTransformer, TagEncoder, Unconditional
from livejam.networks.conditioned_transformer import ConditionedTransformer
from livejam.networks.diffusion_masks import AttentionMask
from livejam.sampling import Euler, Sampler
from livejam.sketch import CHANNELS, SketchAnalysis, unpacked
from livejam.systems.context import RoutedContext
from livejam.systems.lmdm import LMDMAccompanist

ANALYSIS = SketchAnalysis()
FRAMES = 6 * BLOCK
EVERYTHING = Unconditional(without_prompt=True, without_mix=True, without_sketch=True)


def make_follower(
    mask: AttentionMask, cached: bool = True, cutoff: int = 0, sampler: Sampler | None = None
) -> LMDMAccompanist:
    network = DiffusionTransformer(
        C, 16, 3, 2, CONTEXT, BLOCK, 8, mix_channels=C, mask=mask, sketch_channels=list(CHANNELS)
    )
    generator = ConditionedTransformer(network, TagEncoder(8)).double().requires_grad_(False)
    rng = torch.Generator().manual_seed(0)
    for parameter in generator.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=rng, dtype=torch.float64) * 0.3)
    parts = generator, SPEC, STATISTICS, RoutedContext(), sampler or Euler(2)
    return LMDMAccompanist(*parts, cutoff, cached, EVERYTHING, sketch=ANALYSIS)


def curves(frames: int = FRAMES + 2 * BLOCK, seed: int = 2, rows: int = 2) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    audio_BAN = 0.3 * torch.randn(rows, 1, frames * SPEC.hop_samples, generator=rng, dtype=torch.float64)
    return ANALYSIS.at(SPEC)(audio_BAN)


def play(accompanist: LMDMAccompanist, curves_BTP: Tensor | None) -> Tensor:
    return accompany(accompanist, make_mix(), CONTROLS, SILENCE_C, curves_BTP)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("cutoff", [-1, 0, 1])
def test_it_follows_and_only_what_is_asked_until_then(mask: AttentionMask, cutoff: int) -> None:
    accompanist, asked_BTP = make_follower(mask, cutoff=cutoff), curves()
    plain_BTC, followed_BTC = play(accompanist, None), play(accompanist, asked_BTP)
    offset = 1 + accompanist.anticipation_frames
    assert torch.equal(followed_BTC[:, :offset], plain_BTC[:, :offset])
    assert (followed_BTC - plain_BTC)[:, offset : offset + BLOCK].abs().max() > 1e-6
    # what is asked of later blocks changes nothing before them
    later = offset + 2 * BLOCK
    changed_BTP = torch.cat((asked_BTP[:, :later], curves(seed=5)[:, later:]), dim=1)
    changed_BTC = play(accompanist, changed_BTP)
    assert torch.equal(changed_BTC[:, :later], followed_BTC[:, :later])
    assert (changed_BTC - followed_BTC)[:, later:].abs().max() > 1e-6


@pytest.mark.parametrize("mask", [MASKS["encdec"]], ids=["encdec"])
def test_with_and_without_a_cache_it_plays_the_same(mask: AttentionMask) -> None:
    cached_BTC, plain_BTC = (play(make_follower(mask, cached), curves()) for cached in (True, False))
    assert torch.allclose(cached_BTC, plain_BTC, atol=1e-9)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_one_sketch_for_all_and_nothing_asked(mask: AttentionMask) -> None:
    accompanist, one_1TP = make_follower(mask), curves(rows=1)
    assert torch.equal(play(accompanist, one_1TP), play(accompanist, one_1TP.expand(2, -1, -1)))
    nothing_BTP, plain_BTC = torch.full_like(one_1TP, math.nan), play(accompanist, None)
    assert torch.allclose(play(accompanist, nothing_BTP), plain_BTC, atol=1e-9)
    assert torch.allclose(play(accompanist, one_1TP[:, :0]), plain_BTC, atol=1e-9)


def test_after_its_end_and_when_it_is_no_longer_given_it_follows_none() -> None:
    accompanist, asked_BTP = make_follower(MASKS["encdec"]), curves()
    state, mix_BTC = accompanist.init_state(2, CONTROLS), make_mix()
    _, state = accompanist.step(mix_BTC[:, :BLOCK], accompanist.sketched(asked_BTP, BLOCK, state))
    assert state.sketch_BTP is None
    unasked_BTC, _ = accompanist.step(mix_BTC[:, BLOCK : 2 * BLOCK], state)
    ended = accompanist.sketched(asked_BTP, len(asked_BTP[0]) + CONTEXT, state)
    assert torch.allclose(accompanist.step(mix_BTC[:, BLOCK : 2 * BLOCK], ended)[0], unasked_BTC, atol=1e-9)


def test_guidance_leaves_the_sketch_out_of_its_other_side() -> None:
    guided = make_follower(MASKS["encdec"], sampler=Euler(2, guidance=2.0))
    state = guided.sketched(curves(), BLOCK, guided.init_state(2, CONTROLS))
    sketch_BTK = guided.asks(state).sketch_BTK
    assert sketch_BTK is not None
    assert sketch_BTK[:2].abs().max() > 0
    assert not sketch_BTK[2:].any()


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.floats(width=32), min_size=10, max_size=60),
    st.integers(-10, 40),
    st.sampled_from(sorted(MASKS)),
)
def test_curves_of_any_numbers_never_stop_it(numbers: list[float], first_frame: int, mask: str) -> None:
    frames = len(numbers) // 10
    broken_BTP = torch.tensor(numbers[: 10 * frames], dtype=torch.float64).view(1, frames, 10)
    accompanist = make_follower(MASKS[mask])
    state = accompanist.sketched(broken_BTP, first_frame, accompanist.init_state(2, CONTROLS))
    out_BTC, _ = accompanist.step(make_mix()[:, :BLOCK], state)
    assert out_BTC.isfinite().all()
    assert state.sketch_BTP is not None
    assert unpacked(state.sketch_BTP).values_BTK.isfinite().all()


def test_what_does_not_fit_is_refused() -> None:
    follower, other = make_follower(MASKS["encdec"]), make_accompanist(MASKS["encdec"])
    state = follower.init_state(2, CONTROLS)
    with pytest.raises(UserError, match="10 real numbers per frame"):
        follower.sketched(curves()[..., :-1], 0, state)
    with pytest.raises(UserError, match="10 real numbers per frame"):
        follower.sketched(curves().long(), 0, state)
    with pytest.raises(UserError, match="follows no sketch"):
        play(other, curves())
    parts = follower.generator, SPEC, STATISTICS, RoutedContext(), Euler(2)
    with pytest.raises(UserError, match="sketch_channels"):
        LMDMAccompanist(*parts)
    with pytest.raises(UserError, match="sketch_channels"):
        LMDMAccompanist(other.generator, *parts[1:], sketch=ANALYSIS)
