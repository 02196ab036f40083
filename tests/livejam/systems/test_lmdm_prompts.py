"""Prompts that change and fade while it plays, and what guidance guides away from.

Shapes: B batch, T latent frames, C latent channels.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lmdm_toys import (
    BLOCK,
    BLOCKS,
    CONTEXT,
    CONTROLS,
    MASKS,
    SPEC,
    STATISTICS,
    C,
    make_accompanist,
    make_generator,
    make_mix,
    played,
)
from torch import Tensor

from livejam.accompanist import Controls
from livejam.errors import UserError
from livejam.networks import Bidirectional, BlockCausal, DiffusionConditions, EncoderDecoder, Unconditional
from livejam.networks.conditioning import Prompt
from livejam.networks.diffusion_conditions import LEAST_SHARE, NOTHING_ASKED
from livejam.sampling import Euler, EulerPlusPlus, Heun, PingPong, PingPongPlusPlus, Sampler, row_noise
from livejam.systems.blocks import BlockCausalCache, BlockVelocity, DiffusionCache, EncoderDecoderCache
from livejam.systems.context import InpaintedContext, Outpainting, RoutedContext, with_context
from livejam.systems.lmdm import LMDMAccompanist
from livejam.systems.lmdm_state import LMDMState, filled, heard
from livejam.systems.lmdm_state import played as with_played

SAMPLERS: list[Sampler] = [
    Euler(2),
    Euler(2, guidance=3.0),
    Heun(2, guidance=2.0),
    PingPong(2),
    PingPong(2, guidance=2.0),
    EulerPlusPlus(2, guidance=0.7),
    PingPongPlusPlus(2, guidance=0.7),
]
SIDES = [Unconditional(True, True), Unconditional(True, False), Unconditional(False, True)]
OLD, NEW = ("warm piano", "bass", "clean guitar"), ("warm organ", "loud trumpet", "strings")
STREAM = 4
"""Blocks that are played."""


def controls(rows: slice) -> Controls:
    return Controls(torch.tensor([4, 14, 3])[rows], torch.tensor([1, 2, 7])[rows], OLD[rows])


def mix_of(rows: slice) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(3, STREAM * BLOCK, C, generator=rng, dtype=torch.float64)[rows]


def fading(accompanist: LMDMAccompanist, shares: list[float], rows: slice) -> list[Prompt]:
    """The prompt of every block."""
    old, new = (accompanist.generator.prompt(words[rows]) for words in (OLD, NEW))
    assert old is not None
    assert new is not None
    return [old.faded(new, share) for share in shares]


def faded(accompanist: LMDMAccompanist, shares: list[float], rows: slice, reencode: bool = False) -> Tensor:
    """What is played while the prompt fades."""
    mix_BTC = mix_of(rows)
    state, blocks = accompanist.init_state(len(mix_BTC), controls(rows)), []
    for mix_block_BTC, prompt in zip(mix_BTC.split(BLOCK, dim=1), fading(accompanist, shares, rows), strict=True):
        block_BTC, state = accompanist.step(mix_block_BTC, accompanist.asked(prompt, state, reencode))
        blocks.append(block_BTC)
    return torch.cat(blocks, dim=1)


class TwoModels:
    """The same by hand: each side of guidance is a model of its own, with a cache of its own.

    Args:
        plain: the model, without guidance.
        sampler: may guide.
        unconditional: what the second model is not told.
    """

    def __init__(self, plain: LMDMAccompanist, sampler: Sampler, unconditional: Unconditional) -> None:
        self.plain, self.sampler, self.unconditional = plain, sampler, unconditional
        self.network = plain.generator.transformer

    def faded(self, shares: list[float], rows: slice) -> Tensor:
        mix_BTC = mix_of(rows)
        state, blocks = replace(self.plain.init_state(len(mix_BTC), controls(rows)), cache=None), []
        caches = self.silent_caches(state)
        for mix_block_BTC, prompt in zip(mix_BTC.split(BLOCK, dim=1), fading(self.plain, shares, rows), strict=True):
            state = heard(replace(state, prompt=prompt), STATISTICS.normalise(mix_block_BTC))
            block_BTC, caches = self.block(state, caches)
            state = with_played(state, block_BTC)
            blocks.append(STATISTICS.denormalise(block_BTC))
        return torch.cat(blocks, dim=1)

    def sides(self, state: LMDMState) -> list[DiffusionConditions]:
        known_BTC = state.played_BTC * filled(state.played_B, CONTEXT)[..., None]
        told = with_context(self.plain.asks(state), known_BTC, BLOCK)
        return [told, self.unconditional.of(told)] if self.sampler.needs_unconditional else [told]

    def silent_caches(self, state: LMDMState) -> list[DiffusionCache | None]:
        caches: list[DiffusionCache | None] = []
        for told in self.sides(state):
            window = self.velocity(told, None)
            if isinstance(window, BlockCausalCache):
                noise_BTC = torch.zeros(len(state.seed_B), BLOCK, C, dtype=torch.float64)
                window(noise_BTC, torch.ones(len(noise_BTC), dtype=torch.float64))
            caches.append(window.cache)
        return caches

    def velocity(self, told: DiffusionConditions, cache: DiffusionCache | None) -> BlockVelocity:
        """With the prompt that is due; context that was encoded keeps the prompt under which it was."""
        if isinstance(self.network.mask, EncoderDecoder):
            return EncoderDecoderCache(self.network, told)
        if isinstance(self.network.mask, BlockCausal):
            asked = cache and cache.with_prompt(self.network.prompt_keys(told))
            return BlockCausalCache(self.network, told, self.plain._cutoff_frames, asked)
        return Outpainting(self.network, told)

    def block(
        self, state: LMDMState, caches: list[DiffusionCache | None]
    ) -> tuple[Tensor, list[DiffusionCache | None]]:
        models = [self.velocity(told, cache) for told, cache in zip(self.sides(state), caches, strict=True)]

        def velocity(x_BTC: Tensor, time_B: Tensor) -> Tensor:
            parts = zip(models, x_BTC.chunk(len(models)), time_B.chunk(len(models)), strict=True)
            return torch.cat([model(x, t) for model, x, t in parts])

        position_BT = state.position_B[:, None] + torch.arange(BLOCK)
        noise = row_noise(state.seed_B, position_BT, C, torch.float64)
        return self.sampler.sample(velocity, noise), [model.cache for model in models]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
@pytest.mark.parametrize("name", MASKS)
@settings(max_examples=2, deadline=None)
@given(
    shares=st.lists(st.floats(0, 1), min_size=STREAM, max_size=STREAM),
    rows=st.integers(1, 3),
    cutoff=st.sampled_from([-2, -1, 0, 1]),
    unconditional=st.sampled_from(SIDES),
)
def test_a_fade_is_the_same_by_hand_and_in_any_company(
    name: str, sampler: Sampler, shares: list[float], rows: int, cutoff: int, unconditional: Unconditional
) -> None:
    accompanist = make_accompanist(MASKS[name], cutoff, sampler, unconditional=unconditional)
    together_BTC = faded(accompanist, shares, slice(rows))
    by_hand = TwoModels(make_accompanist(MASKS[name], cutoff), sampler, unconditional)
    assert torch.allclose(together_BTC, by_hand.faded(shares, slice(rows)), atol=1e-9)
    last = slice(rows - 1, rows)
    assert torch.allclose(together_BTC[last], faded(accompanist, shares, last), atol=1e-9)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
@pytest.mark.parametrize("name", ["outpainting", "encdec", "blockcausal", "lookahead"])
def test_faded_is_reencoded_where_every_block_encodes_its_context(name: str, sampler: Sampler) -> None:
    """Outpainting and Encoder-Decoder always do; Block-Causal where every block of the context hears more each time."""
    context_mode, mask = (InpaintedContext(), "outpainting") if name == "lookahead" else (None, name)
    accompanist = make_accompanist(
        MASKS[mask], 1 - BLOCKS if name == "blockcausal" else 0, sampler, context_mode=context_mode
    )
    shares = [0.0, 0.3, 0.8, 1.0]
    kept_BTC, anew_BTC = (faded(accompanist, shares, slice(3), reencode) for reencode in (False, True))
    assert torch.allclose(kept_BTC, anew_BTC, atol=1e-9)
    assert not torch.allclose(kept_BTC, faded(accompanist, [0.0] * STREAM, slice(3)), atol=1e-4)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
@pytest.mark.parametrize("name", MASKS)
def test_prompts_change_and_fade(name: str, sampler: Sampler) -> None:
    accompanist, mix_BTC = make_accompanist(MASKS[name], sampler=sampler), make_mix(4)
    _, state = played(accompanist, mix_BTC[:, : 2 * BLOCK])
    rest_BTC = mix_BTC[:, 2 * BLOCK :]
    old, new = state.prompt, accompanist.generator.prompt(["warm organ", "loud trumpet"])
    assert old is not None
    assert new is not None
    outputs = [
        played(accompanist, rest_BTC, accompanist.asked(old.faded(new, share), state, reencode=False))[0]
        for share in (0.0, 0.5, 1.0)
    ]
    assert torch.allclose(outputs[0], played(accompanist, rest_BTC, state)[0], atol=1e-9)
    assert not torch.allclose(outputs[0], outputs[1], atol=1e-4)
    assert not torch.allclose(outputs[1], outputs[2], atol=1e-4)
    reencoded, _ = played(accompanist, rest_BTC, accompanist.asked(new, state))
    same = torch.allclose(reencoded, outputs[2], atol=1e-9)
    assert same == (name != "blockcausal"), "a sliding window alone keeps what it has encoded"


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize(("before", "after"), [(Euler(2), Euler(2, guidance=3.0)), (Euler(2, guidance=3.0), Euler(2))])
@pytest.mark.parametrize("name", MASKS)
def test_guidance_may_begin_and_end(name: str, before: Sampler, after: Sampler, rows: int) -> None:
    """What was cached for one side is of no use to two: the context is encoded anew."""
    prompt_alone = Unconditional(without_prompt=True, without_mix=False)
    accompanist, part = make_accompanist(MASKS[name], sampler=before, unconditional=prompt_alone), slice(rows)
    state = accompanist.init_state(rows, controls(part))
    first_BTC, second_BTC, *_ = mix_of(part).split(BLOCK, dim=1)
    _, state = accompanist.step(first_BTC, state)
    other = accompanist.with_sampler(after)
    anew = make_accompanist(MASKS[name], sampler=after, unconditional=prompt_alone)
    fresh_BTC, _ = anew.step(second_BTC, replace(state, cache=None))
    assert torch.allclose(other.step(second_BTC, state)[0], fresh_BTC, atol=1e-12)
    prompt = fading(other, [0.0], part)[0]
    assert torch.allclose(other.step(second_BTC, other.asked(prompt, state, reencode=False))[0], fresh_BTC, atol=1e-12)
    restarted = other.restarted(torch.tensor([0]), controls(slice(1)), state)
    begun_BTC, _ = other.step(second_BTC[:1], other.init_state(1, controls(slice(1))))
    assert torch.allclose(other.step(second_BTC, restarted)[0][:1], begun_BTC, atol=1e-9)


@pytest.mark.parametrize("name", MASKS)
def test_every_musician_has_a_prompt(name: str) -> None:
    """One for all would be taken silently where there is one row, and crash where there are several."""
    accompanist = make_accompanist(MASKS[name])
    prompt = accompanist.generator.prompt(["warm organ"])
    assert prompt is not None
    for reencode in (False, True):
        with pytest.raises(UserError, match="1 prompts were given for 2 musicians; give one for each"):
            accompanist.asked(prompt, accompanist.init_state(2, CONTROLS), reencode)


@pytest.mark.parametrize("name", MASKS)
def test_guidance_away_from_the_prompt_alone_keeps_the_mix(name: str) -> None:
    """At weight 0 only the unconditional side is heard, and says what it was told."""
    silent_BTC, other = torch.zeros_like(make_mix()), replace(CONTROLS, instrument_B=torch.tensor([0, 1]))
    for unconditional in SIDES:
        accompanist = make_accompanist(MASKS[name], 0, Euler(2, guidance=0.0), unconditional=unconditional)
        plain_BTC, _ = played(accompanist, make_mix())
        asked_BTC, _ = played(accompanist, make_mix(), accompanist.init_state(2, other))
        deaf_BTC, _ = played(accompanist, silent_BTC)
        assert torch.allclose(plain_BTC, asked_BTC, atol=1e-9) == unconditional.without_prompt
        assert torch.allclose(plain_BTC, deaf_BTC, atol=1e-9) == unconditional.without_mix


@given(share=st.floats(0, 1), weight=st.floats(0, 9), both=st.booleans())
def test_guidance_is_away_from_what_was_trained(share: float, weight: float, both: bool) -> None:
    """Whatever is made of the player, and for every sampler that needs the unconditional side."""
    generator = make_generator(Bidirectional())
    sampler: Sampler = PingPongPlusPlus(2) if both else PingPong(2)
    parts = SPEC, STATISTICS, RoutedContext(), sampler, 0, True, NOTHING_ASKED, share
    weight = min(weight, 1.0) if both else weight
    trained = share >= LEAST_SHARE or not (both or weight != 1)
    player = LMDMAccompanist(generator, *parts)
    for one in (player, player.with_cutoff(-1), player.with_sampler(replace(sampler, steps=1))):
        if trained:
            assert one.with_guidance(weight).sampler.guidance == weight
        else:
            with pytest.raises(UserError, match="guides away from a model without prompt and mix, but"):
                one.with_guidance(weight)
