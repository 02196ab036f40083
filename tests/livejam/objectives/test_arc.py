"""ARC's losses by hand, and its distributions of noise levels."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from livejam.errors import UserError
from livejam.objectives.arc import (
    ARCObjective,
    TruncatedLogitNormalTimes,
    approximate_gradient_penalty,
    arc_discriminator_loss,
    arc_generator_loss,
    contrastive_loss,
    level_gap,
    spectral_gap,
)

REAL_BM = torch.tensor([[1.0, 0.0], [0.5, 2.0]])
FAKE_BM = torch.tensor([[0.0, 2.0], [0.5, -1.0]])


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_losses_are_means_over_the_places_of_the_map() -> None:
    expected = [(softplus(-1) + softplus(2)) / 2, (softplus(0) + softplus(-3)) / 2]
    assert arc_discriminator_loss(REAL_BM, FAKE_BM).tolist() == pytest.approx(expected)
    assert contrastive_loss(REAL_BM, FAKE_BM).tolist() == pytest.approx(expected)
    expected = [(softplus(1) + softplus(-2)) / 2, (softplus(0) + softplus(3)) / 2]
    assert arc_generator_loss(FAKE_BM, REAL_BM).tolist() == pytest.approx(expected)


def test_a_map_is_not_the_score_of_its_mean() -> None:
    """Places are compared one by one: a rollout that is better early and worse late is not simply as good."""
    real_BM, fake_BM = torch.tensor([[3.0, -3.0]]), torch.tensor([[-3.0, 3.0]])
    assert arc_discriminator_loss(real_BM, fake_BM).item() == pytest.approx((softplus(-6) + softplus(6)) / 2)


def test_the_penalty_sums_squared_changes_over_the_map() -> None:
    score_BM = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    perturbed_BM = torch.tensor([[1.5, 1.0], [0.0, 0.1]])
    assert approximate_gradient_penalty(score_BM, perturbed_BM).tolist() == pytest.approx([1.25, 0.01])


def test_the_penalty_grows_to_the_squared_gradient() -> None:
    """For D(x) = w·x and small noise σ n, E[penalty] is σ² ‖w‖², which is what R1 penalises."""
    weight, sigma = torch.randn(8, dtype=torch.float64), 0.05
    x_BN = torch.randn(100_000, 8, dtype=torch.float64)
    noise_BN = sigma * torch.randn_like(x_BN)
    penalty_B = approximate_gradient_penalty((x_BN @ weight)[:, None], ((x_BN + noise_BN) @ weight)[:, None])
    assert penalty_B.mean().item() == pytest.approx(sigma**2 * weight.square().sum().item(), rel=0.05)


@given(cut=st.floats(0.01, 0.9))
def test_truncated_times_have_the_distribution_they_are_named_after(cut: float) -> None:
    """P(t ≤ x) against its closed form: 1 - t is a logit-normal number above the cut, stretched to [0, 1]."""
    times_B = TruncatedLogitNormalTimes(cut).draw(4000, torch.Generator().manual_seed(1))
    assert times_B.dtype == torch.float32
    assert ((times_B >= 0) & (times_B <= 1)).all()
    place = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9], dtype=torch.float64)
    normal = torch.distributions.Normal(torch.tensor(0.0, dtype=torch.float64), 1)
    below = normal.cdf(torch.logit(torch.tensor(cut, dtype=torch.float64)))
    expected = (1 - normal.cdf(torch.logit(cut + (1 - cut) * (1 - place)))) / (1 - below)
    found = (times_B[:, None] <= place).double().mean(0)
    assert torch.allclose(found, expected, atol=0.035), (found, expected)


@pytest.mark.parametrize("cut", [0.0, 1.0, -0.1])
def test_a_cut_outside_of_the_distribution_is_refused(cut: float) -> None:
    with pytest.raises(UserError, match=r"cut is .* between 0 and 1; the paper's is 0\.075"):
        TruncatedLogitNormalTimes(cut)


def noise(seed: int, samples: int = 16_384) -> torch.Tensor:
    return 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(gain_db=st.floats(-20, 20), seed=st.integers(0, 9))
def test_a_level_gap_is_the_gain(gain_db: float, seed: int) -> None:
    """Up and down alike, whatever is played; 4.34 dB are one."""
    real_BN = noise(seed)
    louder_BN = 10 ** (gain_db / 20) * real_BN
    assert level_gap(louder_BN, real_BN).tolist() == pytest.approx([abs(gain_db) / 4.343] * 2, abs=1e-3)
    assert level_gap(real_BN, louder_BN).tolist() == pytest.approx([abs(gain_db) / 4.343] * 2, abs=1e-3)
    assert level_gap(louder_BN, louder_BN.flip(1)).tolist() == pytest.approx([0, 0], abs=1e-9)


@given(gain_db=st.floats(-20, 20))
def test_a_spectral_gap_of_a_gain_is_the_gain_too(gain_db: float) -> None:
    """Log magnitudes move together and spread as before, as long as they are above the floor."""
    real_BN = 10 * noise(1)
    expected = abs(gain_db) / 8.686
    found = spectral_gap(10 ** (gain_db / 20) * real_BN, real_BN).tolist()
    assert found == pytest.approx([expected] * 2, rel=0.05, abs=1e-6)


def test_spectra_over_a_long_time_do_not_ask_for_the_pair() -> None:
    """Equal music costs nothing, the same bars in another order next to nothing, other noise a little, another timbre
    much more; rows stay apart."""
    real_BN = torch.cat([noise(1), 0.1 * noise(2)], dim=1)
    ordered_BN, other_BN = real_BN.roll(16_384, dims=1), torch.cat([noise(3), 0.1 * noise(4)], dim=1)
    dull_BN = real_BN.unfold(1, 8, 1).mean(-1)
    dull_BN = torch.nn.functional.pad(dull_BN, (0, 7))
    equal, ordered, other, dull = (
        spectral_gap(music_BN, real_BN).mean().item() for music_BN in (real_BN, ordered_BN, other_BN, dull_BN)
    )
    assert equal == 0
    assert ordered < 0.5 * other < other < 0.5 * dull
    mixed_BN = torch.stack([real_BN[0], dull_BN[1]])
    assert spectral_gap(mixed_BN, real_BN)[0] == 0
    assert spectral_gap(mixed_BN, real_BN)[1] > 0.5 * dull


def test_silence_has_finite_gradients() -> None:
    silent_BN = torch.zeros(2, 4096, requires_grad=True)
    (level_gap(silent_BN, noise(1, 4096).float()) + spectral_gap(silent_BN, noise(1, 4096).float())).sum().backward()
    assert silent_BN.grad is not None
    assert silent_BN.grad.isfinite().all()


@given(level=st.floats(0, 3), spectral=st.floats(0, 3))
def test_sound_costs_what_its_parts_weigh(level: float, spectral: float) -> None:
    objective = ARCObjective(level_weight=level, spectral_weight=spectral)
    real_BAN, fake_BAN = noise(1)[:, None], noise(2)[:, None]
    loss, parts = objective.sound_loss(real_BAN, fake_BAN)
    expected = level * parts["loss/level"].item() + spectral * parts["loss/spectral"].item()
    assert loss.item() == pytest.approx(expected)
    assert objective.hears_sound == bool(level or spectral)
    assert not ARCObjective().hears_sound
