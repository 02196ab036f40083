"""One pass over a crop computes every block as playing does."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from diffusion_toys import BLOCK, BLOCK_CAUSAL, BLOCKS, CHANNELS, CONTEXT, ROWS, Song, in_window, make_network
from torch import Tensor

from livejam.errors import UserError
from livejam.networks import BlockCausal, DiffusionConditions, DiffusionTransformer
from livejam.networks.dense_block_causal import DenseBlockCausal, dense_velocity
from livejam.networks.diffusion_masks import flex_mask
from livejam.systems.blocks import bootstrap, fused

TARGETS = 5
NOTHING = torch.zeros(ROWS, dtype=torch.int64)
"""Of its own mix: cutoff 0."""


def crop(song: Song, heard_blocks: int = BLOCKS + TARGETS) -> DiffusionConditions:
    """All that was played and heard."""
    plain = song.conditions(0, BLOCKS + TARGETS - 1)
    heard_BT = torch.ones_like(plain.context_mask_BT)
    heard_BT[:, heard_blocks * BLOCK :] = 0
    return dataclasses.replace(
        plain,
        context_BTC=song.latents_BTC,
        context_mask_BT=torch.ones_like(plain.context_mask_BT),
        mix_BTC=song.mix_BTC * heard_BT[..., None],
        mix_mask_BT=heard_BT,
    )


def drawn(seed: int = 5) -> tuple[Tensor, Tensor]:
    """Blocks with noise, and their noise levels."""
    rng = torch.Generator().manual_seed(seed)
    noisy_BNC = torch.randn(ROWS, TARGETS * BLOCK, CHANNELS, generator=rng, dtype=torch.float64)
    return noisy_BNC, torch.rand(ROWS, TARGETS, generator=rng, dtype=torch.float64)


def close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= 1e-9 * max(1.0, float(other.abs().max())))


@pytest.mark.parametrize(
    "mask", [BLOCK_CAUSAL, BlockCausal(BLOCK, BLOCKS, 2)], ids=["the paper's window", "a shorter one"]
)
def test_every_block_is_what_the_cached_pass_plays(mask: BlockCausal) -> None:
    network, song = make_network(mask, mix=True), Song.random(BLOCKS + TARGETS)
    (noisy_BNC, time_BK), cache = drawn(), None
    with torch.no_grad():
        dense_BNC = dense_velocity(network, noisy_BNC, time_BK, crop(song), NOTHING)
        for target, noisy_BTC in enumerate(noisy_BNC.split(BLOCK, dim=1)):
            window, time_B = song.conditions(target, BLOCKS + target, CONTEXT), time_BK[:, target]
            if cache is None:
                played_BTC, cache = bootstrap(network, noisy_BTC, time_B, window)
            else:
                played_BTC, cache = fused(network, noisy_BTC, time_B, window, cache, CONTEXT)
            assert close(dense_BNC[:, target * BLOCK : (target + 1) * BLOCK], played_BTC)


@pytest.mark.parametrize("heard_frames", range(BLOCK + 1))
def test_the_first_block_is_the_window_pass_and_with_one_layer_every_block(heard_frames: int) -> None:
    """For every horizon from cutoff 0 to +1."""
    for depth in (3, 1):
        network, song = make_network(BLOCK_CAUSAL, mix=True, depth=depth), Song.random(BLOCKS + TARGETS)
        noisy_BNC, time_BK = drawn()
        with torch.no_grad():
            dense_BNC = dense_velocity(network, noisy_BNC, time_BK, crop(song), NOTHING + heard_frames)
            for target in range(1 if depth > 1 else TARGETS):
                block = slice(target * BLOCK, (target + 1) * BLOCK)
                window = song.conditions(target, BLOCKS + target, CONTEXT + heard_frames)
                whole = network(in_window(noisy_BNC[:, block], CONTEXT + BLOCK), time_BK[:, target], window)
                assert close(dense_BNC[:, block], whole[:, CONTEXT:])


def test_every_row_has_its_own_horizon() -> None:
    network, song, (noisy_BNC, time_BK) = make_network(BLOCK_CAUSAL, mix=True), Song.random(BLOCKS + TARGETS), drawn()
    horizons = torch.arange(ROWS) % (BLOCK + 1)
    with torch.no_grad():
        mixed_BNC = dense_velocity(network, noisy_BNC, time_BK, crop(song), horizons)
        for row, frames in enumerate(horizons.tolist()):
            alike_BNC = dense_velocity(network, noisy_BNC, time_BK, crop(song), NOTHING + frames)
            assert close(mixed_BNC[row], alike_BNC[row])


def test_a_block_depends_on_nothing_that_is_later_and_not_on_another_blocks_noise() -> None:
    network, song = make_network(BLOCK_CAUSAL, mix=True), Song.random(BLOCKS + TARGETS)
    (noisy_BNC, time_BK), place = drawn(), (BLOCKS + 2) * BLOCK
    other = Song.random(BLOCKS + TARGETS, seed=9)
    later = dataclasses.replace(
        song,
        latents_BTC=torch.cat((song.latents_BTC[:, :place], other.latents_BTC[:, place:]), dim=1),
        mix_BTC=torch.cat((song.mix_BTC[:, :place], other.mix_BTC[:, place:]), dim=1),
    )
    noise_BNC, levels_BK = drawn(8)
    own = slice(2 * BLOCK, 3 * BLOCK)
    noise_BNC[:, own], levels_BK[:, 2] = noisy_BNC[:, own], time_BK[:, 2]
    with torch.no_grad():
        one = dense_velocity(network, noisy_BNC, time_BK, crop(song), NOTHING)[:, own]
        same = dense_velocity(network, noise_BNC, levels_BK, crop(later), NOTHING)[:, own]
    assert close(one, same)


def test_flex_attention_sees_the_same() -> None:
    dense = DenseBlockCausal(BLOCK_CAUSAL, BLOCKS + TARGETS)
    positions = len(dense.positions(torch.device("cpu")))
    index = torch.arange(positions)
    allowed = dense.allowed(index[:, None], index[None, :])
    assert bool(allowed.any(dim=1).all())
    blocks = flex_mask(dense, positions, torch.device("cpu"))
    functional = torch.stack([blocks.mask_mod(0, 0, query, index) for query in index])
    assert torch.equal(functional, allowed)


def _refused(network: DiffusionTransformer, blocks: int, words: str) -> None:
    song, noisy_BNC = Song.random(BLOCKS + TARGETS), torch.zeros(ROWS, blocks, CHANNELS, dtype=torch.float64)
    with pytest.raises(UserError, match=words):
        dense_velocity(network, noisy_BNC, torch.zeros(ROWS, TARGETS), crop(song), NOTHING)


def test_what_does_not_fit_is_refused() -> None:
    _refused(make_network(mix=True), TARGETS * BLOCK, "needs the mask BlockCausal")
    _refused(make_network(BLOCK_CAUSAL, mix=True), BLOCK, "conditions and network expect")
    _refused(make_network(BlockCausal(BLOCK, 9), 9 * BLOCK, mix=True), BLOCK, "choose 36 plus a multiple of 4")
