"""Agreement with a sketch: 1 for itself, nothing for chance, and undefined where there is nothing to follow."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from livejam.sketch import CONTROLS, packed
from metrics.sketch_adherence import agreement, shifted_agreement


def curves(frames: int, seed: int) -> Tensor:
    """Loud enough everywhere, with four notes per frame."""
    rng = torch.Generator().manual_seed(seed)
    levels_T2 = 0.3 + 0.5 * torch.rand(frames, 2, generator=rng, dtype=torch.float64)
    strength_TK = torch.zeros(frames, 128, dtype=torch.float64)
    notes_T4 = torch.rand(frames, 60, generator=rng).topk(4, dim=1).indices + 30
    strength_TK.scatter_(1, notes_T4, 0.1 + 0.9 * torch.rand(frames, 4, generator=rng, dtype=torch.float64))
    return packed(levels_T2[None, :, :1], levels_T2[None, :, 1:], strength_TK[None], 4)[0]


@settings(deadline=None, max_examples=30)
@given(st.integers(8, 80), st.integers(0, 2**31))
def test_a_sketch_agrees_with_itself_and_every_number_is_in_range(frames: int, seed: int) -> None:
    asked_TP, other_TP = curves(frames, seed), curves(frames, seed + 1)
    assert agreement(asked_TP, asked_TP) == pytest.approx(dict.fromkeys(CONTROLS, 1.0))
    other = agreement(asked_TP, other_TP)
    assert all(-1 <= other[name] <= 1 for name in CONTROLS)
    assert other["pitch"] >= 0


def test_loudness_and_brightness_are_the_same_at_another_level() -> None:
    asked_TP = curves(60, 0)
    softer_TP = asked_TP.clone()
    softer_TP[:, :2] = 0.1 + 0.5 * asked_TP[:, :2]
    assert agreement(asked_TP, softer_TP) == pytest.approx(dict.fromkeys(CONTROLS, 1.0))


def test_chance_agrees_in_nothing() -> None:
    many = [agreement(curves(200, seed), curves(200, seed + 1000)) for seed in range(40)]
    for name, most in (("loudness", 0.05), ("brightness", 0.05), ("pitch", 0.12)):
        assert abs(sum(each[name] for each in many) / len(many)) < most


def test_another_time_is_told_from_this_one() -> None:
    asked_TP = curves(100, 3)
    assert agreement(asked_TP, asked_TP)["loudness"] == pytest.approx(1)
    shifted = shifted_agreement(asked_TP, asked_TP, 10)
    assert all(abs(shifted[name]) < 0.3 for name in CONTROLS)
    periodic_TP = curves(10, 4).repeat(10, 1)
    assert shifted_agreement(periodic_TP, periodic_TP, 10) == pytest.approx(dict.fromkeys(CONTROLS, 1.0))


def test_what_cannot_be_followed_is_undefined_and_who_follows_nothing_gets_nothing() -> None:
    asked_TP, silent_TP = curves(50, 5), curves(50, 5)
    silent_TP[:] = torch.tensor([0.0, 0, -1, -1, -1, -1, 0, 0, 0, 0])
    assert agreement(asked_TP, silent_TP) == dict.fromkeys(CONTROLS, 0.0)
    # a few silent frames count against loudness and pitch, and brightness is that of the others
    late_TP = asked_TP.clone()
    late_TP[:10] = silent_TP[:10]
    assert agreement(asked_TP, late_TP)["brightness"] == pytest.approx(1)
    assert agreement(asked_TP, late_TP)["loudness"] < 0.9
    for undefined in (agreement(silent_TP, asked_TP), agreement(asked_TP[:4], asked_TP[:4])):
        assert all(math.isnan(undefined[name]) for name in CONTROLS)
    assert all(math.isnan(number) for number in shifted_agreement(asked_TP[:4], asked_TP[:4], 10).values())
