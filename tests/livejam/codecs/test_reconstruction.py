"""The bundled codec on songs it was not trained on. The bars are weaker than what the model card reports."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.codec_reconstruction import (
    Excerpt,
    beat_scores,
    chroma_correlation,
    excerpts,
    reconstruct,
    stem_scores,
)
from livejam.codecs import CausalCodec


@pytest.fixture(scope="module")
def pairs(pocket: CausalCodec, rendered_songs: Path) -> tuple[list[Excerpt], list[torch.Tensor], float]:
    originals = excerpts(rendered_songs, pocket, 12.0)
    made, speed = reconstruct(pocket, originals)
    return originals, made, speed


def test_stems_keep_pitch_level_and_spectrum(
    pocket: CausalCodec, pairs: tuple[list[Excerpt], list[torch.Tensor], float]
) -> None:
    scores = stem_scores(pocket, *pairs[:2])
    assert scores["bass"]["chroma_correlation"] > 0.7
    assert scores["pitched"]["chroma_correlation"] > 0.93
    for kind in ("mix", "bass", "pitched", "drums"):
        assert abs(scores[kind]["level_db"]) < 2.5
        assert scores[kind]["log_mel_error"] < 0.45


def test_scores_tell_right_from_wrong(
    pocket: CausalCodec, pairs: tuple[list[Excerpt], list[torch.Tensor], float]
) -> None:
    """The chroma of another stem or of a transposed one must not pass for a reconstruction."""
    pitched = [item for item in pairs[0] if item.kind == "pitched"]
    first = pitched[0].audio_N
    semitone_up = first[(torch.arange(len(first) - 2000) * 2 ** (1 / 12)).long().clamp_max(len(first) - 1)]
    assert chroma_correlation(first, first, 22050, bass=False) == pytest.approx(1, abs=1e-5)
    assert chroma_correlation(semitone_up, first[: len(semitone_up)], 22050, bass=False) < 0.5


def test_beats_of_mixes_survive(pocket: CausalCodec, pairs: tuple[list[Excerpt], list[torch.Tensor], float]) -> None:
    """Random beats would score about 0.3; with three songs one octave error costs a third."""
    assert beat_scores(pocket, *pairs[:2])["ratio"] > 0.6


def test_much_faster_than_real_time(pairs: tuple[list[Excerpt], list[torch.Tensor], float]) -> None:
    assert pairs[2] > 5
