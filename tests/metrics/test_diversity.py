"""How many different stretches there are, and how alike they are."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrics.diversity import gaussian_kernel, repetition, vendi_score


def test_vendi_score_counts_what_differs() -> None:
    assert vendi_score(np.ones((5, 5))) == pytest.approx(1)
    assert vendi_score(np.eye(5)) == pytest.approx(5)
    groups = np.kron(np.eye(3), np.ones((4, 4)))
    assert vendi_score(groups) == pytest.approx(3)
    assert math.isnan(vendi_score(np.zeros((0, 0))))
    points = np.array([[0.0], [0.0], [10.0]])
    expected = math.exp(-(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)))
    assert vendi_score(gaussian_kernel(points, 1.0)) == pytest.approx(expected)


def test_repetition_finds_what_came_before_at_any_delay() -> None:
    rng = np.random.default_rng(0)
    new = rng.normal(size=(4, 60, 8))
    assert repetition(new) < 0.3
    assert repetition(np.repeat(new[:2], 2, axis=0)[[0, 2, 1, 3]]) > 0.6
    again = new.copy()
    again[3] = again[1]
    again[2, 10:] = again[0, :50]
    alike = repetition(again)
    assert alike > (repetition(new[:2]) + 0.7 + 0.95) / 3
    assert math.isnan(repetition(new[:1]))
