"""What a model hears of the beat, as `benchmarks/heard_beats.py` measures it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks import songs_to_hear
from benchmarks.heard_beats import Listener, beats_of, hearing
from datamodules.bank_beats import beats_until
from datamodules.pocket_slakh.render import render_songs
from livejam.batch import Annotations
from livejam.errors import UserError

TIMES_T = (np.arange(200) + 0.5) * 4096 / 44100


def hand_of(known: Annotations) -> NDArray[np.float64]:
    """The true hand, which goes on beyond the last beat."""
    turns = np.interp(TIMES_T, known.beats_seconds, np.arange(len(known.beats_seconds)))
    return np.angle(np.exp(2j * np.pi * turns))


@given(st.floats(40, 220), st.floats(0, 0.3), st.floats(0, 0.03), st.integers(0, 99))
def test_the_true_hand_is_all_right_and_has_the_true_beats(
    tempo_bpm: float, first: float, unsteady_seconds: float, seed: int
) -> None:
    beats = first + np.arange(0, 18, 60 / tempo_bpm)
    beats += unsteady_seconds * np.random.default_rng(seed).uniform(-1, 1, len(beats))
    known = Annotations(tuple(beats), ())
    found = hearing(hand_of(known), TIMES_T, known)
    # the first and the last one lie where a hand has no frame before or after it
    assert found["cosine"] == pytest.approx(1.0)
    assert found["beat F1"] >= 1 - 2 / len(beats)


@given(st.integers(0, 99))
def test_a_hand_that_shakes_passes_the_top_once_per_beat(seed: int) -> None:
    known = Annotations(tuple(np.arange(0.2, 18, 0.5)), ())
    turns = beats_until(TIMES_T, known)
    inside = np.isfinite(turns)
    shaken = 2 * np.pi * turns[inside] + np.random.default_rng(seed).uniform(-0.4, 0.4, inside.sum())
    found = beats_of(np.angle(np.exp(1j * shaken)), TIMES_T[inside])
    assert len(found) == pytest.approx(len(known.beats_seconds), abs=2)


def test_half_a_beat_late_is_all_wrong() -> None:
    known = Annotations(tuple(np.arange(0.0, 18, 0.6)), ())
    found = hearing(np.angle(-np.exp(1j * hand_of(known))), TIMES_T, known)
    assert found["cosine"] == pytest.approx(-1.0)
    assert found["beat F1"] == pytest.approx(0.0)


def test_a_model_that_did_not_learn_to_hear_is_refused() -> None:
    with pytest.raises(UserError, match=r"did not learn to hear the beat; name a checkpoint .*hear_beats\.yaml"):
        Listener.of("liveband-pocket")


def test_a_row_for_every_number_of_songs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "songs"
    render_songs(root, 5, seed=3, workers=1, validation_fraction=0.2, test_fraction=0.2)
    words = ["--root", str(root), "--test", str(root), "--songs", "9", "1", "--items", "1", "--iterations", "2"]
    monkeypatch.setattr("sys.argv", ["songs_to_hear", *words, "--window", "16", "--batch", "2"])
    songs_to_hear.main()
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert list(rows) == ["1", "3"]  # there are no more for training
    assert all(-1 <= number <= 1 for row in rows.values() for number in (row["learnt"], row[str(root)]))
