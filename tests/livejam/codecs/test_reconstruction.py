"""The bundled codec on songs it was not trained on. The bars are weaker than what the model card reports."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.codec_reconstruction import (
    Excerpt,
    Reconstruction,
    beat_scores,
    excerpts,
    mixes_with_beats,
    reconstruct,
    robustness,
    stem_scores,
    tracked_beats,
)
from livejam.codecs import CausalCodec
from livejam.errors import UserError
from metrics.reconstruction import GAP_WINDOW, chroma_correlation, onset_f_measure, spectral_gap_excess_db

RATE = 22_050
Pairs = tuple[list[Excerpt], list[Reconstruction]]


@pytest.fixture(scope="module")
def pairs(pocket: CausalCodec, rendered_songs: Path) -> Pairs:
    originals = excerpts(rendered_songs, RATE, 1, 12.0)
    return originals, reconstruct(pocket, originals)


def test_stems_keep_pitch_level_and_spectrum(pocket: CausalCodec, pairs: Pairs) -> None:
    scores = stem_scores(pocket, *pairs)
    assert scores["bass"]["chroma_correlation"] > 0.7
    assert scores["pitched"]["chroma_correlation"] > 0.93
    assert scores["drums"]["onset_f1"] > 0.6
    for kind in ("mix", "bass", "pitched", "drums"):
        assert abs(scores[kind]["level_db"]) < 2.5
        assert scores[kind]["log_mel_error"] < 0.45
        assert scores[kind]["spectral_gap_excess_db"] < 25
        assert abs(scores[kind]["latent_smoothness"]) < 1


def test_scores_tell_right_from_wrong(pairs: Pairs) -> None:
    """The chroma of another stem or of a transposed one must not pass for a reconstruction."""
    first_N = next(item for item in pairs[0] if item.kind == "pitched").audio_AN[0]
    semitone_up_N = first_N[(torch.arange(len(first_N) - 2000) * 2 ** (1 / 12)).long().clamp_max(len(first_N) - 1)]
    assert chroma_correlation(first_N, first_N, RATE, bass=False) == pytest.approx(1, abs=1e-5)
    assert chroma_correlation(semitone_up_N, first_N[: len(semitone_up_N)], RATE, bass=False) < 0.5


@settings(max_examples=10, deadline=None)
@given(noise_db=st.floats(-60, -40), gain_db=st.floats(-20, 0))
def test_spectral_gaps_hear_what_fills_them(noise_db: float, gain_db: float) -> None:
    """Hiss under a chord is counted by its level, whatever the level of both; the chord itself is not."""
    turns_N = torch.arange(2 * RATE, dtype=torch.float64) / GAP_WINDOW
    # in the middle of bins, where the window has no side lobes
    chord_N = sum(torch.sin(2 * torch.pi * (bin * turns_N % 1)) for bin in (40, 60, 80)) / 6
    hiss_N = torch.randn(len(turns_N), generator=torch.Generator().manual_seed(0)).double()
    gain = 10 ** (gain_db / 20)
    original_N = gain * (chord_N + 1e-4 * hiss_N)
    made_N = gain * (chord_N + 10 ** (noise_db / 20) * hiss_N)
    assert spectral_gap_excess_db(original_N, original_N, RATE) == pytest.approx(0, abs=1e-6)
    assert spectral_gap_excess_db(made_N, original_N, RATE) == pytest.approx(noise_db + 80, abs=1.5)


@settings(max_examples=10, deadline=None)
@given(shift=st.integers(0, 4000))
def test_onsets_must_be_in_time(shift: int) -> None:
    clicks_N = torch.zeros(2 * RATE)
    clicks_N[4000::11000] = 1.0
    late_N = torch.nn.functional.pad(clicks_N, (shift, 0))[: len(clicks_N)]
    score = onset_f_measure(late_N, clicks_N, RATE)
    assert score == (1 if shift < 0.02 * RATE else 0 if shift > 0.04 * RATE else score)


def test_silence_has_no_scores() -> None:
    assert math.isnan(spectral_gap_excess_db(torch.zeros(RATE), torch.zeros(RATE), RATE))
    assert math.isnan(onset_f_measure(torch.zeros(RATE), torch.zeros(RATE), RATE))


def test_beats_of_mixes_survive(pairs: Pairs) -> None:
    """Random beats would score about 0.3; with three songs one octave error costs a third."""
    before = tracked_beats([pairs[0][place].audio_AN for place in mixes_with_beats(pairs[0])], RATE)
    assert beat_scores(pairs[0], before, pairs[1], RATE)["ratio"] > 0.6


def test_disturbed_latents_keep_the_level(pocket: CausalCodec, pairs: Pairs) -> None:
    for changes in robustness(pocket, pairs[0][:4], pairs[1][:4]).values():
        assert all(abs(changes[name]) < 4 for name in ("noise 0.3", "noise 0.6", "outliers"))


def test_stereo_is_measured_channel_by_channel(rendered_songs: Path) -> None:
    """Two equal channels of an original score as one does."""
    codec = CausalCodec(audio_channels=2, latent_channels=8, width=16, subframe_width=16, blocks=1, subframe_blocks=1)
    originals = excerpts(rendered_songs, RATE, 2, 3.0)[:2]
    scores = stem_scores(codec.eval(), originals, [Reconstruction(o.audio_AN, torch.randn(9, 8), 1) for o in originals])
    assert scores["mix"]["log_mel_error"] == 0
    assert reconstruct(codec, originals)[0].audio_AN.shape == originals[0].audio_AN.shape


def test_songs_without_a_mix_or_beats_are_measured_too(rendered_songs: Path, tmp_path: Path) -> None:
    """As imported recordings are: the mix is the sum of the stems, and nobody knows its beats."""
    song = next(path.parent for path in sorted(rendered_songs.rglob("metadata.yaml")))
    shutil.copytree(song, tmp_path / song.name)
    whole = excerpts(tmp_path, RATE, 1, 3.0)
    for name in ("mix.flac", "annotations.json", "all_src.mid"):
        (tmp_path / song.name / name).unlink()
    bare = excerpts(tmp_path, RATE, 1, 3.0)
    assert [item.kind for item in bare] == [item.kind for item in whole]
    assert torch.equal(bare[0].audio_AN, torch.stack([item.audio_AN for item in bare[1:]]).sum(0))
    assert mixes_with_beats(whole) == [0]
    assert mixes_with_beats(bare) == []


def test_songs_that_end_too_early_are_refused(rendered_songs: Path, tmp_path: Path) -> None:
    song = next(path.parent for path in sorted(rendered_songs.rglob("metadata.yaml")))
    shutil.copytree(song, tmp_path / song.name)
    for file in (tmp_path / song.name).rglob("*.flac"):
        soundfile.write(file, *soundfile.read(file, frames=4 * RATE))
    with pytest.raises(UserError, match="name songs that are longer"):
        excerpts(tmp_path, RATE, 1, 3.0)


def test_much_faster_than_real_time(pairs: Pairs) -> None:
    assert 12 * len(pairs[0]) / sum(item.seconds for item in pairs[1]) > 5
