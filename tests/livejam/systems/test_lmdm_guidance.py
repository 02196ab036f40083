"""A weight of guidance for each of mix, past, prompt and sketch, and negative prompts, while it plays.

Shapes: B batch, T latent frames, C latent channels, P numbers of a frame of a sketch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lmdm_toys import BLOCK, CONTROLS, MASKS, SPEC, STATISTICS, C, make_accompanist, make_mix, played
from test_lmdm_prompts import TwoModels, faded
from test_lmdm_sketch import curves as sketch_curves
from test_lmdm_sketch import make_follower
from torch import Tensor

from livejam.accompanist import Controls, Weights, accompany
from livejam.errors import UserError
from livejam.networks import NOTHING_ASKED, DiffusionConditions, Unconditional
from livejam.networks.diffusion_conditions import Dropouts
from livejam.sampling import Euler, PingPongPlusPlus
from livejam.systems.context import DroppedContext, InpaintedContext
from livejam.systems.lmdm import LMDMAccompanist
from livejam.systems.lmdm_state import LMDMState

WEIGHT = st.sampled_from([0.0, 1.0, 2.0, 3.0])
WEIGHTS = st.fixed_dictionaries({"mix": WEIGHT, "past": WEIGHT, "prompt": WEIGHT})
AVOIDED = replace(CONTROLS, negative_prompt=("", "loud trumpet"))


def guided(name: str, guidance: Weights, **settings: object) -> LMDMAccompanist:
    return make_accompanist(MASKS[name], sampler=Euler(2), **settings).with_guidance(guidance)  # type: ignore[arg-type]


class Sides(TwoModels):
    """Every side a model of its own, with a cache of its own."""

    def sides(self, state: LMDMState) -> list[DiffusionConditions]:
        told = super().sides(state)[0]
        others = self.sampler.sides(NOTHING_ASKED.lacks)
        return [told, *(Unconditional.lacking(side).of(told) for side in others)]


@pytest.mark.parametrize("name", MASKS)
@settings(max_examples=3, deadline=None)
@given(weights=WEIGHTS, share=st.floats(0, 1))
def test_it_is_what_the_sides_give_by_hand(name: str, weights: Mapping[str, float], share: float) -> None:
    """In rows of one call, with and without caches, and while prompts fade."""
    shares, rows = [0.0, share, 1.0, 1.0], slice(2)
    hands = Sides(make_accompanist(MASKS[name]), Euler(2, guidance=dict(weights)), NOTHING_ASKED)
    expected_BTC = hands.faded(shares, rows)
    assert torch.allclose(faded(guided(name, weights), shares, rows), expected_BTC, atol=1e-9)
    if name != "blockcausal":  # a sliding window keeps what it encoded in a longer past
        assert torch.allclose(faded(guided(name, weights, cached=False), shares, rows), expected_BTC, atol=1e-9)


@pytest.mark.parametrize("name", MASKS)
@settings(max_examples=3, deadline=None)
@given(weight=st.floats(0, 5), side=st.sampled_from([("mix", "prompt"), ("prompt",), ("mix",)]))
def test_equal_weights_are_one_weight_for_all(name: str, weight: float, side: tuple[str, ...]) -> None:
    """Bit for bit what the paper's guidance plays, at its cost."""
    unconditional = Unconditional.lacking(side)
    one = make_accompanist(MASKS[name], sampler=Euler(2), unconditional=unconditional).with_guidance(weight)
    each = make_accompanist(MASKS[name], sampler=Euler(2)).with_guidance(dict.fromkeys(side, weight))
    assert torch.equal(played(one, make_mix(3))[0], played(each, make_mix(3))[0])
    assert one._rows == each._rows == (1 if weight == 1 else 2)


@pytest.mark.parametrize("name", MASKS)
def test_at_no_weight_of_the_past_nothing_played_is_heard(name: str) -> None:
    """A side without past is the model that is never given it."""
    deaf_BTC, _ = played(guided(name, {"past": 0.0}), make_mix())
    dropped_BTC, _ = played(make_accompanist(MASKS[name], context_mode=DroppedContext()), make_mix())
    assert torch.allclose(deaf_BTC, dropped_BTC, atol=1e-9)
    assert not torch.allclose(deaf_BTC, played(make_accompanist(MASKS[name]), make_mix())[0], atol=1e-3)


@pytest.mark.parametrize("name", MASKS)
@settings(max_examples=3, deadline=None)
@given(before=WEIGHTS, after=WEIGHTS)
def test_weights_may_change_while_it_plays(name: str, before: dict[str, float], after: dict[str, float]) -> None:
    """What was cached for other sides is of no use, also where they are as many."""
    mix_BTC = make_mix(3)
    _, state = played(guided(name, before), mix_BTC[:, : 2 * BLOCK])
    other = guided(name, before).with_guidance(after)
    anew_BTC, _ = other.step(mix_BTC[:, 2 * BLOCK :], replace(state, cache=None))
    again_BTC, _ = other.step(mix_BTC[:, 2 * BLOCK :], state)
    if other._sides == guided(name, before)._sides and name == "blockcausal":
        return  # its cache is of use, and keeps what it encoded in a longer past
    assert torch.allclose(again_BTC, anew_BTC, atol=1e-12)


def test_weights_that_are_not_named_stay() -> None:
    one = guided("encdec", {"mix": 2.0, "prompt": 3.0})
    assert one.with_guidance({"prompt": 1.5}).weights == {"mix": 2.0, "prompt": 1.5}
    assert one.with_guidance(4.0).weights == {"mix": 4.0, "prompt": 4.0}


@pytest.mark.parametrize("name", MASKS)
def test_away_from_what_is_asked_is_no_guidance(name: str) -> None:
    """A negative prompt that is the prompt leaves nothing to move along; another one moves its own row alone."""
    guide = guided(name, {"prompt": 4.0})
    same = replace(CONTROLS, prompt=("warm organ", "bass"), negative_prompt=("warm organ", "bass"))
    plain_BTC, _ = played(make_accompanist(MASKS[name]), make_mix(), guide.init_state(2, same))
    same_BTC, _ = played(guide, make_mix(), guide.init_state(2, same))
    assert torch.allclose(same_BTC, plain_BTC, atol=1e-9)
    none_BTC, avoided_BTC = (played(guide, make_mix(), guide.init_state(2, c))[0] for c in (CONTROLS, AVOIDED))
    assert torch.allclose(none_BTC[0], avoided_BTC[0], atol=1e-9)
    assert not torch.allclose(none_BTC[1], avoided_BTC[1], atol=1e-3)


@pytest.mark.parametrize("name", MASKS)
def test_sides_without_a_prompt_have_the_negative_one(name: str) -> None:
    guide = guided(name, {"mix": 2.0, "prompt": 4.0})
    told = guide.asks(guide.init_state(2, AVOIDED))
    assert told.prompt_BPD is not None
    assert told.prompt_mask_BP is not None
    assert guide._sides == (frozenset({"prompt"}), frozenset({"mix", "prompt"}))
    asked, *others = told.prompt_mask_BP.sum(1).view(3, 2).tolist()
    assert min(asked) > 0
    assert others == [[0, 2], [0, 2]], "the second row is led away from two words"
    avoided = guide.generator.prompt(["loud trumpet"])
    assert avoided is not None
    for row in (3, 5):
        assert torch.equal(told.prompt_BPD[row], avoided.embedding_BPD[0])


@pytest.mark.parametrize("name", MASKS)
def test_negative_prompts_come_and_go(name: str) -> None:
    guide, block_BTC = guided(name, {"mix": 2.0, "prompt": 4.0}), make_mix(1)
    begun, avoiding = (guide.init_state(2, each) for each in (CONTROLS, AVOIDED))
    expected_BTC, _ = guide.step(block_BTC, avoiding)
    for state in (guide.with_controls(AVOIDED, begun), guide.avoiding(avoiding.negative, begun)):
        assert torch.allclose(guide.step(block_BTC, state)[0], expected_BTC, atol=1e-9)
    gone_BTC, _ = guide.step(block_BTC, guide.with_controls(CONTROLS, avoiding))
    assert torch.allclose(gone_BTC, guide.step(block_BTC, begun)[0], atol=1e-9)
    one = Controls(CONTROLS.instrument_B[1:], CONTROLS.seed_B[1:], negative_prompt=("loud trumpet",))
    restarted_BTC, _ = guide.step(block_BTC, guide.restarted(torch.tensor([1]), one, begun))
    assert torch.allclose(restarted_BTC, expected_BTC, atol=1e-9)


def test_a_sketch_has_a_weight_of_its_own() -> None:
    """At weight 0 it is not heard, at 2 the difference that it makes is doubled."""
    plain, curves_BTP = make_follower(MASKS["encdec"]), sketch_curves()
    silence_C = torch.zeros(C, dtype=torch.float64)

    def followed(guidance: Weights, curves: Tensor | None) -> Tensor:
        return accompany(plain.with_guidance(guidance), make_mix(), CONTROLS, silence_C, curves)

    deaf_BTC, without_BTC = followed({"sketch": 0.0}, curves_BTP), followed(1.0, None)
    assert torch.allclose(deaf_BTC, without_BTC, atol=1e-9)
    assert not torch.allclose(followed({"sketch": 2.0}, curves_BTP), followed(1.0, curves_BTP), atol=1e-3)
    uneven, even = ({"mix": 2.0, "sketch": w, "prompt": 2.0} for w in (3.0, 2.0))
    assert plain.with_guidance(uneven)._rows == 3
    assert plain.with_guidance(even)._rows == 2


def test_what_a_model_does_not_take_has_no_weight() -> None:
    with pytest.raises(UserError, match="a weight of the sketch, but this model follows no sketch"):
        guided("encdec", {"sketch": 2.0})
    for mode in (DroppedContext(), InpaintedContext()):
        with pytest.raises(UserError, match="a weight of the past, but this model is not given its own past"):
            make_accompanist(MASKS["encdec"], context_mode=mode).with_guidance({"past": 2.0})
    assert guided("encdec", {"sketch": 1.0}).weights["sketch"] == 1


@settings(max_examples=30, deadline=None)
@given(shares=st.tuples(*[st.sampled_from([0.0, 0.05, 0.3])] * 3), weights=WEIGHTS)
def test_every_side_must_be_trained(shares: tuple[float, float, float], weights: dict[str, float]) -> None:
    prompt, mix, past = shares
    one = make_accompanist(MASKS["encdec"], sampler=Euler(2))
    parts = one.generator, SPEC, STATISTICS, one.context_mode, one.sampler
    player = LMDMAccompanist(*parts, dropouts=Dropouts(prompt, mix, past_dropout=past))
    given = {"prompt": prompt, "mix": mix, "past": past}
    untrained = [
        side
        for side in Euler(2).with_guidance(weights).sides(frozenset())
        if torch.tensor([share if name in side else 1 - share for name, share in given.items()]).prod() < 0.0075
    ]
    if untrained:
        with pytest.raises(UserError, match=r"a weight of .* guides away from a model without .* %"):
            player.with_guidance(weights)
    else:
        assert player.with_guidance(weights).weights == weights


def test_a_model_without_past_must_be_trained_without_it() -> None:
    """As lmdm-pocket, which has a mix and no past in the windows that its guidance leads away from."""
    one = make_accompanist(MASKS["blockcausal"], context_mode=DroppedContext())
    parts = one.generator, SPEC, STATISTICS, one.context_mode, one.sampler
    for past, trained in ((0.2, True), (0.05, False)):
        player = LMDMAccompanist(
            *parts, unconditional=Unconditional(False, True), dropouts=Dropouts(0.1, 0.05, past_dropout=past)
        )
        assert player.trained_share(frozenset({"mix"})) == pytest.approx(0.9 * 0.05 * past)
        if trained:
            player.with_guidance(2.0)
        else:
            with pytest.raises(UserError, match=r"without mix, but 0\.2 %"):
                player.with_guidance(2.0)


def test_cfg_plus_plus_takes_weights_too() -> None:
    one = make_accompanist(MASKS["encdec"], sampler=PingPongPlusPlus(2)).with_guidance({"mix": 0.9, "prompt": 0.5})
    assert one._sides == (frozenset({"mix"}), frozenset({"mix", "prompt"}))
    assert played(one, make_mix())[0].isfinite().all()
