"""Chords that are tracked on a mix: labels, and agreement with what the composer knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from datamodules.annotations import read_annotations
from livejam.batch import Annotations, Chord
from metrics.chord_tracking import ChordTracker, LvChordia, chords_of, pitch_classes, root_agreement
from metrics.evaluation.clips import Clip, Stem, takes_of
from metrics.evaluation.harmony_measure import HarmonyMeasure


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("C:maj", (0, 4, 7)),
        ("F#:min7/b3", (6, 9, 1, 4)),
        ("Bb:sus4(b7)", (10, 3, 5, 8)),
        ("Ab:maj/2", (8, 0, 3, 10)),
        ("G", (7, 11, 2)),
        ("N", ()),
    ],
)
def test_labels(label: str, expected: tuple[int, ...]) -> None:
    assert pitch_classes(label) == expected


@pytest.mark.parametrize("label", ["H:maj", "C:odd", "C:maj/x", ""])
def test_what_is_no_chord_is_refused(label: str) -> None:
    with pytest.raises(ValueError, match="no chord"):
        pitch_classes(label)


def test_agreement_is_the_share_of_time_with_the_same_root() -> None:
    true = chords_of([(0, 2, "C:maj"), (2, 4, "G:maj")])
    tracked = chords_of([(0, 1, "C:min"), (1, 3, "N"), (3, 5, "G:7")])
    assert root_agreement(tracked, true) == pytest.approx(0.5)
    assert np.isnan(root_agreement(tracked, ()))


class Always(ChordTracker):
    """Hears one chord, and counts how often it listens."""

    identity = "always C"

    def __init__(self) -> None:
        self.heard = 0

    def __call__(self, audio_N: np.ndarray, sample_rate_hz: int) -> tuple[Chord, ...]:
        self.heard += 1
        return (Chord(0.0, len(audio_N) / sample_rate_hz, "C:maj", (0, 4, 7)),)


def chord_tones(truth: Annotations | None, tracker: ChordTracker | None) -> float:
    rate = 22_050
    tone_N = (0.1 * np.sin(2 * np.pi * 261.6 * np.arange(2 * rate) / rate)).astype(np.float32)
    clip = Clip(tone_N, tone_N, tone_N, rate, 0, "song", 0.0, truth)
    segment = takes_of([clip], [Stem(tone_N, "song")], 2.0, 512)[0].first
    measure = HarmonyMeasure(tracker)
    return [measure.scores([segment], keep=True)[0]["chord_tone_share"] for _ in range(2)][1]


def test_tracked_chords_stand_in_for_unknown_ones_only() -> None:
    tracker = Always()
    wrong = Annotations((), (), (Chord(0.0, 2.0, "F#", (6, 10, 1)),))
    assert np.isnan(chord_tones(None, None))
    assert chord_tones(None, tracker) > 0.95
    assert tracker.heard == 1
    assert chord_tones(wrong, tracker) < 0.05
    assert tracker.heard == 1


@pytest.mark.slow
def test_the_tracker_agrees_with_the_composer(rendered_songs: Path) -> None:
    track, agreements = LvChordia(), []
    for path in sorted(rendered_songs.glob("**/annotations.json"))[:3]:
        mix_N, rate = soundfile.read(path.parent / "mix.flac", frames=30 * 44_100, dtype="float32")
        truth = read_annotations(path.parent)
        assert truth is not None
        agreements.append(root_agreement(track(mix_N, rate), truth.excerpt(0, len(mix_N) / rate).chords))
    assert np.mean(agreements) > 0.85
    assert track(np.zeros(22_050, np.float32), 22_050) == ()
