"""Streaming resampling: equal to the whole, to a well-known library, and to the bookkeeping."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from livejam.errors import UserError
from livejam.streaming.resampling import Resampler, resample

RATES = [(44_100, 22_050), (48_000, 22_050), (22_050, 48_000), (96_000, 22_050), (22_050, 22_050), (8_000, 22_050)]


def tone(rate: int, hertz: float, seconds: float = 0.5) -> Tensor:
    return torch.sin(2 * math.pi * hertz * torch.arange(int(rate * seconds), dtype=torch.float64) / rate).float()[None]


@settings(max_examples=40, deadline=None)
@given(
    rates=st.sampled_from(RATES), sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=8), seed=st.integers(0, 9)
)
def test_a_cut_stream_is_the_whole(rates: tuple[int, int], sizes: list[int], seed: int) -> None:
    resampler, audio = Resampler(*rates), torch.randn(2, sum(sizes), generator=torch.Generator().manual_seed(seed))
    whole, _ = resampler.step(audio, resampler.init_state(2))
    state, pieces = resampler.init_state(2), []
    for chunk in audio.split(sizes, dim=1):
        out, state = resampler.step(chunk, state)
        pieces.append(out)
        assert state.made == resampler.made(state.heard)
        assert state.past.shape[-1] <= 2 * resampler.half_width + resampler.down // resampler.up + 1
    assert torch.allclose(torch.cat(pieces, dim=1), whole, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(rates=st.sampled_from([*RATES, (44_099, 22_050)]), made=st.integers(0, 10**12))
def test_what_is_needed_is_what_makes_known(rates: tuple[int, int], made: int) -> None:
    resampler = Resampler(*rates)
    needed = resampler.needed(made)
    assert resampler.made(needed) >= made
    assert needed == 0 or resampler.made(needed - 1) < made


@pytest.mark.parametrize(("rate", "other"), RATES)
@pytest.mark.parametrize("hertz", [100.0, 1000.0, 3000.0])
def test_a_tone_stays_where_and_as_it_was(rate: int, other: int, hertz: float) -> None:
    wanted, out = tone(other, hertz), resample(tone(rate, hertz), rate, other)
    middle = slice(other // 10, -other // 10)
    assert (out - wanted)[:, middle].abs().max() < 2e-4


@pytest.mark.parametrize("hertz", [11_500.0, 15_000.0, 20_000.0])
def test_what_the_lower_rate_cannot_hold_is_taken_out(hertz: float) -> None:
    out = resample(tone(48_000, hertz), 48_000, 22_050)[:, 2000:-2000]
    assert 20 * math.log10(float(out.abs().max())) < -80


@pytest.mark.parametrize(("rate", "other"), [(44_100, 22_050), (48_000, 22_050), (22_050, 44_100)])
def test_equals_soxr_where_both_let_everything_pass(rate: int, other: int) -> None:
    slow = torch.nn.functional.avg_pool1d(torch.randn(1, rate), 9, 1, padding=4)
    slow = torch.nn.functional.avg_pool1d(torch.nn.functional.avg_pool1d(slow, 9, 1, padding=4), 9, 1, padding=4)
    reference = soxr.resample(slow[0].numpy(), rate, other, quality="VHQ")
    ours = resample(slow, rate, other)[0].numpy()
    samples = slice(2000, min(len(ours), len(reference)) - 2000)
    assert np.abs(ours[samples] - reference[samples]).max() < 5e-3 * np.abs(reference).max()


def test_lengths_are_rounded_up() -> None:
    assert resample(torch.zeros(1, 1), 48_000, 22_050).shape == (1, 1)
    assert resample(torch.zeros(3, 0), 48_000, 22_050).shape == (3, 0)
    assert resample(torch.zeros(1, 480), 48_000, 22_050).shape == (1, 221)


def test_hours_of_counting_stay_exact() -> None:
    resampler = Resampler(48_000, 22_050)
    day = 24 * 3600 * 48_000
    assert resampler.made(day + resampler.half_width) == 24 * 3600 * 22_050


@pytest.mark.parametrize("rate", [0, -1, 100, 10**9])
def test_a_rate_that_is_none(rate: int) -> None:
    with pytest.raises(UserError, match="sample rate"):
        Resampler(rate, 22_050)
