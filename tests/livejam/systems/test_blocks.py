"""What is cached is what is computed: every cached pass equals the pass with a mask, block after block."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from diffusion_toys import (
    BLOCK,
    BLOCK_CAUSAL,
    BLOCKS,
    CONTEXT,
    ENCODER_DECODER,
    ROWS,
    WINDOW,
    Song,
    in_window,
    make_network,
    noise,
    times,
)
from torch import Tensor

from livejam.errors import UserError
from livejam.networks import BlockCausal, DiffusionConditions, DiffusionTransformer
from livejam.systems.blocks import DiffusionCache, bootstrap, denoise, fused, prefill

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}
PRECISIONS = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
STEPS = pytest.mark.parametrize("steps", [1, 2, 8])


@dataclasses.dataclass(frozen=True)
class WholeHistory:
    """Block-Causal over all blocks that were ever played, for the window that ends behind `blocks` of them.

    A context block was encoded for the last time at place `last_place` of its window, and saw the window's blocks
    before it. Until then it was encoded anew for every window.
    """

    blocks: int
    last_place: int

    @property
    def token_position(self) -> int:
        return (self.blocks - BLOCKS) * BLOCK

    def allowed(self, query_index: Tensor, key_index: Tensor) -> Tensor:
        query, key = (torch.clamp(index // BLOCK, max=self.blocks) for index in (query_index, key_index))
        oldest = torch.where(query == self.blocks, query - BLOCKS + 1, query - self.last_place)
        window = self.blocks - BLOCKS
        fresh = (query - window >= self.last_place) & (query < self.blocks)
        return (key <= query) & (key >= torch.where(fresh, window, oldest))

    def check(self, frames: int) -> None:
        assert frames == (self.blocks + 1) * BLOCK


def close(one: Tensor, other: Tensor) -> bool:
    """Equal to the precision's tolerance, relative to the size of the values."""
    return bool((one - other).abs().max() <= TOLERANCE[one.dtype] * max(1.0, float(other.abs().max())))


def twin(network: DiffusionTransformer, blocks: int, last_place: int, mix: bool) -> DiffusionTransformer:
    """The same weights over the whole history."""
    other = make_network(WholeHistory(blocks, last_place), blocks * BLOCK, len(network.blocks), mix).to(
        network.project_out.weight.dtype
    )
    other.load_state_dict(network.state_dict())
    return other


@PRECISIONS
@STEPS
def test_encoder_decoder_equals_the_whole_pass(dtype: torch.dtype, steps: int) -> None:
    network, song = make_network(ENCODER_DECODER, dtype=dtype), Song.random(BLOCKS + 6, dtype=dtype)
    with torch.no_grad():
        for block in range(BLOCKS, BLOCKS + 6):
            conditions = song.conditions(block - BLOCKS, block)
            cache = prefill(network, conditions)
            x = noise(block, dtype)
            for step in range(steps):
                velocity = denoise(network, x, times(step, steps, dtype), conditions, cache)
                whole = network(in_window(x, WINDOW), times(step, steps, dtype), conditions)
                assert close(velocity, whole[:, CONTEXT:])
                x = x - velocity / steps


@PRECISIONS
@STEPS
def test_block_causal_equals_the_whole_history(dtype: torch.dtype, steps: int) -> None:
    network, song = make_network(BLOCK_CAUSAL, dtype=dtype), Song.random(BLOCKS + 6, dtype=dtype)
    assert_streams_like_history(network, song, steps, None, BLOCKS - 1)


@pytest.mark.parametrize("cutoff", [BLOCK * 2, BLOCK * 3 - 1, BLOCK * 3, CONTEXT, CONTEXT + 2, WINDOW])
def test_mix_that_slides_into_the_context_is_heard(cutoff: int) -> None:
    network, song = make_network(BLOCK_CAUSAL, mix=True), Song.random(BLOCKS + 6)
    last_place = min(BLOCKS, cutoff // BLOCK) - 1
    assert_streams_like_history(network, song, 2, cutoff, last_place)


def assert_streams_like_history(
    network: DiffusionTransformer, song: Song, steps: int, cutoff: int | None, last_place: int
) -> None:
    dtype, cache = song.latents_BTC.dtype, None
    with torch.no_grad():
        for block in range(BLOCKS, BLOCKS + 6):
            whole_network = twin(network, block, last_place, mix=cutoff is not None)
            conditions, history = song.conditions(block - BLOCKS, block, cutoff), song.conditions(0, block, cutoff)
            x = noise(block, dtype)
            for step in range(steps):
                velocity, cache = one_step(network, x, times(step, steps, dtype), conditions, cache, step, cutoff)
                whole = whole_network(in_window(x, (block + 1) * BLOCK), times(step, steps, dtype), history)
                assert close(velocity, whole[:, -BLOCK:])
                x = x - velocity / steps


def one_step(
    network: DiffusionTransformer,
    x: Tensor,
    time_B: Tensor,
    conditions: DiffusionConditions,
    cache: DiffusionCache | None,
    step: int,
    cutoff: int | None = None,
) -> tuple[Tensor, DiffusionCache]:
    if cache is None:
        return bootstrap(network, x, time_B, conditions)
    if step == 0:
        return fused(network, x, time_B, conditions, cache, cutoff)
    return denoise(network, x, time_B, conditions, cache), cache


@PRECISIONS
def test_bootstrap_is_the_training_pass(dtype: torch.dtype) -> None:
    network, song = make_network(BLOCK_CAUSAL, dtype=dtype), Song.random(BLOCKS + 1, dtype=dtype)
    conditions, x, time_B = song.conditions(0, BLOCKS), noise(3, dtype), times(1, 3, dtype)
    with torch.no_grad():
        velocity, _ = bootstrap(network, x, time_B, conditions)
        assert close(velocity, network(in_window(x, WINDOW), time_B, conditions)[:, CONTEXT:])


@pytest.mark.parametrize("cutoff", [0, 1, BLOCK, 2 * BLOCK - 1])
def test_hardly_any_mix_leaves_nothing_to_keep(cutoff: int) -> None:
    """Every context block hears more with every slide: the fused step is the training pass again."""
    network, song = make_network(BLOCK_CAUSAL, mix=True), Song.random(BLOCKS + 2)
    with torch.no_grad():
        _, cache = bootstrap(network, noise(1), times(0, 2), song.conditions(0, BLOCKS, cutoff))
        conditions = song.conditions(1, BLOCKS + 1, cutoff)
        velocity, _ = fused(network, noise(2), times(0, 2), conditions, cache, cutoff)
        assert close(velocity, network(in_window(noise(2), WINDOW), times(0, 2), conditions)[:, CONTEXT:])


@pytest.mark.parametrize("window", range(1, BLOCKS + 2))
def test_a_block_sees_its_window_in_every_step(window: int) -> None:
    """Nothing but itself, or all of the context, its oldest block included: also in steps that find more cached."""
    network, song = make_network(BlockCausal(BLOCK, BLOCKS, window), depth=1), Song.random(BLOCKS + 3)
    with torch.no_grad():
        cache = None
        for block in range(BLOCKS, BLOCKS + 3):
            conditions = song.conditions(block - BLOCKS, block)
            for step in range(2):
                velocity, cache = one_step(network, noise(block), times(step, 2), conditions, cache, step)
                whole = network(in_window(noise(block), WINDOW), times(step, 2), conditions)[:, CONTEXT:]
                assert close(velocity, whole)


def streamed(network: DiffusionTransformer, song: Song, blocks: int) -> tuple[Tensor, DiffusionCache]:
    """Some blocks of one step each."""
    cache = None
    for block in range(BLOCKS, BLOCKS + blocks):
        conditions = song.conditions(block - BLOCKS, block)
        velocity, cache = one_step(network, noise(block), times(0, 2), conditions, cache, 0)
    assert cache is not None
    return velocity, cache


def test_rows_are_independent_and_any_row_starts_anew() -> None:
    network, song, other = make_network(BLOCK_CAUSAL), Song.random(BLOCKS + 4), Song.random(BLOCKS + 4, seed=2)
    row, x = torch.tensor([1]), noise(9)
    with torch.no_grad():
        _, cache = streamed(network, song, 3)
        _, fresh = bootstrap(network, x, times(0, 2), other.conditions(0, BLOCKS))
        alone = other.conditions(0, BLOCKS).map(lambda told: told[row])
        mixed = cache.put(row, bootstrap(network, x[row], times(0, 2)[row], alone)[1])
        conditions = [song.conditions(3, BLOCKS + 3), other.conditions(1, BLOCKS + 1)]
        apart = [
            fused(network, x, times(0, 2), told, memory)[0]
            for told, memory in zip(conditions, (cache, fresh), strict=True)
        ]
        names = [field.name for field in dataclasses.fields(DiffusionConditions)]
        both = {name: [getattr(told, name) for told in conditions] for name in names}
        together = DiffusionConditions(
            **{name: None if old is None else torch.stack((old[0], new[1])) for name, (old, new) in both.items()}
        )
        velocity, _ = fused(network, x, times(0, 2), together, mixed)
    assert torch.allclose(velocity[0], apart[0][0], atol=1e-12)
    assert torch.allclose(velocity[1], apart[1][1], atol=1e-12)


def test_cache_is_of_constant_size_and_a_slide_leaves_the_old_one() -> None:
    network, song = make_network(BLOCK_CAUSAL), Song.random(BLOCKS + 10)
    with torch.no_grad():
        _, cache = streamed(network, song, 1)
        before = [x[:, : cache.frames].clone() for x in (*cache.key, *cache.value)]
        conditions = song.conditions(1, BLOCKS + 1)
        one, new = fused(network, noise(3), times(0, 2), conditions, cache)
        denoise(network, noise(4), times(1, 2), conditions, new)
        two, _ = fused(network, noise(3), times(0, 2), conditions, cache)
        _, late = streamed(network, song, 10)
    assert torch.equal(one, two)
    assert all(
        torch.equal(old, x[:, : cache.frames]) for old, x in zip(before, (*cache.key, *cache.value), strict=True)
    )
    sizes = [[x.shape for x in (*memory.key, *memory.value)] for memory in (late, new, cache)]
    assert sizes[0] == sizes[1] == sizes[2]
    assert late.frames == cache.frames == CONTEXT - BLOCK


def test_gradient_flows_through_one_pass_and_not_through_caches() -> None:
    network, song = make_network(BLOCK_CAUSAL), Song.random(BLOCKS + 2)
    network.requires_grad_(True)
    _, cache = bootstrap(network, noise(1), times(0, 2), song.conditions(0, BLOCKS))
    conditions = song.conditions(1, BLOCKS + 1)
    with torch.no_grad():
        expected, _ = fused(network, noise(2), times(0, 2), conditions, cache)
    velocity, new = fused(network, noise(2), times(0, 2), conditions, cache)
    assert not any(x.requires_grad for x in (*cache.key, *cache.value, *new.key, *new.value))
    with torch.no_grad():
        denoise(network, noise(3), times(1, 2), conditions, new)
    velocity.sum().backward()
    step = denoise(network, noise(3), times(1, 2), conditions, new)
    step.sum().backward()
    assert torch.allclose(velocity, expected, atol=1e-12)
    untouched = {name for name, parameter in network.blocks.named_parameters() if parameter.grad is None}
    assert untouched == {
        name
        for name, _ in network.blocks.named_parameters()
        if "project_prompt" in name or "prompt_attention.key_norm" in name
    }
    live = new.with_prompt(network.prompt_keys(conditions))
    denoise(network, noise(3), times(1, 2), conditions, live).sum().backward()
    assert all(parameter.grad is not None for parameter in network.blocks.parameters())


def test_prompts_are_encoded_once_and_can_cross_fade() -> None:
    network, song, other = make_network(BLOCK_CAUSAL), Song.random(BLOCKS + 2), Song.random(BLOCKS + 2, seed=5)
    old, told = song.conditions(0, BLOCKS), song.conditions(1, BLOCKS + 1)
    halfway = dataclasses.replace(told, prompt_BPD=0.5 * song.prompt_BPD + 0.5 * other.prompt_BPD)
    with torch.no_grad():
        _, cache = bootstrap(network, noise(1), times(0, 2), old, network.prompt_keys(old))
        # The cache's prompt counts until it is changed, whatever the conditions say.
        kept, _ = fused(network, noise(2), times(0, 2), halfway, cache)
        same, _ = fused(network, noise(2), times(0, 2), told, cache)
        faded, _ = fused(network, noise(2), times(0, 2), told, cache.with_prompt(network.prompt_keys(halfway)))
        anew, renewed = bootstrap(network, noise(2), times(0, 2), halfway)
        whole = network(in_window(noise(2), WINDOW), times(0, 2), halfway)[:, CONTEXT:]
    assert torch.equal(kept, same)
    assert not torch.allclose(faded, same)
    assert close(anew, whole)
    assert not torch.allclose(faded, anew)
    assert not torch.allclose(renewed.key[1], cache.key[1])


def test_what_cannot_be_cached_is_refused() -> None:
    outpainting, encoder, causal = (make_network(mask, depth=1) for mask in (None, ENCODER_DECODER, BLOCK_CAUSAL))
    conditions, x, time_B = Song.random(BLOCKS + 1).conditions(0, BLOCKS), noise(1), times(0, 2)
    _, cache = bootstrap(causal, x, time_B, conditions)
    torn = dataclasses.replace(conditions, context_mask_BT=torch.zeros(ROWS, WINDOW))
    refusals = {
        "mask EncoderDecoder; Bidirectional": lambda: prefill(outpainting, conditions),
        "mask EncoderDecoder; BlockCausal": lambda: prefill(causal, conditions),
        "mask BlockCausal": lambda: bootstrap(encoder, x, time_B, conditions),
        "needs context_BTC": lambda: prefill(encoder, DiffusionConditions()),
        "must be 1 on all 16": lambda: prefill(encoder, torn),
        "the window is": lambda: prefill(encoder, conditions.frames(0, CONTEXT)),
        "the block has shape": lambda: denoise(causal, x[:, 1:], time_B, conditions, cache),
        "cutoff_frames is 21": lambda: fused(causal, x, time_B, conditions, cache, WINDOW + 1),
        "cutoff_frames is -1": lambda: fused(causal, x, time_B, conditions, cache, -1),
        "another network": lambda: denoise(make_network(BLOCK_CAUSAL, depth=2), x, time_B, conditions, cache),
        "not a cache of this window": lambda: denoise(causal, x, time_B, conditions, prefill(encoder, conditions)),
    }
    for sentence, refused in refusals.items():
        with pytest.raises(UserError, match=sentence):
            refused()
