"""The loss that teaches to hear the beat: right is 0, not knowing is a half, and unknown beats do not count."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from livejam.objectives.beat import beat_loss

BEATS = torch.tensor([[0.0, 0.25, 0.5, 0.75, 1.0], [7.1, 7.3, 7.5, 7.7, 7.9]])


def hands(beat_BT: Tensor, size: float = 1.0) -> Tensor:
    angle_BT = 2 * math.pi * beat_BT
    return size * torch.stack((angle_BT.cos(), angle_BT.sin()), dim=-1)


@pytest.mark.parametrize(
    ("found_BT2", "loss", "cosine"),
    [
        (hands(BEATS), 0.0, 1.0),
        (hands(BEATS + 3), 0.0, 1.0),
        (hands(BEATS, 0.5), 0.125, 1.0),
        (hands(BEATS + 0.5), 2.0, -1.0),
        (hands(BEATS + 0.25), 1.0, 0.0),
        (torch.zeros(2, 5, 2), 0.5, 0.0),
    ],
)
def test_distance_on_the_circle(found_BT2: Tensor, loss: float, cosine: float) -> None:
    measured = beat_loss(found_BT2, BEATS)
    assert [value.item() for value in measured] == pytest.approx([loss, cosine], abs=1e-5)


def test_unknown_beats_neither_count_nor_reach_the_gradient() -> None:
    found_BT2 = torch.randn(2, 5, 2, requires_grad=True)
    unknown = BEATS.clone()
    unknown[0, 2:] = math.nan
    known_BT = unknown.isfinite()
    loss, cosine = beat_loss(found_BT2, unknown)
    loss.backward()
    alone = beat_loss(found_BT2.detach()[known_BT][None], unknown[known_BT][None])
    torch.testing.assert_close(torch.stack((loss.detach(), cosine)), torch.stack(alone))
    assert found_BT2.grad is not None
    assert not found_BT2.grad[~known_BT].any()
    assert found_BT2.grad[known_BT].all()


def test_nothing_known_is_no_loss() -> None:
    found_BT2 = torch.randn(2, 5, 2, requires_grad=True)
    loss, cosine = beat_loss(found_BT2, torch.full((2, 5), math.nan))
    loss.backward()
    assert loss == 0
    assert cosine == 0
    assert found_BT2.grad is not None
    assert not found_BT2.grad.any()
