"""The benchmark of sung sketches: the voice sings what it should, and the columns are what they say."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.sketch_adherence import earlier
from benchmarks.sung_sketch import COLUMNS, HIGHEST, LOWEST, drawn, later, scored, sung_along
from livejam.sketch import CONTROLS, SketchAnalysis, VoicePitch, asking_for, unpacked
from livejam.spec import CodecSpec

SPEC = CodecSpec("pocket", 22050, 1, 2048, 96, 768)
LOUD = 0.42
FRAMES = 40


def curves(note: int, sounding: int = FRAMES) -> torch.Tensor:
    """A sketch that holds a note, and then is silent."""
    out_TP = torch.tensor([LOUD, 0.6, note, -1, -1, -1, 1, 0, 0, 0]).repeat(FRAMES, 1)
    out_TP[sounding:, 0] = 0
    return out_TP


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 127))
def test_the_voice_sings_the_note_in_its_range(note: int) -> None:
    audio_N, sung_T = sung_along(curves(note, 30), SPEC.hop_samples, SPEC.sample_rate_hz, 0)
    assert sung_T[:30].isfinite().all()
    assert sung_T[30:].isnan().all()
    assert ((sung_T[:30] >= LOWEST) & (sung_T[:30] <= HIGHEST)).all()
    assert ((sung_T[:30] - note) % 12 == 0).all()
    assert LOWEST <= note <= HIGHEST or sung_T[0] != note
    found_TP = SketchAnalysis(voice=VoicePitch()).at(SPEC)(audio_N[None, None])[0]
    assert (found_TP[6:30, 2] == sung_T[6:30]).all()
    assert found_TP[6:28, 0] == pytest.approx(LOUD, abs=0.06)


def test_a_drawn_sketch_that_is_followed_has_all_of_every_column() -> None:
    _, sung_T = sung_along(curves(60, 30), SPEC.hop_samples, SPEC.sample_rate_hz, 0)
    sketch_TP = drawn(sung_T, curves(60, 30))
    assert scored(sketch_TP, sketch_TP, sung_T) == dict.fromkeys(COLUMNS, 1.0)
    assert (sketch_TP[30:, 2] == -1).all()


def test_what_is_played_counts_by_note_and_by_octave() -> None:
    _, sung_T = sung_along(curves(60), SPEC.hop_samples, SPEC.sample_rate_hz, 0)
    octave = scored(None, curves(72), sung_T)
    assert math.isnan(octave["sketch"])
    assert (octave["strength"], octave["strongest"], octave["pitch class"]) == (0, 0, 1)
    half_TP = curves(64)
    half_TP[:, 3], half_TP[:, 7] = 60, 0.5
    assert scored(None, half_TP, sung_T)["strength"] == pytest.approx(0.5)
    nothing_TP = curves(60)
    nothing_TP[:, 2], nothing_TP[:, 6] = -1, 0
    nothing = scored(None, nothing_TP, sung_T)
    assert (nothing["strength"], nothing["strongest"], nothing["pitch class"]) == (0, 0, 0)


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 9), st.integers(0, 2**31))
def test_notes_that_come_later_and_then_earlier_are_as_they_were(frames: int, seed: int) -> None:
    curves_BTP = torch.rand(2, FRAMES, 10, generator=torch.Generator().manual_seed(seed))
    later_BTP = later(curves_BTP, frames)
    assert torch.equal(later_BTP[..., :2], curves_BTP[..., :2])
    assert (later_BTP[:, :frames, 2:6] == -1).all()
    kept = FRAMES - frames
    assert torch.equal(earlier(later_BTP, frames)[:, :kept], curves_BTP[:, :kept])


@pytest.mark.parametrize("name", CONTROLS)
def test_what_is_not_asked_for_is_left_out_alone(name: str) -> None:
    asked, whole = unpacked(asking_for(curves(60)[None], set(CONTROLS) - {name})), unpacked(curves(60)[None])
    left = [control != name for control in CONTROLS]
    assert torch.equal(asked.mask_BTG, torch.tensor(left).to(asked.mask_BTG).expand_as(asked.mask_BTG))
    kept = torch.tensor(left).repeat_interleave(torch.tensor([1, 1, 128]))
    assert torch.equal(asked.values_BTK[..., kept], whole.values_BTK[..., kept])
