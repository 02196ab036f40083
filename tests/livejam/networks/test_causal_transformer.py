"""What is streamed is what was trained: the step equals the parallel pass, and neither hears the future."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from livejam.networks import CausalTransformer
from livejam.networks.transformer_cache import joined

FRAMES, WINDOW = 23, 6
INSTRUMENTS = torch.tensor([4, 18])


def make_network(sink: bool, causal: bool = True, window: int = WINDOW, blocks: int = 3) -> CausalTransformer:
    """Random weights everywhere, sinks included, so that nothing cancels by being zero."""
    torch.manual_seed(0)
    network = CausalTransformer(5, 3, 16, blocks, 2, window_frames=window, sink=sink, causal=causal, class_channels=4)
    for name, parameter in network.named_parameters():
        if name.endswith("sink_H"):
            nn.init.normal_(parameter, mean=1.0)
    return network.double()


def make_input(frames: int = FRAMES, seed: int = 1) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    noise_BTZ = torch.randn(2, frames, 3, generator=rng, dtype=torch.float64)
    return noise_BTZ, torch.randn(2, frames, 5, generator=rng, dtype=torch.float64)


def stream(network: CausalTransformer, noise_BTZ: Tensor, mix_BTC: Tensor, chunks: list[int]) -> Tensor:
    cache, played, start = network.init_cache(len(mix_BTC)), [], 0
    for length in chunks:
        part = slice(start, start + length)
        out_BTC, cache = network.step(noise_BTZ[:, part], mix_BTC[:, part], INSTRUMENTS, cache)
        played.append(out_BTC)
        start += length
    return torch.cat(played, dim=1)


@pytest.mark.parametrize("sink", [False, True])
@pytest.mark.parametrize("chunk", [1, 3, 8, FRAMES])
def test_step_equals_parallel_pass_beyond_the_window(sink: bool, chunk: int) -> None:
    network, (noise_BTZ, mix_BTC) = make_network(sink), make_input()
    chunks = [chunk] * (FRAMES // chunk) + [FRAMES % chunk] * (FRAMES % chunk > 0)
    with torch.no_grad():
        parallel = network(noise_BTZ, mix_BTC, INSTRUMENTS)
        streamed = stream(network, noise_BTZ, mix_BTC, chunks)
    assert (parallel - streamed).abs().max() < 1e-6


@settings(max_examples=10, deadline=None)
@given(chunks=st.lists(st.integers(1, 7), min_size=1, max_size=6), sink=st.booleans(), window=st.integers(1, 9))
def test_step_equals_parallel_pass_for_any_chunks(chunks: list[int], sink: bool, window: int) -> None:
    network, (noise_BTZ, mix_BTC) = make_network(sink, window=window, blocks=2), make_input(sum(chunks))
    with torch.no_grad():
        difference = network(noise_BTZ, mix_BTC, INSTRUMENTS) - stream(network, noise_BTZ, mix_BTC, chunks)
    assert difference.abs().max() < 1e-6


def test_rows_may_join_a_batch_at_different_times() -> None:
    """A row that has heard less than its neighbours plays what it would have played alone."""
    network, (noise_BTZ, mix_BTC) = make_network(sink=True), make_input()
    with torch.no_grad():
        alone = network(noise_BTZ, mix_BTC, INSTRUMENTS)
        _, cache = network.step(noise_BTZ[:1, :4], mix_BTC[:1, :4], INSTRUMENTS[:1], network.init_cache(1))
        mixed = joined((cache, network.init_cache(1)))
        out_BTC, mixed = network.step(
            torch.stack((noise_BTZ[0, 4:7], noise_BTZ[1, :3])),
            torch.stack((mix_BTC[0, 4:7], mix_BTC[1, :3])),
            INSTRUMENTS,
            mixed,
        )
    assert torch.allclose(out_BTC[0], alone[0, 4:7], atol=1e-6)
    assert torch.allclose(out_BTC[1], alone[1, :3], atol=1e-6)
    assert mixed.position_B.tolist() == [7, 3]


def test_a_step_in_half_precision_knows_its_position() -> None:
    """Angles of late frames have no digit left in bfloat16."""
    network = make_network(sink=True).float()
    noise_BTZ, mix_BTC = (part.float() for part in make_input())
    cache = replace(network.init_cache(2), position_B=torch.tensor([4000, 70_001]), filled_frames=WINDOW - 1)
    with torch.no_grad():
        parallel = network(noise_BTZ, mix_BTC, INSTRUMENTS)[:, -1:]
        for frame in range(FRAMES):
            part = slice(frame, frame + 1)
            with torch.autocast("cpu", torch.bfloat16):
                out_BTC, cache = network.step(noise_BTZ[:, part], mix_BTC[:, part], INSTRUMENTS, cache)
    assert (out_BTC.float() - parallel).square().mean().sqrt() < 0.02 * parallel.std()


@pytest.mark.parametrize("which", ["noise", "mix"])
@pytest.mark.parametrize("changed", [0, 9, FRAMES - 1])
def test_the_future_changes_nothing(which: str, changed: int) -> None:
    network, (noise_BTZ, mix_BTC) = make_network(sink=True), make_input()
    other_noise, other_mix = noise_BTZ.clone(), mix_BTC.clone()
    (other_noise if which == "noise" else other_mix)[:, changed] += 1.0
    with torch.no_grad():
        before, after = network(noise_BTZ, mix_BTC, INSTRUMENTS), network(other_noise, other_mix, INSTRUMENTS)
    assert torch.equal(before[:, :changed], after[:, :changed])
    assert (before[:, changed] != after[:, changed]).any()


def test_receptive_field_is_blocks_times_window() -> None:
    network, (noise_BTZ, mix_BTC) = make_network(sink=False), make_input()
    mix_BTC.requires_grad_()
    network(noise_BTZ, mix_BTC, INSTRUMENTS)[:, -1].sum().backward()
    reached = mix_BTC.grad.abs().sum(dim=(0, 2)) > 0
    field = 3 * (WINDOW - 1) + 1
    assert reached.tolist() == [False] * (FRAMES - field) + [True] * field


def test_bidirectional_form_hears_the_future_and_cannot_stream() -> None:
    network, (noise_BTZ, mix_BTC) = make_network(sink=True, causal=False), make_input()
    other_mix = mix_BTC.clone()
    other_mix[:, 12] += 1.0
    with torch.no_grad():
        difference = network(noise_BTZ, mix_BTC, INSTRUMENTS) - network(noise_BTZ, other_mix, INSTRUMENTS)
    assert (difference[:, :12].abs().sum(dim=(0, 2)) > 0).all()
    with pytest.raises(ValueError, match="cannot stream"):
        network.step(noise_BTZ, mix_BTC, INSTRUMENTS, network.init_cache(2))


def test_instrument_and_sink_matter() -> None:
    network, (noise_BTZ, mix_BTC) = make_network(sink=True), make_input()
    with torch.no_grad():
        before = network(noise_BTZ, mix_BTC, INSTRUMENTS)
        assert not torch.allclose(before, network(noise_BTZ, mix_BTC, torch.tensor([5, 17])))
        for block in network.blocks:
            block.attention.sink_H.add_(1.0)
        assert not torch.allclose(before, network(noise_BTZ, mix_BTC, INSTRUMENTS))


def test_paper_size() -> None:
    """LiveBand section 4.7: about 150 M parameters."""
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in CausalTransformer(latent_channels=128).parameters())
    assert 140e6 < count < 160e6
