"""Up to rounding is no more than that."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rounding import assert_same_up_to_rounding


@given(st.integers(0, 2**31), st.permutations(range(40)))
def test_another_order_of_adding_is_the_same(seed: int, order: list[int]) -> None:
    x = torch.randn(40, 50, generator=torch.Generator().manual_seed(seed))
    one, other = torch.zeros(50), torch.zeros(50)
    for i, j in enumerate(order):
        one, other = one + x[i], other + x[j]
    assert_same_up_to_rounding(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_nothing_else_is(dtype: torch.dtype, scale: float) -> None:
    values = torch.linspace(-1, 1, 9, dtype=dtype) * scale
    assert_same_up_to_rounding(values, values.clone())
    moved, undefined = values.clone(), values.clone()
    moved[0] *= 1 + 10 * torch.finfo(dtype).eps
    undefined[3] = torch.nan
    for other in (moved, undefined, values[1:], values.double() if dtype != torch.float64 else values.float(), -values):
        with pytest.raises(AssertionError):
            assert_same_up_to_rounding(other, values)
        with pytest.raises(AssertionError):
            assert_same_up_to_rounding(values, other)
