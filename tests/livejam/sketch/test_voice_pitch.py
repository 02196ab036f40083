"""A voice's pitch: the reference's, the note that is sung, and the same in a stream."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from sung_notes import NOTE_SECONDS, NOTES, sung
from test_sketch_controls import SPECS, noise, sine, streamed

from livejam.errors import UserError
from livejam.sketch import SketchAnalysis, Sketcher, SwiftF0, VoicePitch, unpacked
from livejam.sketch.swift_f0 import HOP_SAMPLES, LEFT_FRAMES, RIGHT_FRAMES
from livejam.sketch.voice import resampling_kernels
from livejam.spec import CodecSpec

GOLDEN = Path(__file__).parent / "golden" / "swift_f0.safetensors"
VOICE = SketchAnalysis(voice=VoicePitch())


def strengths(analysis: SketchAnalysis, spec: CodecSpec, audio_BAN: torch.Tensor) -> torch.Tensor:
    return unpacked(analysis.at(spec)(audio_BAN)).values_BTK[0, :, 2:]


def held_frames(spec: CodecSpec) -> list[list[int]]:
    """Frames per note of `sung` whose sound, as far back as any control lags, is that note's alone."""
    seconds = spec.hop_samples / spec.sample_rate_hz
    begins = [index * NOTE_SECONDS for index in range(len(NOTES))]
    return [
        [t for t in range(200) if begin + 0.38 <= t * seconds and (t + 1) * seconds <= begin + NOTE_SECONDS]
        for begin in begins
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_network_is_the_packages(dtype: torch.dtype) -> None:
    wanted, audio_N = load_file(GOLDEN), sung(16000)
    whole = len(audio_N) // HOP_SAMPLES * HOP_SAMPLES
    pitch_BF, confidence_BF = SwiftF0.pretrained().to(dtype)(audio_N[None, :whole].to(dtype))
    inner = slice(LEFT_FRAMES, whole // HOP_SAMPLES - RIGHT_FRAMES + 1)
    cents_F = 1200 * torch.log2(pitch_BF[0].double() / wanted["pitch_hz"][inner])
    assert pitch_BF.shape[1] == len(wanted["pitch_hz"][inner])
    assert cents_F.abs().max() < 0.05
    assert (confidence_BF[0].double() - wanted["confidence"][inner]).abs().max() < 1e-5


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
@settings(deadline=None, max_examples=8)
@given(st.integers(0, 2**31), st.lists(st.integers(0, 2**31), max_size=8), st.floats(0, 12))
def test_a_stream_in_any_pieces_gives_the_same_notes(
    spec: CodecSpec, seed: int, cuts: list[int], frames: float
) -> None:
    sketcher, audio_BAN = VOICE.at(spec), noise(spec, frames, seed, rows=2)
    length = audio_BAN.shape[-1]
    audio_BAN = 0.1 * audio_BAN + sung(spec.sample_rate_hz, seed=seed % 1000)[:length]
    whole_BTP = sketcher(audio_BAN)
    assert whole_BTP.shape == (2, length // spec.hop_samples, 10)
    assert torch.allclose(streamed(sketcher, audio_BAN, cuts), whole_BTP, atol=1e-9)


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 2**31), st.integers(1, 14))
def test_what_comes_later_changes_no_note_before_it(seed: int, frames: int) -> None:
    spec = SPECS[0]
    audio_BAN = 0.1 * noise(spec, 15, seed) + sung(spec.sample_rate_hz)[: 15 * spec.hop_samples]
    begun_BTP = VOICE.at(spec)(audio_BAN[..., : frames * spec.hop_samples])
    assert torch.allclose(begun_BTP, VOICE.at(spec)(audio_BAN)[:, :frames], atol=1e-9)


def test_long_sounds_are_heard_in_parts_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SPECS[0]
    audio_BAN = sung(spec.sample_rate_hz)[None, None]
    whole_BTP = VOICE.at(spec)(audio_BAN)
    monkeypatch.setattr("livejam.sketch.controls.FRAMES_AT_ONCE", 7)
    assert torch.allclose(VOICE.at(spec)(audio_BAN), whole_BTP, atol=1e-9)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
@settings(deadline=None, max_examples=6)
@given(st.integers(-9, 16), st.floats(0, 45), st.floats(0.0003, 0.02), st.integers(0, 99))
def test_the_note_that_is_sung_is_the_strongest(
    spec: CodecSpec, transposed: int, cents: float, breath: float, seed: int
) -> None:
    notes = tuple(note + transposed for note in NOTES)
    audio_BAN = sung(spec.sample_rate_hz, notes, cents, breath, seed)[None, None]
    found_TK = strengths(VOICE, spec, audio_BAN)
    for note, frames in zip(notes, held_frames(spec), strict=True):
        assert frames
        assert (found_TK[frames].argmax(dim=1) == note).all()
        # however sure the tracker is of it
        assert (found_TK[frames][:, note] == 1).all()
        others_TK = found_TK[frames].clone()
        others_TK[:, note - 1 : note + 2] = 0
        assert others_TK.sum(dim=1).max() == 0


def test_a_filter_bank_hears_overtones_instead() -> None:
    """Of the low vowel, the peaks are overtones, and the note itself is not among the strongest or is not alone."""
    spec = SPECS[0]
    audio_BAN = sung(spec.sample_rate_hz)[None, None]
    peaks_TK = strengths(SketchAnalysis(), spec, audio_BAN)
    for note, frames in zip(NOTES, held_frames(spec), strict=True):
        near_T = peaks_TK[frames][:, note - 1 : note + 2].sum(dim=1)
        assert (near_T < 0.6 * peaks_TK[frames].sum(dim=1)).all()


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_its_lag_is_what_it_says(spec: CodecSpec) -> None:
    """A tone that begins in the middle of a sound is there so many frames later."""
    before, frames = 10, 24
    silence = torch.zeros(1, spec.audio_channels, before * spec.hop_samples, dtype=torch.float64)
    tone_BAN = 0.3 * sung(spec.sample_rate_hz, (60.0,) * 6, 0.0)[: (frames - before) * spec.hop_samples]
    audio_BAN = torch.cat((silence, tone_BAN.expand(1, spec.audio_channels, -1)), dim=-1)
    sketcher = VOICE.at(spec)
    found_T = unpacked(sketcher(audio_BAN)).values_BTK[0, :, 62]
    half = float(found_T[-4:].mean()) / 2
    onset = int((found_T > half).nonzero()[0])
    assert onset - before == pytest.approx(sketcher.pitch.lag_frames, abs=1)


def test_silence_and_noise_have_no_note() -> None:
    spec = SPECS[0]
    assert not strengths(VOICE, spec, torch.zeros(1, 1, 12 * 2048)).any()
    assert not strengths(VOICE, spec, 3e-4 * noise(spec, 12)).any()
    assert strengths(VOICE, spec, noise(spec, 40))[5:].sum(dim=1).mean() < 0.1


@settings(deadline=None, max_examples=15)
@given(st.lists(st.sampled_from([0.0, 1.0, -1.0, 1e30, math.nan, math.inf, -math.inf]), max_size=40), st.integers(0, 9))
@example([math.nan] * 40, 3)
@example([math.inf] * 40, 9)
def test_any_sound_gives_notes_that_are_finite_and_in_range(samples: list[float], frames: int) -> None:
    spec = SPECS[0]
    audio_BAN = noise(spec, frames).float()
    audio_BAN[..., : len(samples)] = torch.tensor(samples)[: audio_BAN.shape[-1]]
    asked = unpacked(VOICE.at(spec)(audio_BAN))
    assert asked.values_BTK.isfinite().all()
    assert asked.mask_BTG.eq(1).all()
    assert torch.equal(asked.values_BTK, asked.values_BTK.clamp(0, 1))


@pytest.mark.parametrize("ratio", [Fraction(3, 4), Fraction(2, 3), Fraction(3, 8), Fraction(1), Fraction(4, 3)])
def test_resampling_keeps_low_tones_and_drops_high_ones(ratio: Fraction) -> None:
    kernels_PW = resampling_kernels(ratio, 16)
    gave, took = kernels_PW.shape[0], ratio.denominator
    overlap = kernels_PW.shape[1] - took

    def resampled(cycles: float) -> torch.Tensor:
        sound_N = torch.sin(2 * math.pi * cycles * torch.arange(4000, dtype=torch.float64))
        found = torch.nn.functional.conv1d(sound_N[None, None], kernels_PW[:, None], stride=took)
        return found[0].T.flatten()

    assert gave == ratio.numerator
    low, place_N = 0.11 * min(1.0, float(ratio)), torch.arange(500) / float(ratio) + overlap / 2
    wanted_N = torch.sin(2 * math.pi * low * place_N)
    assert (resampled(low)[:500] - wanted_N).abs().max() < 1e-3
    if ratio < 1:
        assert resampled(0.5 * (float(ratio) + 1) / 2 + 0.05).abs().max() < 1e-2


def test_a_sine_has_its_note_at_any_rate_and_hop() -> None:
    for spec in SPECS:
        for note in (40, 57, 69, 88):
            found_TK = strengths(VOICE, spec, sine(440 * 2 ** ((note - 69) / 12), spec))
            assert (found_TK[6:].argmax(dim=1) == note).all()


def test_what_cannot_be_tracked_is_refused() -> None:
    with pytest.raises(UserError, match="least_strength"):
        VoicePitch(least_strength=1.5)
    with pytest.raises(UserError, match="too short"):
        SketchAnalysis(windows=1, window_seconds=0.005, voice=VoicePitch()).at(CodecSpec("dac", 44100, 1, 256, 8, 0))


def test_the_tracker_is_no_part_of_a_checkpoint() -> None:
    sketcher: Sketcher = VOICE.at(SPECS[0])
    assert not sketcher.state_dict()
    assert not list(sketcher.parameters())
