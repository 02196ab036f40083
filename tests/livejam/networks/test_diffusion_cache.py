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
    WINDOW,
    Song,
    in_window,
    make_network,
    noise,
    times,
)
from torch import Tensor

from livejam.networks import DiffusionConditions, DiffusionTransformer
from livejam.networks.diffusion_cache import DiffusionCache

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


def twin(network: DiffusionTransformer, blocks: int, last_place: int, jam: bool) -> DiffusionTransformer:
    """The same weights over the whole history."""
    other = make_network(WholeHistory(blocks, last_place), blocks * BLOCK, len(network.blocks), jam).to(
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
            cache = network.prefill(conditions)
            x = noise(block, dtype)
            for step in range(steps):
                velocity = network.denoise(x, times(step, steps, dtype), conditions, cache)
                whole = network(in_window(x, WINDOW), times(step, steps, dtype), conditions)
                assert close(velocity, whole[:, CONTEXT:])
                x = x - velocity / steps


@PRECISIONS
@STEPS
def test_block_causal_equals_the_whole_history(dtype: torch.dtype, steps: int) -> None:
    network, song = make_network(BLOCK_CAUSAL, dtype=dtype), Song.random(BLOCKS + 6, dtype=dtype)
    assert_streams_like_history(network, song, steps, None, BLOCKS - 1)


@pytest.mark.parametrize("cutoff", [BLOCK * 2, BLOCK * 3 - 1, BLOCK * 3, CONTEXT, CONTEXT + 2, WINDOW])
def test_jam_that_slides_into_the_context_is_heard(cutoff: int) -> None:
    network, song = make_network(BLOCK_CAUSAL, jam=True), Song.random(BLOCKS + 6)
    last_place = min(BLOCKS, cutoff // BLOCK) - 1
    assert_streams_like_history(network, song, 2, cutoff, last_place)


def assert_streams_like_history(
    network: DiffusionTransformer, song: Song, steps: int, cutoff: int | None, last_place: int
) -> None:
    dtype, cache = song.latents_BTC.dtype, None
    with torch.no_grad():
        for block in range(BLOCKS, BLOCKS + 6):
            whole_network = twin(network, block, last_place, jam=cutoff is not None)
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
        return network.bootstrap(x, time_B, conditions)
    if step == 0:
        return network.fused(x, time_B, conditions, cache, cutoff)
    return network.denoise(x, time_B, conditions, cache), cache


@PRECISIONS
def test_bootstrap_is_the_training_pass(dtype: torch.dtype) -> None:
    network, song = make_network(BLOCK_CAUSAL, dtype=dtype), Song.random(BLOCKS + 1, dtype=dtype)
    conditions, x, time_B = song.conditions(0, BLOCKS), noise(3, dtype), times(1, 3, dtype)
    with torch.no_grad():
        velocity, _ = network.bootstrap(x, time_B, conditions)
        assert close(velocity, network(in_window(x, WINDOW), time_B, conditions)[:, CONTEXT:])
