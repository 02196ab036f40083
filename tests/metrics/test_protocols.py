"""The papers' protocol: equal loudness, and the papers' headings over nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from metrics.beat_tracking import BeatTracker, CachedBeatTracker
from metrics.embeddings import LogMel
from metrics.evaluation.beat_f1_measure import BeatF1Measure
from metrics.evaluation.clips import Clip, Stem
from metrics.evaluation.evaluate import Task
from metrics.evaluation.fad_measure import FADMeasure
from metrics.evaluation.measure import Measure
from metrics.evaluation.protocols import Protocol, Published
from metrics.headings import TABLE_1, heading
from metrics.prompt_adherence import integrated_lufs

RATE = 22_050


def clip() -> Clip:
    rng = np.random.default_rng(0)
    levels = np.array([[0.3], [0.01], [0.0], [0.1]])
    mix_N, target_N, generated_N, partner_N = (levels * rng.normal(size=(4, 2 * RATE))).astype(np.float32)
    other = Stem(partner_N, "other")
    return Clip(mix_N, target_N, generated_N, RATE, 0, "song", 0.0, None, partner=other, estimate_N=0.2 * mix_N)


def test_everything_is_equally_loud_and_silence_stays_silence() -> None:
    before = clip()
    after = Published().prepared(before)
    assert after.partner is not None
    assert after.estimate_N is not None
    for audio_N in (after.mix_N, after.target_N, after.partner.audio_N, after.estimate_N):
        assert integrated_lufs(audio_N, RATE) == pytest.approx(-18, abs=0.05)
        assert audio_N.dtype == np.float32
    assert not after.generated_N.any()
    softer = Published().prepared(replace(before, mix_N=0.1 * before.mix_N))
    np.testing.assert_allclose(softer.mix_N, after.mix_N, atol=1e-5)
    assert Protocol().prepared(before) is before


def test_peaks_stay_below_full_scale() -> None:
    quiet_N = np.zeros(2 * RATE, np.float32)
    quiet_N[::2000] = 0.5
    loud = Published().prepared(replace(clip(), generated_N=quiet_N)).generated_N
    assert np.abs(loud).max() == pytest.approx(0.99)


class Papers(BeatTracker):
    """In place of Beat This!, whose weights are not here."""

    identity, published = "beat_this stand-in", True

    def __call__(self, audios: Any, sample_rate_hz: int) -> Any:
        return [np.zeros(0) for _ in audios]


class TheirLogMel(LogMel):
    published = True


def beats(categories: list[str] | None = None) -> BeatF1Measure:
    return BeatF1Measure(CachedBeatTracker(Papers(), None), categories, together=False)


@pytest.mark.parametrize(
    ("measure", "protocol", "seconds", "expected"),
    [
        (beats(), Published(), 10.0, "published"),
        (FADMeasure(TheirLogMel(), None, extrapolate=False), Published(), 10.0, "published"),
        (beats(), Protocol(), 10.0, "balanced"),
        (beats(), Published(), 5.0, "balanced"),
        (beats(["Percussive"]), Published(), 10.0, "balanced"),
        (FADMeasure(LogMel(), None, extrapolate=False), Published(), 10.0, "balanced"),
    ],
)
def test_the_protocol_is_the_papers_only_if_all_of_it_is(
    measure: Measure, protocol: Protocol, seconds: float, expected: str
) -> None:
    task = Task(measure, [], segment_seconds=seconds, protocol=protocol)
    assert task.protocol_name == expected
    assert task.method.endswith("; all at -18 LUFS") == isinstance(protocol, Published)


def facts(tracker: str, measured: str = "published", drawn: str | None = "published") -> dict[str, Any]:
    measures = {
        "beat_f1": {"method": f"{tracker} and more", "protocol": measured},
        "fad/vggish": {"method": "vggish 1", "protocol": measured},
        "cocola/full": {"method": "cocola 1"} | ({"protocol": measured} if drawn else {}),
    }
    return {"data": {"protocol": drawn} if drawn else {}, "codec": {}, "measures": measures, "models": {}}


def test_the_papers_headings_stand_over_nothing_else() -> None:
    theirs = facts("beat_this")
    names = ("fad_vggish", "beat_f1", "cocola_full", "cocola_percussive")
    assert [heading(name, [theirs, theirs]) for name in names] == [TABLE_1[name] for name in names]
    others = ([], [facts("m", "balanced")], [facts("m", drawn="balanced")], [facts("m", drawn=None)])
    for measured_on in (*others, [theirs, facts("m", "balanced")]):
        assert not {heading(name, measured_on) for name in names} & set(TABLE_1.values())


def test_the_tracker_stands_over_what_it_tracked() -> None:
    old = facts("madmom-0.16.1", "balanced")
    assert heading("beat_f1_drums", [old]) == "beat F1 drums ↑ (madmom)"
    assert heading("beat_f1", [old, facts("beat_this")]) == "beat F1, mix ↑ (madmom, beat_this)"
    assert heading("beat_f1", []) == "beat F1, mix ↑"
    assert heading("phase_lock", [old]) == "phase lock ↑"
