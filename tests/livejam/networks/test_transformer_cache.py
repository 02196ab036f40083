"""A state of a stream is never changed: it can be kept, branched from and gone back to, and it costs no copy."""

from __future__ import annotations

import copy
import io
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from livejam.networks import CausalTransformer, TransformerCache
from livejam.networks.transformer_cache import joined

WINDOW = 5
ROW = torch.tensor([4])
CLOSE = 1e-6
"""The parallel pass, which trains, has its angles in float32."""


def make_network(sink: bool = True, window: int = WINDOW) -> CausalTransformer:
    torch.manual_seed(0)
    network = CausalTransformer(5, 3, 16, 2, 2, window_frames=window, sink=sink, class_channels=4)
    for name, parameter in network.named_parameters():
        if name.endswith("sink_H"):
            nn.init.normal_(parameter, mean=1.0)
    return network.double().requires_grad_(False)


NETWORK = make_network()


def frames(numbers: list[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noise and mix, a function of each frame's number alone."""
    rng = torch.Generator().manual_seed(seed)
    table = torch.randn(400, 8, generator=rng, dtype=torch.float64)
    return table[numbers, :3][None], table[numbers, 3:][None]


def play(numbers: list[int], cache: TransformerCache) -> tuple[Tensor, TransformerCache]:
    return NETWORK.step(*frames(numbers), ROW, cache)


def expected(heard: list[int]) -> Tensor:
    return NETWORK(*frames(heard), ROW)


@settings(max_examples=12, deadline=None)
@given(
    moves=st.lists(
        st.tuples(st.integers(0, 30), st.lists(st.integers(0, 399), min_size=1, max_size=9), st.booleans()),
        min_size=1,
        max_size=12,
    )
)
def test_any_state_can_be_gone_back_to_and_branched_from(moves: list[tuple[int, list[int], bool]]) -> None:
    """Every move continues one of the states seen so far, itself or its deep copy, and then plays what a stream with
    that history plays."""
    histories: list[tuple[list[int], TransformerCache]] = [([], NETWORK.init_cache(1))]
    for which, numbers, copied in moves:
        heard, cache = histories[which % len(histories)]
        out_BTC, newer = play(numbers, copy.deepcopy(cache) if copied else cache)
        assert (out_BTC - expected(heard + numbers)[:, len(heard) :]).abs().max() < CLOSE
        histories.append((heard + numbers, newer))
    for heard, cache in histories:
        out_BTC, _ = play([7], cache)
        assert (out_BTC - expected([*heard, 7])[:, -1:]).abs().max() < CLOSE


def test_the_newest_state_appends_in_place_and_an_older_one_copies() -> None:
    _, first = play([0], NETWORK.init_cache(1))
    _, second = play([1], first)
    _, branch = play([2], first)
    assert second.buffer_L2BHSE is first.buffer_L2BHSE
    assert branch.buffer_L2BHSE is not first.buffer_L2BHSE


def test_the_buffer_does_not_grow() -> None:
    cache, buffers = NETWORK.init_cache(1), set()
    for number in range(60):
        _, cache = play([number], cache)
        assert cache.buffer_L2BHSE.shape[-2] == 2 * WINDOW - 1
        buffers.add(id(cache.buffer_L2BHSE))
    assert cache.position_B.tolist() == [60]
    _, cache = play(list(range(30)), cache)
    _, cache = play([1], cache)
    assert cache.buffer_L2BHSE.shape[-2] == 2 * WINDOW - 1, "a long step does not leave its long buffer behind"


def test_a_snapshot_by_reference_equals_a_deep_copy_and_a_saved_one() -> None:
    _, cache = play(list(range(9)), NETWORK.init_cache(1))
    file = io.BytesIO()
    torch.save(cache, file)
    file.seek(0)
    copies = [cache, copy.deepcopy(cache), torch.load(file, weights_only=False)]
    _, later = play([20, 21], cache)
    play([22, 23], later)
    outputs = [play([11, 12], one)[0] for one in copies]
    assert all(torch.equal(output, outputs[0]) for output in outputs)


@pytest.mark.parametrize("sink", [False, True])
def test_frame_ten_million_is_as_exact_as_the_first(sink: bool) -> None:
    """In float32, where angles of such positions have no digit left that counts."""
    network, (noise_BTZ, mix_BTC) = make_network(sink).float(), frames(list(range(40)))
    start = network.init_cache(1)
    outputs = []
    for position in (0, 10_000_000, 10**15):
        cache = replace(start, position_B=torch.tensor([position]), filled_frames=WINDOW - 1)
        for number in range(40):
            part = slice(number, number + 1)
            out_BTC, cache = network.step(noise_BTZ[:, part].float(), mix_BTC[:, part].float(), ROW, cache)
        outputs.append(out_BTC)
    late = network(noise_BTZ.float(), mix_BTC.float(), ROW)[:, -1:]
    for output in outputs:
        assert (output - late).abs().max() < 1e-5


def test_rows_join_leave_and_stand_at_different_frames() -> None:
    heard: list[list[int]] = [list(range(50, 52)), list(range(13)), []]
    caches = [play(history, NETWORK.init_cache(1))[1] if history else NETWORK.init_cache(1) for history in heard]
    together, instruments = joined(caches), ROW.repeat(3)
    for number in range(100, 112):
        noise_BTZ, mix_BTC = (part.repeat(3, 1, 1) for part in frames([number]))
        out_BTC, together = NETWORK.step(noise_BTZ, mix_BTC, instruments, together)
        for row, history in enumerate(heard):
            history.append(number)
            assert (out_BTC[row] - expected(history)[0, -1:]).abs().max() < CLOSE
    assert together.position_B.tolist() == [14, 25, 12]


def test_another_instrument_is_heard_from_the_next_frame_on() -> None:
    noise_BTZ, mix_BTC = frames(list(range(8)))
    other = torch.tensor([11])
    _, cache = NETWORK.step(noise_BTZ[:, :7], mix_BTC[:, :7], ROW, NETWORK.init_cache(1))
    same, _ = NETWORK.step(noise_BTZ[:, 7:], mix_BTC[:, 7:], ROW.clone(), cache)
    changed, _ = NETWORK.step(noise_BTZ[:, 7:], mix_BTC[:, 7:], other, cache)
    again, _ = NETWORK.step(noise_BTZ[:, 7:], mix_BTC[:, 7:], ROW, cache)
    assert torch.equal(same, again)
    assert (changed - same).abs().max() > 1e-3


def test_a_state_of_inference_mode_plays_on_outside_it() -> None:
    with torch.inference_mode():
        _, cache = play([0, 1, 2], NETWORK.init_cache(1))
    with torch.no_grad():
        out_BTC, cache = play([3], cache)
    with torch.inference_mode():
        later_BTC, _ = play([4], cache)
    whole = expected([0, 1, 2, 3, 4])
    assert (torch.cat((out_BTC, later_BTC), dim=1) - whole[:, 3:]).abs().max() < CLOSE
