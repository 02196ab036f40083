"""Networks that take a reference: they begin as those without, and stream what they play offline."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from livejam.networks import CausalTransformer, SequenceDiscriminator

CHANNELS, FRAMES = 5, 12


def generator(reference_channels: int = CHANNELS, anticipations: int = 0, woken: bool = False) -> CausalTransformer:
    torch.manual_seed(0)
    network = CausalTransformer(
        6, 4, 16, 2, 2, window_frames=4, class_channels=8, anticipations=anticipations,
        reference_channels=reference_channels,
    )  # fmt: skip
    if woken and network.project_reference is not None:
        torch.nn.init.normal_(network.project_reference.weight)
    return network.eval()


def drawn(rows: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    noise_BTZ, mix_BTC = (torch.randn(rows, FRAMES, width, generator=rng) for width in (4, 6))
    return noise_BTZ, mix_BTC, torch.arange(rows), torch.randn(rows, CHANNELS, generator=rng)


def test_it_begins_as_the_network_without() -> None:
    network, plain = generator(), generator(0)
    missing = plain.load_state_dict({n: w for n, w in network.state_dict().items() if n in plain.state_dict()})
    assert not missing.missing_keys
    *heard, reference_BE = drawn()
    assert torch.equal(network(*heard, None, reference_BE), plain(*heard))
    assert torch.equal(plain(*heard, None, reference_BE), plain(*heard)), "others ignore it"


def test_no_reference_is_the_network_without_however_it_was_trained() -> None:
    network = generator(woken=True)
    network.reference_features.standardise_by(torch.randn(CHANNELS), torch.rand(CHANNELS) + 0.5)
    *heard, reference_BE = drawn()
    none = network(*heard)
    assert torch.equal(network(*heard, None, torch.zeros_like(reference_BE)), none)
    reference_BE[1] = 0
    some = network(*heard, None, reference_BE)
    assert torch.equal(some[1], none[1])
    assert (some[0] - none[0]).abs().max() > 1e-3


@pytest.mark.parametrize("chunk", [1, 5, FRAMES])
@pytest.mark.parametrize("anticipations", [0, 3])
def test_streamed_is_offline_with_a_reference(chunk: int, anticipations: int) -> None:
    network = generator(anticipations=anticipations, woken=True)
    noise_BTZ, mix_BTC, instrument_B, reference_BE = drawn()
    ahead_B = torch.full((3,), 2) if anticipations else None
    cache, pieces = network.init_cache(3), []
    for noise, mix in zip(noise_BTZ.split(chunk, 1), mix_BTC.split(chunk, 1), strict=True):
        out, cache = network.step(noise, mix, instrument_B, cache, ahead_B, reference_BE)
        pieces.append(out)
    offline = network(noise_BTZ, mix_BTC, instrument_B, ahead_B, reference_BE)
    assert torch.allclose(torch.cat(pieces, 1), offline, atol=1e-5)


def test_a_reference_that_changes_counts_from_the_next_frame_on() -> None:
    network = generator(woken=True)
    noise_BTZ, mix_BTC, instrument_B, reference_BE = drawn()
    other_BE = reference_BE.flip(0)

    def played(second_BE: Tensor | None) -> tuple[Tensor, Tensor]:
        cache = network.init_cache(3)
        first, cache = network.step(noise_BTZ[:, :6], mix_BTC[:, :6], instrument_B, cache, None, reference_BE)
        second, _ = network.step(noise_BTZ[:, 6:], mix_BTC[:, 6:], instrument_B, cache, None, second_BE)
        return first, second

    same, changed, gone = played(reference_BE), played(other_BE), played(None)
    assert torch.equal(same[0], changed[0])
    assert (same[1] - changed[1]).abs().max() > 1e-3
    assert (same[1] - gone[1]).abs().max() > 1e-3


def test_far_references_are_no_further_away() -> None:
    network = generator(woken=True)
    *heard, reference_BE = drawn()
    far = network(*heard, None, reference_BE.sign() * 1e6)
    assert torch.equal(far, network(*heard, None, reference_BE.sign() * 1e9))
    assert far.isfinite().all()


def test_the_discriminator_is_told_too() -> None:
    torch.manual_seed(0)
    judge = SequenceDiscriminator(6, 8, levels=2, blocks_per_level=1, groups=2, residual_gain=0.3, reference_channels=5)
    _, mix_BTC, instrument_B, reference_BE = drawn()
    plain_B = judge(mix_BTC, mix_BTC, instrument_B)
    assert torch.equal(judge(mix_BTC, mix_BTC, instrument_B, None, reference_BE), plain_B)
    for block in judge.blocks:
        torch.nn.init.normal_(block.reference_scale.weight)
    assert torch.equal(judge(mix_BTC, mix_BTC, instrument_B, None, torch.zeros(3, 5)), plain_B)
    assert (judge(mix_BTC, mix_BTC, instrument_B, None, reference_BE) - plain_B).abs().max() > 1e-3
