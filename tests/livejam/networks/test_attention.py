"""The mask function, rotary positions and the sink, each against its definition."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from livejam.networks.windowed_attention import (
    attend_dense,
    attend_flex,
    dense_mask,
    flex_block_mask,
    rotary_table,
    rotate,
    window_mask,
)


def make_heads(frames: int, seed: int = 0) -> list[Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 3, frames, 8, generator=rng) for _ in range(3)]


@given(window=st.integers(1, 12), causal=st.booleans(), query=st.integers(0, 40), key=st.integers(0, 40))
def test_window_mask_by_definition(window: int, causal: bool, query: int, key: int) -> None:
    allowed = bool(window_mask(window, causal)(torch.tensor(query), torch.tensor(key)))
    seen = range(query - window + 1, query + 1 if causal else query + window)
    assert allowed == (key in seen)


@pytest.mark.parametrize("sink", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_flex_attention_equals_dense_attention(sink: bool, causal: bool) -> None:
    """FlexAttention's eager form runs on the CPU; it reads the mask through its own block-sparse form."""
    frames, window = 40, 7
    q, k, v = (x.double() for x in make_heads(frames))
    sink_H = torch.tensor([-1.0, 0.5, 3.0], dtype=torch.float64) if sink else None
    block_mask = flex_block_mask(window, causal, frames, "cpu")
    flex = attend_flex(q, k, v, block_mask, sink_H, compiled=False)
    allowed = dense_mask(window_mask(window, causal), 0, frames, frames, q.device)
    assert torch.allclose(flex, attend_dense(q, k, v, allowed, sink_H), rtol=0, atol=1e-6 if sink else 1e-12)


def test_sink_is_a_term_of_the_softmax_denominator() -> None:
    q, k, v = (x.double() for x in make_heads(9))
    sink_H = torch.tensor([-2.0, 0.0, 2.0], dtype=torch.float64)
    allowed = dense_mask(window_mask(4, True), 0, 9, 9, q.device)
    weight = ((q @ k.mT) / 8**0.5).masked_fill(~allowed, float("-inf")).exp()
    expected = weight @ v / (weight.sum(-1, keepdim=True) + sink_H.exp().view(-1, 1, 1))
    assert torch.allclose(attend_dense(q, k, v, allowed, sink_H), expected, atol=1e-6)


def test_sink_learns() -> None:
    q, k, v = make_heads(9)
    sink_H = torch.zeros(3, requires_grad=True)
    attend_dense(q, k, v, dense_mask(window_mask(4, True), 0, 9, 9, q.device), sink_H).square().sum().backward()
    assert sink_H.grad is not None
    assert (sink_H.grad < 0).all(), "a larger sink takes attention, and so energy, away"


@settings(max_examples=20, deadline=None)
@given(first=st.integers(0, 5000), second=st.integers(0, 5000), shift=st.integers(0, 5000))
def test_rotary_positions_are_relative(first: int, second: int, shift: int) -> None:
    q, k = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(2)).double()

    def score(query: int, key: int) -> Tensor:
        tables = [tuple(part.double() for part in rotary_table(p, 1, 8, q.device)) for p in (query, key)]
        return (rotate(q, tables[0]) * rotate(k, tables[1])).sum()

    assert torch.allclose(score(first, second), score(first + shift, second + shift), atol=1e-2)
    assert torch.allclose(rotate(q, rotary_table(0, 1, 8, q.device)), q)
