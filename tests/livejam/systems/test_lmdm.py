"""LMDM as it plays: what it hears when, on cached context as on recomputed context.

Shapes: B batch, T latent frames, C latent channels.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch
from lmdm_toys import (
    BLOCK,
    BLOCKS,
    CONTEXT,
    CONTROLS,
    MASKS,
    SILENCE_C,
    SPEC,
    STATISTICS,
    C,
    make_accompanist,
    make_generator,
    make_mix,
    played,
)
from torch import Tensor

from livejam.accompanist import Controls, accompany
from livejam.errors import UserError
from livejam.networks import Bidirectional, BlockCausal, DiffusionTransformer, EncoderDecoder
from livejam.networks.conditioned_transformer import ConditionedTransformer
from livejam.networks.diffusion_conditions import DiffusionConditions
from livejam.sampling import Euler, PingPong, PingPongPlusPlus, Sampler, UniformSchedule, row_noise
from livejam.spec import CodecSpec
from livejam.systems.blocks import BlockVelocity
from livejam.systems.context import (
    BlockRequest,
    ContextMode,
    DroppedContext,
    InpaintedContext,
    InpaintedWindow,
    RoutedContext,
)
from livejam.systems.lmdm import LMDMAccompanist
from livejam.systems.lmdm_state import heard

CASES: list[tuple[int, Sampler]] = [(0, Euler(1)), (1, PingPong(2)), (0, Euler(8)), (0, PingPongPlusPlus(2))]
"""Cutoffs and samplers: 1, 2 and 8 steps, with and without guidance."""


@pytest.mark.parametrize(("cutoff", "sampler"), [*CASES, (-1, PingPong(2, guidance=2.0))], ids=str)
def test_encoder_decoder_cached_is_recomputed(cutoff: int, sampler: Sampler) -> None:
    cached = make_accompanist(MASKS["encdec"], cutoff, sampler)
    recomputed = make_accompanist(MASKS["encdec"], cutoff, sampler, cached=False)
    first, second = played(cached, make_mix())[0], played(recomputed, make_mix())[0]
    assert torch.allclose(first, second, atol=1e-9, rtol=0)


@pytest.mark.parametrize("context_mode", [RoutedContext(), DroppedContext()], ids=["routed", "dropped"])
@pytest.mark.parametrize(("cutoff", "sampler"), CASES, ids=str)
def test_block_causal_cached_is_recomputed_from_the_whole_history(
    cutoff: int, sampler: Sampler, context_mode: ContextMode
) -> None:
    """What a sliding window has encoded once is what a network sees that never forgets, under the same mask.

    Below cutoff 0 blocks are encoded anew where the mix is heard later, under the mask of the window alone.
    """
    cached = make_accompanist(MASKS["blockcausal"], cutoff, sampler, context_mode=context_mode)
    mix_BTC, state = make_mix(), cached.init_state(2, CONTROLS)
    history_BTC = mix_BTC[:, :0]
    for step, mix_block_BTC in enumerate(mix_BTC.split(BLOCK, dim=1)):
        blocks = BLOCKS + 1 + step
        whole = LMDMAccompanist(
            make_generator(BlockCausal(BLOCK, blocks, window_blocks=BLOCKS), blocks * BLOCK),
            SPEC, STATISTICS, context_mode, sampler, cutoff, cached=False,
        )  # fmt: skip
        long = whole.primed(mix_BTC[:, : step * BLOCK], history_BTC, whole.init_state(2, CONTROLS))
        expected_BTC, _ = whole.step(mix_block_BTC, long)
        out_BTC, state = cached.step(mix_block_BTC, state)
        assert torch.allclose(out_BTC, expected_BTC, atol=1e-9, rtol=0), step
        history_BTC = torch.cat((history_BTC, out_BTC), dim=1)


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("cutoff", [-1, 0, 1])
def test_never_hears_what_has_not_sounded(name: str, cutoff: int) -> None:
    mix_BTC = make_mix(5)
    changed_BTC = mix_BTC.clone()
    changed_BTC[:, 2 * BLOCK :] += 1
    accompanist = make_accompanist(MASKS[name], cutoff)
    first, second = (accompany(accompanist, mix, CONTROLS, SILENCE_C) for mix in (mix_BTC, changed_BTC))
    delay = (1 - cutoff) * BLOCK
    assert accompanist.anticipation_frames == delay - 1
    assert torch.equal(first[:, :delay], SILENCE_C.expand(2, delay, C))
    # the third block that is heard differs, so the third that is emitted does
    same = 2 * BLOCK + delay
    assert torch.equal(first[:, :same], second[:, :same])
    assert same + BLOCK <= first.shape[1]
    assert (first[:, same : same + BLOCK] != second[:, same : same + BLOCK]).any(dim=-1).all()


class Echo(DiffusionTransformer):
    """Plays frame by frame what stands in the mix `lag` frames earlier in the window."""

    lag = 0

    def forward(self, noisy_BTC: Tensor, time_B: Tensor, conditions: DiffusionConditions) -> Tensor:
        assert conditions.mix_BTC is not None
        return (noisy_BTC - conditions.mix_BTC.roll(self.lag, dims=1)) / time_B[:, None, None]


@pytest.mark.parametrize("context_mode", [RoutedContext(), InpaintedContext()], ids=["routed", "inpainted"])
@pytest.mark.parametrize("cutoff", [-1, 0, 1])
def test_mix_and_accompaniment_stand_on_the_same_time(cutoff: int, context_mode: ContextMode) -> None:
    """Where the model copies the newest block that it knows, the accompaniment is the mix, so much later."""
    network = Echo(C, width=16, depth=1, heads=2, context_frames=CONTEXT, block_frames=BLOCK, mix_channels=C)
    network.lag = (1 - cutoff) * BLOCK
    accompanist = LMDMAccompanist(
        ConditionedTransformer(network).double(), SPEC, STATISTICS, context_mode, Euler(3), cutoff
    )
    mix_BTC = make_mix()
    played_BTC = accompany(accompanist, mix_BTC, CONTROLS, SILENCE_C)
    late = network.lag
    assert torch.allclose(played_BTC[:, late:], mix_BTC[:, : mix_BTC.shape[1] - late])


@pytest.mark.parametrize("name", MASKS)
def test_a_row_plays_the_same_in_any_company_and_may_start_anew(name: str) -> None:
    accompanist, mix_BTC = make_accompanist(MASKS[name], sampler=PingPong(2, guidance=2.0)), make_mix()
    together, _ = played(accompanist, mix_BTC)
    half = 3 * BLOCK
    _, state = played(accompanist, mix_BTC[:, :half])
    second = Controls(torch.tensor([4]), torch.tensor([1]))
    state = accompanist.restarted(torch.tensor([1]), second, state)
    rest, _ = played(accompanist, torch.stack((mix_BTC[0, half:], mix_BTC[0, :half])), state)
    assert torch.allclose(rest[0], together[0, half:], atol=1e-9), "the other row did not notice"
    assert torch.allclose(rest[1], together[0, :half], atol=1e-9), "and this one plays as if nothing had been"


@pytest.mark.parametrize("name", MASKS)
def test_states_are_never_changed(name: str) -> None:
    accompanist, mix_BTC = make_accompanist(MASKS[name]), make_mix(4)
    _, snapshot = played(accompanist, mix_BTC[:, : 2 * BLOCK])
    first, _ = played(accompanist, mix_BTC[:, 2 * BLOCK :], snapshot)
    again, _ = played(accompanist, mix_BTC[:, 2 * BLOCK :], snapshot)
    assert torch.equal(first, again)


@pytest.mark.parametrize("name", [*MASKS, "lookahead"])
@pytest.mark.parametrize("cutoff", [-2, -1, 0, 1])
def test_the_network_is_told_what_was_heard_and_when(name: str, cutoff: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in training: the mix in its place and its mask 1 from the start of the stream up to the cutoff, else 0."""
    told: list[DiffusionConditions] = []
    context_mode, mask = (InpaintedContext(), "outpainting") if name == "lookahead" else (RoutedContext(), name)
    accompanist, mix_BTC = make_accompanist(MASKS[mask], cutoff, context_mode=context_mode), make_mix()
    velocity = context_mode.velocity

    def noted(self: ContextMode, network: DiffusionTransformer, request: BlockRequest) -> BlockVelocity:
        told.append(request.conditions)
        return velocity(network, request)

    monkeypatch.setattr(type(context_mode), "velocity", noted)
    played(accompanist, mix_BTC)
    for step, conditions in enumerate(told):
        count = (step + 1) * BLOCK
        time_T = torch.arange(CONTEXT + BLOCK) + count - CONTEXT - cutoff * BLOCK
        known_T = (time_T >= 0) & (time_T < count)
        expected_BTC = STATISTICS.normalise(mix_BTC[:, time_T.clamp(0, count - 1)]) * known_T[:, None]
        assert conditions.mix_BTC is not None
        assert conditions.mix_mask_BT is not None
        assert torch.allclose(conditions.mix_BTC, expected_BTC)
        assert torch.equal(conditions.mix_mask_BT, known_T.double().expand(2, -1))


@pytest.mark.parametrize("sampler", [Euler(2), PingPong(2, guidance=2.0)], ids=str)
def test_lookahead_generates_the_past_that_it_does_not_have(sampler: Sampler) -> None:
    """At the start the whole window, and then all of it but what was played (Karchkhadze and Dubnov)."""
    accompanist = make_accompanist(MASKS["outpainting"], sampler=sampler, context_mode=InpaintedContext())
    mix_BTC = make_mix()
    network, state = accompanist.generator.transformer, accompanist.init_state(2, CONTROLS)
    for blocks, mix_block_BTC in enumerate(mix_BTC.split(BLOCK, dim=1)):
        before, (block_BTC, state) = state, accompanist.step(mix_block_BTC, state)
        conditions = accompanist._block_request(heard(before, STATISTICS.normalise(mix_block_BTC))).conditions
        sides = len(conditions.mix_BTC) // 2  # type: ignore[arg-type]
        known_T = torch.arange(CONTEXT) >= CONTEXT - blocks * BLOCK

        past_BTC, known_BT = before.played_BTC.repeat(sides, 1, 1), known_T.expand(2 * sides, -1)
        position_BT = state.position_B[:, None] + torch.arange(CONTEXT + BLOCK) - CONTEXT
        noise = row_noise(before.seed_B, position_BT, C, torch.float64)
        window_BTC = sampler.sample(InpaintedWindow(network, conditions, past_BTC, known_BT), noise)
        assert torch.allclose(block_BTC, STATISTICS.denormalise(window_BTC[:, CONTEXT:]), atol=1e-9)


@pytest.mark.parametrize("name", MASKS)
def test_primed_it_forgets_what_it_had_played(name: str) -> None:
    mix_BTC, other_BTC = make_mix(), make_mix(8)[:, 2 * BLOCK :]
    outputs = []
    for cached in (True, False):
        accompanist = make_accompanist(MASKS[name], cached=cached)
        _, state = played(accompanist, mix_BTC[:, : 2 * BLOCK])
        primed = accompanist.primed(mix_BTC[:, 2 * BLOCK : 5 * BLOCK], other_BTC[:, : 3 * BLOCK], state)
        outputs.append(accompanist.step(mix_BTC[:, 5 * BLOCK :], primed)[0])
    assert torch.allclose(*outputs, atol=1e-9)


@pytest.mark.parametrize("name", ["outpainting", "encdec"])
def test_primed_with_its_own_past_it_goes_on(name: str) -> None:
    accompanist, mix_BTC, half = make_accompanist(MASKS[name]), make_mix(), 4 * BLOCK
    whole, _ = played(accompanist, mix_BTC)
    primed = accompanist.primed(mix_BTC[:, :half], whole[:, :half], accompanist.init_state(2, CONTROLS))
    rest, _ = played(accompanist, mix_BTC[:, half:], primed)
    assert torch.allclose(rest, whole[:, half:], atol=1e-9)


@pytest.mark.parametrize("name", MASKS)
def test_another_sampler_takes_over_between_blocks(name: str) -> None:
    first, mix_BTC, half = make_accompanist(MASKS[name]), make_mix(), 4 * BLOCK
    other = PingPong(3)
    expected, _ = played(make_accompanist(MASKS[name], sampler=other), mix_BTC)
    assert torch.equal(played(first.with_sampler(other), mix_BTC)[0], expected)
    begun, state = played(first, mix_BTC[:, :half])
    rest, _ = played(first.with_sampler(other), mix_BTC[:, half:], state)
    anew = make_accompanist(MASKS[name], sampler=other, cached=False)
    if name != "blockcausal":  # whose window remembers older blocks than the context
        anew_rest, _ = played(
            anew, mix_BTC[:, half:], anew.primed(mix_BTC[:, :half], begun, anew.init_state(2, CONTROLS))
        )
        assert torch.allclose(rest, anew_rest, atol=1e-9)
    assert not torch.allclose(rest, expected[:, half:], atol=1e-4), "it goes on from what was played"


def test_rollouts_are_differentiable() -> None:
    accompanist, mix_BTC = make_accompanist(MASKS["blockcausal"]), make_mix(2)
    accompanist.generator.requires_grad_()
    out_BTC, state = accompanist.step(mix_BTC[:, :BLOCK], accompanist.init_state(2, CONTROLS))
    out_BTC, state = accompanist.step(mix_BTC[:, BLOCK:], state)
    out_BTC.sum().backward()
    gradients = [p.grad for p in accompanist.generator.parameters()]
    assert all(g is not None and g.isfinite().all() for g in gradients if g is not None)
    assert sum(g is not None and bool(g.abs().sum() > 0) for g in gradients) > 20


def test_inpainted_frames_follow_the_straight_path() -> None:
    clean, known = torch.randn(2, 4, C), torch.tensor([[True] * 4, [False, False, True, True]])
    seen = []

    class Sine(DiffusionTransformer):
        def forward(self, noisy_BTC: Tensor, time_B: Tensor, conditions: DiffusionConditions) -> Tensor:
            seen.append((noisy_BTC, time_B))
            return torch.sin(3 * noisy_BTC)

    network, noise_BTC = Sine(C, width=4, depth=1, heads=1, context_frames=4, block_frames=3), torch.randn(2, 7, C)
    window = InpaintedWindow(network, DiffusionConditions(), clean, known)
    out = Euler(5, schedule=UniformSchedule()).sample(window, lambda number: noise_BTC)
    for x, t in seen:
        path = (1 - t[:, None, None]) * clean + t[:, None, None] * noise_BTC[:, :4]
        assert torch.allclose(x[:, :4][known], path[known], atol=1e-5)
    assert torch.allclose(out[:, :4][known], clean[known], atol=1e-5)
    assert not torch.allclose(out[:, :4][~known], clean[~known], atol=1e-2)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match=r"outside of the window.*between -3 and 1"):
        make_accompanist(MASKS["encdec"], cutoff=2)
    with pytest.raises(UserError, match=r"context_frames \(10\) must be a multiple of block_frames"):
        LMDMAccompanist(make_generator(EncoderDecoder(10), 10), SPEC, STATISTICS, RoutedContext(), Euler(2))
    wide = CodecSpec("wide", 22050, 1, 2048, C + 1, 0)
    with pytest.raises(UserError, match="set latent_channels to the codec's"):
        LMDMAccompanist(make_generator(Bidirectional()), wide, STATISTICS, RoutedContext(), Euler(2))
    accompanist = make_accompanist(MASKS["encdec"])
    with pytest.raises(UserError, match="give it whole blocks"):
        accompanist.step(make_mix()[:, :2], accompanist.init_state(2, CONTROLS))
    for prompt, reason in (
        ("  ", "empty"),
        (" ".join(f"w{chr(97 + i)}" for i in range(20)), "shorten"),
        ("qwzx", "no word"),
    ):
        with pytest.raises(UserError, match=reason):
            accompanist.init_state(2, dataclasses.replace(CONTROLS, prompt=(prompt, "piano")))
    with pytest.raises(UserError, match="shares of all windows"):
        RoutedContext(0.8, 0.3)
