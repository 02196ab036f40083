"""Curves of a sketch: right on sounds whose curves are known, the same in a stream, and finite whatever comes."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from livejam.errors import UserError
from livejam.sketch import SketchAnalysis, Sketcher, median_filtered, randomly_smoothed, unpacked
from livejam.sketch.controls import Brightness, Loudness, Pitch, a_weighting
from livejam.spec import CodecSpec

SPECS = [
    CodecSpec("pocket", 22050, 1, 2048, 96, 768),
    CodecSpec("mimi", 24000, 1, 1920, 512, 0),
    CodecSpec("stereo", 44100, 2, 4096, 64, 0),
]


def noise(spec: CodecSpec, frames: float, seed: int = 0, rows: int = 1) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    shape = rows, spec.audio_channels, round(frames * spec.hop_samples)
    return 0.3 * torch.randn(shape, generator=rng, dtype=torch.float64)


def sine(hz: float, spec: CodecSpec, amplitude: float = 0.5, frames: int = 12) -> Tensor:
    time_N = torch.arange(frames * spec.hop_samples, dtype=torch.float64) / spec.sample_rate_hz
    return (amplitude * torch.sin(2 * math.pi * hz * time_N)).expand(1, spec.audio_channels, -1)


def streamed(sketcher: Sketcher, audio_BAN: Tensor, cuts: list[int]) -> Tensor:
    state, pieces = sketcher.init_state(audio_BAN), []
    edges = [0, *sorted(cut % (audio_BAN.shape[-1] + 1) for cut in cuts), audio_BAN.shape[-1]]
    for first, stop in pairwise(edges):
        curves_BTP, state = sketcher.step(audio_BAN[..., first:stop], state)
        pieces.append(curves_BTP)
    return torch.cat(pieces, dim=1)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31), st.lists(st.integers(0, 2**31), max_size=8), st.floats(0, 9))
def test_a_stream_in_any_pieces_gives_the_same_curves(
    spec: CodecSpec, seed: int, cuts: list[int], frames: float
) -> None:
    sketcher, audio_BAN = SketchAnalysis().at(spec), noise(spec, frames, seed, rows=2)
    whole_BTP = sketcher(audio_BAN)
    assert whole_BTP.shape == (2, audio_BAN.shape[-1] // spec.hop_samples, 10)
    assert torch.allclose(streamed(sketcher, audio_BAN, cuts), whole_BTP, atol=1e-9)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31), st.integers(1, 7))
def test_what_comes_later_changes_nothing_before_it(seed: int, frames: int) -> None:
    spec = SPECS[0]
    sketcher, audio_BAN = SketchAnalysis().at(spec), noise(spec, 8, seed)
    begun_BTP = sketcher(audio_BAN[..., : frames * spec.hop_samples])
    assert torch.allclose(begun_BTP, sketcher(audio_BAN)[:, :frames], atol=1e-9)


@pytest.mark.parametrize(("hz", "decibels"), [(10**1.5, -39.4), (100, -19.1), (1000, 0), (10**3.4, 1.3), (1e4, -2.5)])
def test_a_weighting_is_the_standards(hz: float, decibels: float) -> None:
    assert 10 * math.log10(a_weighting(torch.tensor(hz, dtype=torch.float64))) == pytest.approx(decibels, abs=0.06)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("amplitude", [1.0, 0.1, 0.003])
def test_a_sine_is_as_loud_as_it_is(spec: CodecSpec, amplitude: float) -> None:
    loudness = SketchAnalysis().at(spec).loudness
    level_BTK = loudness(sine(1000, spec, amplitude)[:, 0])
    assert (180 * level_BTK[0, 1:, 0] - 100 - 20 * math.log10(amplitude / math.sqrt(2))).abs().max() < 0.05


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("note", range(28, 109, 3))
@pytest.mark.parametrize("cents", [-30, 0, 30])
def test_a_sine_has_its_own_pitch_and_brightness(spec: CodecSpec, note: int, cents: int) -> None:
    sketcher, audio_BAN = SketchAnalysis().at(spec), sine(440 * 2 ** ((note - 69 + cents / 100) / 12), spec)
    curves_TP = sketcher(audio_BAN)[0, 5:]
    if note >= 33:  # of lower ones the filters are wider than a semitone
        assert (curves_TP[:, 2] == note).all()
    else:
        assert ((curves_TP[:, 2] - note).abs() <= 1).all()
    assert (127 * curves_TP[:, 1] - note - cents / 100).abs().max() < (1.5 if note > 40 else 6)


def test_notes_of_a_chord_are_all_found() -> None:
    spec, chord = SPECS[0], (48, 55, 64, 71)
    audio_BAN = sum(sine(440 * 2 ** ((note - 69) / 12), spec, 0.2) for note in chord)
    asked = unpacked(SketchAnalysis().at(spec)(audio_BAN)[:, 5:])
    pitch_TK = asked.values_BTK[0, :, 2:]
    assert torch.equal(pitch_TK.topk(4).indices.sort().values, torch.tensor(chord).expand(len(pitch_TK), -1))
    assert (pitch_TK.amax(dim=-1) > 0.99).all()


def test_silence_is_soft_dark_and_without_pitch() -> None:
    curves_BTP = SketchAnalysis().at(SPECS[0])(torch.zeros(1, 1, 5 * 2048))
    expected_P = torch.tensor([0.0, 0.0, -1, -1, -1, -1, 0, 0, 0, 0])
    assert torch.equal(curves_BTP, expected_P.expand(1, 5, -1))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.sampled_from([0.0, 1.0, -1.0, 1e30, math.nan, math.inf, -math.inf]), max_size=40), st.integers(0, 9))
@example([math.nan] * 40, 3)
def test_any_sound_gives_curves_that_are_finite_and_in_range(samples: list[float], frames: int) -> None:
    spec = SPECS[0]
    audio_BAN = noise(spec, frames).float()
    audio_BAN[..., : len(samples)] = torch.tensor(samples)[: audio_BAN.shape[-1]]
    asked = unpacked(SketchAnalysis().at(spec)(audio_BAN))
    assert asked.values_BTK.isfinite().all()
    assert asked.mask_BTG.eq(1).all()
    assert torch.equal(asked.values_BTK, asked.values_BTK.clamp(0, 1))


@given(st.lists(st.floats(width=32), min_size=10, max_size=10))
def test_any_packed_frame_is_a_control_or_absent(numbers: list[float]) -> None:
    asked = unpacked(torch.tensor(numbers, dtype=torch.float32)[None, None])
    assert asked.values_BTK.isfinite().all()
    assert torch.equal(asked.values_BTK, asked.values_BTK.clamp(0, 1))
    finite = [math.isfinite(number) for number in numbers]
    assert asked.mask_BTG[0, 0].tolist() == [finite[0], finite[1], all(finite[2:])]


def test_float16_keeps_the_notes() -> None:
    curves_BTP = SketchAnalysis().at(SPECS[0])(noise(SPECS[0], 20).float())
    exact, rounded = unpacked(curves_BTP).values_BTK, unpacked(curves_BTP.half().float()).values_BTK
    assert torch.equal(exact > 0, rounded > 0)
    assert torch.allclose(exact, rounded, atol=5e-4)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 20), st.integers(1, 13))
def test_the_median_is_that_of_the_frames_around(seed: int, frames: int, width: int) -> None:
    curve_BTK = torch.rand(2, frames, 3, generator=torch.Generator().manual_seed(seed))
    smooth_BTK = median_filtered(curve_BTK, width)
    for t in range(frames):
        around = [min(max(t + k, 0), frames - 1) for k in range(-((width - 1) // 2), width // 2 + 1)]
        assert len(around) == width
        assert torch.equal(smooth_BTK[:, t], curve_BTK[:, around].sort(dim=1).values[:, (width - 1) // 2])


def test_a_constant_curve_stays_and_equal_seeds_smooth_equally() -> None:
    constant_BTK, curve_BTK = torch.full((4, 9, 2), 0.3), torch.rand(64, 30, 2)
    assert torch.equal(randomly_smoothed(constant_BTK, 13, torch.Generator().manual_seed(1)), constant_BTK)
    assert torch.equal(randomly_smoothed(curve_BTK, 1, torch.Generator().manual_seed(1)), curve_BTK)
    one, two = (randomly_smoothed(curve_BTK, 13, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, curve_BTK)
    widths = [next(w for w in range(1, 14) if torch.equal(median_filtered(curve_BTK, w)[b], one[b])) for b in range(64)]
    assert len(set(widths)) > 8


def test_what_cannot_be_analysed_is_refused() -> None:
    for make in (
        lambda: SketchAnalysis(kept_notes=0),
        lambda: SketchAnalysis(window_seconds=-1),
        lambda: SketchAnalysis(windows=7).at(SPECS[0]),
        lambda: Loudness(22050, 2048, 128, 8),
        lambda: Brightness(22050, 2048, 1024, 3),
        lambda: Pitch(22050, 2048, 4, 127, 0.25),
        lambda: Pitch(22050, 2048, 129, 28, 0.25),
    ):
        with pytest.raises(UserError):
            make()
