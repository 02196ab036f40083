"""Noise is standard normal, and a pure function of seed and position."""

from __future__ import annotations

import torch
from rounding import assert_same_up_to_rounding

from livejam.noise import seeded_noise


def positions(*frames: int) -> torch.Tensor:
    return torch.tensor([frames])


def test_depends_on_seed_and_position_alone() -> None:
    seed_B = torch.tensor([7, -3, 7])
    together = seeded_noise(seed_B, torch.arange(20).expand(3, -1), 9)
    assert_same_up_to_rounding(together[0], together[2])
    assert not torch.equal(together[0], together[1])
    later = seeded_noise(torch.tensor([-3]), positions(13, 14), 9)
    assert_same_up_to_rounding(later[0], together[1, 13:15])


def test_is_standard_normal_and_independent() -> None:
    noise_BTZ = seeded_noise(torch.arange(50), torch.arange(400).expand(50, -1), 16).double()
    assert abs(noise_BTZ.mean()) < 0.01
    assert abs(noise_BTZ.std() - 1) < 0.01
    assert abs(noise_BTZ.pow(4).mean() - 3) < 0.1
    for dim in range(3):
        rows = noise_BTZ.movedim(dim, 0).flatten(1)[:16]
        off_diagonal = torch.corrcoef(rows) - torch.eye(len(rows))
        assert off_diagonal.abs().max() < 6 / rows.shape[1] ** 0.5


def test_matches_its_published_generator() -> None:
    """SplitMix64 from state 0 yields these first outputs; the noise is Box-Muller of their high and low halves."""
    from livejam.noise import _STEP, _scramble

    words = _scramble(torch.arange(1, 4) * _STEP)
    assert [word % (1 << 64) for word in words.tolist()] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]
