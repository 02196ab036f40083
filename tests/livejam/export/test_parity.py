"""What of the differences between an exported model and PyTorch is rounding, and what is a fault."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livejam.errors import UserError
from livejam.export.parity import LARGEST, ROUNDINGS, Parity

NAME = "accompaniment_latents"
ALLOWED = LARGEST[NAME]


def parity(*values: float) -> Parity:
    return Parity(len(values), {NAME: values}, 1.0, 1.0)


def test_the_largest_difference_is_told_and_what_is_no_number_is_the_largest() -> None:
    (found,) = parity(0.0, 3e-4, 1e-5).differences
    assert (found.tensor, found.step, found.value) == (NAME, 1, 3e-4)
    assert parity(0.0, 3e-4).is_rounding
    (found,) = parity(0.0, math.nan, 5.0).differences
    assert found.step == 1
    assert not parity(0.0, math.nan).is_rounding


@given(st.lists(st.floats(0, 0.1), min_size=1, max_size=6), st.data())
def test_a_step_may_differ_by_the_roundings_until_then(own: list[float], data: st.DataObject) -> None:
    widest = [max(own[: step + 1]) for step in range(len(own))]
    parity(*(0.99 * (ALLOWED + ROUNDINGS * value) for value in widest)).require({NAME: own})
    step = data.draw(st.integers(0, len(own) - 1))
    wrong = [0.0] * len(own)
    wrong[step] = 1.01 * (ALLOWED + ROUNDINGS * widest[step])
    with pytest.raises(UserError, match=rf"in {NAME} at step {step} of {len(own)} \(at most .* is right\)"):
        parity(*wrong).require({NAME: own})


def test_what_comes_later_excuses_nothing_and_neither_does_what_is_no_number() -> None:
    with pytest.raises(UserError, match="at step 0"):
        parity(0.01, 0.0).require({NAME: [0.0, 1.0]})
    for value, own in ((math.nan, 1.0), (0.01, math.nan)):
        with pytest.raises(UserError, match="at step 0"):
            parity(value).require({NAME: [own]})
