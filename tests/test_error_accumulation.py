"""A song that is repeated goes on in time."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.error_accumulation import COLUMNS, kept, loaded, looped, sampling, summary, table
from livejam.batch import Annotations, Chord
from livejam.errors import UserError
from livejam.networks import CausalTransformer
from livejam.spec import CodecSpec, LatentStatistics
from livejam.systems.liveband import LiveBandAccompanist


@given(
    bars=st.integers(2, 9), beat=st.floats(0.3, 1.0), start=st.floats(0, 3), seconds=st.floats(5, 60, exclude_min=True)
)
def test_beats_and_chords_go_on_without_a_gap(bars: int, beat: float, start: float, seconds: float) -> None:
    beats = tuple(start + i * beat for i in range(4 * bars + 1))
    downbeats = beats[::4]
    chords = tuple(Chord(a, b, "C", (0, 4, 7)) for a, b in itertools.pairwise(downbeats))
    long = looped(Annotations(beats, downbeats, chords), seconds)
    expected = np.arange(0, seconds, beat)
    # the last beat may fall on either side of the end
    count = min(len(expected), len(long.beats_seconds))
    assert abs(len(expected) - len(long.beats_seconds)) <= 1
    np.testing.assert_allclose(long.beats_seconds[:count], expected[:count], atol=1e-6)
    assert set(np.round(long.downbeats_seconds, 6)) <= set(np.round(long.beats_seconds, 6))
    for one, after in zip(long.chords, long.chords[1:], strict=False):
        assert abs(one.end_seconds - after.start_seconds) < 1e-6
    assert long.chords[-1].end_seconds >= seconds - 1e-6


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    row = {"fad": {"value": 1.5}}
    assert kept(tmp_path / "a" / "row.json", lambda value: {"fad": {"value": value}}, 1.5) == row
    assert kept(tmp_path / "a" / "row.json", lambda: pytest.fail("measured again")) == row


def test_bundled_models_play_by_their_names() -> None:
    player, weights = loaded("lmdm-pocket")
    assert sampling(player.accompanist, 2, 1.0).sampler.steps == 2
    assert weights != loaded("liveband-pocket")[1]


def test_what_has_no_steps_is_refused() -> None:
    generator = CausalTransformer(4, 4, 8, 1, 1, window_frames=4, class_channels=4)
    statistics = LatentStatistics(torch.zeros(4), torch.ones(4))
    liveband = LiveBandAccompanist(generator, CodecSpec("toy", 3200, 1, 32, 4, 0), statistics, 1)
    with pytest.raises(UserError, match="does not sample in steps"):
        sampling(liveband, 2, 1.0)


def test_the_table_keeps_hyphens_and_has_minus_signs() -> None:
    cell = summary({name: [2.0, 1.0] for name in COLUMNS})
    lines = table({"fine-tuned": cell, "other": cell | {"block_ms": 12.34}}).splitlines()
    assert lines[2].startswith("| fine-tuned | 2.00 (−1.00) |")
    assert lines[2].endswith("| – |")
    assert lines[3].endswith("| 12.3 |")


def test_drift_is_the_second_half_minus_the_first() -> None:
    assert summary({"fad": [1.0, 3.0, 5.0, 9.0]})["fad"] | {"segments": None} == {
        "value": 1.0,
        "drift": 5.0,
        "segments": None,
    }
