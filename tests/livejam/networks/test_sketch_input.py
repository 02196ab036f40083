"""A sketch enters every pass of the diffusion transformer alike, and changes nothing where there is none."""

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
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from livejam.errors import UserError
from livejam.networks import DiffusionConditions, DiffusionTransformer, Unconditional
from livejam.networks.dense_block_causal import dense_velocity
from livejam.networks.diffusion_transformer import levels_of
from livejam.systems.blocks import BlockCausalCache, EncoderDecoderCache

CHANNELS = [1, 1, 7]
SLIDES = 4


def sketch(blocks: int, seed: int = 3) -> tuple[Tensor, Tensor]:
    """Curves and masks of a song; every control is absent in some frames."""
    rng = torch.Generator().manual_seed(seed)
    mask_BTG = torch.rand(ROWS, blocks * BLOCK, len(CHANNELS), generator=rng, dtype=torch.float64).round()
    values_BTK = torch.rand(ROWS, blocks * BLOCK, sum(CHANNELS), generator=rng, dtype=torch.float64)
    return values_BTK * mask_BTG.repeat_interleave(torch.tensor(CHANNELS), dim=-1), mask_BTG


def following(first: int, block: int, song: Song, curves: tuple[Tensor, Tensor]) -> DiffusionConditions:
    window = slice(first * BLOCK, (block + 1) * BLOCK)
    values_BTK, mask_BTG = (part[:, window] for part in curves)
    conditions = song.conditions(first, block, CONTEXT)
    return dataclasses.replace(conditions, sketch_BTK=values_BTK, sketch_mask_BTG=mask_BTG)


@pytest.mark.parametrize("levels", [None, 5])
@pytest.mark.parametrize("cache", [EncoderDecoderCache, BlockCausalCache])
def test_the_cached_passes_follow_as_the_whole_window_does(
    cache: type[EncoderDecoderCache] | type[BlockCausalCache], levels: int | None
) -> None:
    mask = ENCODER_DECODER if cache is EncoderDecoderCache else BLOCK_CAUSAL
    # with one layer, what a block of the context saw before the window does not matter
    depth = 3 if cache is EncoderDecoderCache else 1
    network = make_network(mask, mix=True, sketch=CHANNELS, depth=depth, levels=levels)
    song, curves, kept = Song.random(BLOCKS + SLIDES), sketch(BLOCKS + SLIDES), None
    with torch.no_grad():
        for slide in range(SLIDES):
            conditions = following(slide, BLOCKS + slide, song, curves)
            if cache is EncoderDecoderCache:
                velocity = EncoderDecoderCache(network, conditions, kept)
            else:
                velocity = BlockCausalCache(network, conditions, CONTEXT, kept)
            for step in range(2):
                noisy_BTC, time_B = noise(10 * slide + step), times(step, 2)
                whole_BTC = network(in_window(noisy_BTC, WINDOW), time_B, conditions)[:, CONTEXT:]
                assert torch.allclose(velocity(noisy_BTC, time_B), whole_BTC, atol=1e-9)
            kept = velocity.cache


def test_the_dense_pass_follows_as_the_cached_one_does() -> None:
    network, targets = make_network(BLOCK_CAUSAL, mix=True, sketch=CHANNELS), 3
    song, curves = Song.random(BLOCKS + targets), sketch(BLOCKS + targets)
    rng = torch.Generator().manual_seed(7)
    noisy_BNC = torch.randn(ROWS, targets * BLOCK, song.latents_BTC.shape[2], generator=rng, dtype=torch.float64)
    time_BK = torch.rand(ROWS, targets, generator=rng, dtype=torch.float64)
    everything = following(0, BLOCKS + targets - 1, song, curves)
    ones_BT = torch.ones_like(everything.context_mask_BT)
    everything = dataclasses.replace(
        everything, context_BTC=song.latents_BTC, context_mask_BT=ones_BT, mix_BTC=song.mix_BTC, mix_mask_BT=ones_BT
    )
    with torch.no_grad():
        nothing_B = torch.zeros(ROWS, dtype=torch.int64)
        dense_BNC = dense_velocity(network, noisy_BNC, time_BK, everything, nothing_B)
        kept = None
        for target in range(targets):
            velocity = BlockCausalCache(network, following(target, BLOCKS + target, song, curves), CONTEXT, kept)
            block = slice(target * BLOCK, (target + 1) * BLOCK)
            assert torch.allclose(velocity(noisy_BNC[:, block], time_BK[:, target]), dense_BNC[:, block], atol=1e-9)
            kept = velocity.cache


def test_a_new_input_changes_nothing_yet() -> None:
    """So that a model without sketches, and its checkpoints, can learn to follow them."""
    without = make_network(ENCODER_DECODER, mix=True)
    torch.manual_seed(0)
    network = DiffusionTransformer(
        3, 32, 3, 2, CONTEXT, BLOCK, 6, 5, mix_channels=3, mask=ENCODER_DECODER, sketch_channels=CHANNELS
    ).double()
    left = network.load_state_dict(without.state_dict(), strict=False)
    assert sorted(left.missing_keys) == [f"project_sketch.{control}.weight" for control in range(3)]
    assert not left.unexpected_keys
    song, (noisy_BTC, time_B) = Song.random(BLOCKS + 1), (in_window(noise(1), WINDOW), times(0, 2))
    asked = following(0, BLOCKS, song, sketch(BLOCKS + 1))
    plain = dataclasses.replace(asked, sketch_BTK=None, sketch_mask_BTG=None)
    with torch.no_grad():
        expected_BTC = without(noisy_BTC, time_B, plain)
        assert torch.equal(network(noisy_BTC, time_B, plain), expected_BTC)
        assert torch.allclose(network(noisy_BTC, time_B, asked), expected_BTC, atol=1e-12)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(2, 70))
def test_levels_share_one_and_keep_the_number(numbers: list[float], levels: int) -> None:
    curve_BT1 = torch.tensor(numbers, dtype=torch.float64)[None, :, None]
    found_BTL = levels_of(curve_BT1, levels)
    place_L = torch.linspace(0, 1, levels, dtype=torch.float64)
    assert found_BTL.shape == (1, len(numbers), levels)
    assert ((found_BTL >= 0) & (found_BTL <= 1)).all()
    assert ((found_BTL > 0).sum(dim=-1) <= 2).all()
    assert torch.allclose(found_BTL.sum(dim=-1), torch.ones(1, len(numbers), dtype=torch.float64), atol=1e-12)
    assert torch.allclose(found_BTL @ place_L, curve_BT1[..., 0], atol=1e-12)


@pytest.mark.parametrize("levels", [2, 64])
def test_levels_can_be_all_that_a_number_was(levels: int) -> None:
    """So that a trained model goes on with levels from where it was."""
    plain = make_network(ENCODER_DECODER, mix=True, sketch=CHANNELS)
    network = make_network(ENCODER_DECODER, mix=True, sketch=CHANNELS, levels=levels)
    weights, place_L = plain.state_dict(), torch.linspace(0, 1, levels, dtype=torch.float64)
    for control in (0, 1):
        name = f"project_sketch.{control}.weight"
        weights[name] = torch.cat((weights[name][:, :1], weights[name][:, 1:] * place_L), dim=1)
    network.load_state_dict(weights)
    song, (noisy_BTC, time_B) = Song.random(BLOCKS + 1), (in_window(noise(1), WINDOW), times(0, 2))
    asked = following(0, BLOCKS, song, sketch(BLOCKS + 1))
    with torch.no_grad():
        assert torch.allclose(network(noisy_BTC, time_B, asked), plain(noisy_BTC, time_B, asked), atol=1e-9)


def test_fewer_than_two_levels_are_refused() -> None:
    with pytest.raises(UserError, match="sketch_levels is 1"):
        make_network(ENCODER_DECODER, sketch=CHANNELS, levels=1)


@pytest.mark.parametrize("levels", [None, 6])
def test_nothing_asked_is_no_sketch_and_every_control_has_its_own_input(levels: int | None) -> None:
    network = make_network(ENCODER_DECODER, mix=True, sketch=CHANNELS, levels=levels)
    song = Song.random(BLOCKS + 1)
    noisy_BTC, time_B = in_window(noise(1), WINDOW), times(0, 2)
    asked = following(0, BLOCKS, song, sketch(BLOCKS + 1))
    side = Unconditional(without_prompt=False, without_mix=False, without_sketch=True)
    with torch.no_grad():
        full_BTC = network(noisy_BTC, time_B, asked)
        none_BTC = network(noisy_BTC, time_B, dataclasses.replace(asked, sketch_BTK=None, sketch_mask_BTG=None))
        assert torch.allclose(network(noisy_BTC, time_B, side.of(asked)), none_BTC, atol=1e-12)
        assert (full_BTC - none_BTC).abs().max() > 1e-3
        for control, projection in enumerate(network.layers_of_sketch):
            kept = projection.weight.clone()
            projection.weight.zero_()
            others_BTC = network(noisy_BTC, time_B, asked)
            projection.weight.copy_(kept)
            asked_mask_BTG = asked.sketch_mask_BTG.clone()
            asked_mask_BTG[..., control] = 0
            kept_BTK = asked_mask_BTG.repeat_interleave(torch.tensor(CHANNELS), dim=-1)
            masked = dataclasses.replace(asked, sketch_BTK=asked.sketch_BTK * kept_BTK, sketch_mask_BTG=asked_mask_BTG)
            assert torch.allclose(network(noisy_BTC, time_B, masked), others_BTC, atol=1e-12)
            assert (others_BTC - full_BTC).abs().max() > 1e-6


@pytest.mark.parametrize("wrong", ["channels", "frames", "no mask", "a network without sketches"])
def test_a_sketch_of_another_form_is_refused(wrong: str) -> None:
    network = make_network(ENCODER_DECODER, mix=True, sketch=None if "without" in wrong else CHANNELS)
    values_BTK, mask_BTG = sketch(BLOCKS + 1)
    values_BTK = values_BTK[..., :-1] if wrong == "channels" else values_BTK
    values_BTK = values_BTK[:, :-1] if wrong == "frames" else values_BTK
    song = Song.random(BLOCKS + 1)
    conditions = dataclasses.replace(
        song.conditions(0, BLOCKS, CONTEXT), sketch_BTK=values_BTK, sketch_mask_BTG=None if "no" in wrong else mask_BTG
    )
    with pytest.raises(UserError, match="sketch"):
        network(in_window(noise(1), WINDOW), times(0, 2), conditions)
