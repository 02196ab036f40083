"""What recordings from elsewhere are judged by: the callbacks' measures, with a truth that is tracked on the mix."""

from __future__ import annotations

import contextlib
import ctypes
import math
from dataclasses import dataclass

import torch

from livejam.batch import Annotations
from livejam.embedding import Embedding
from metrics.beat_tracking import BeatTracker, CachedBeatTracker
from metrics.chord_tracking import ChordTracker, LvChordia
from metrics.cocola import Cocola
from metrics.cocola_weights import pretrained_cocola
from metrics.evaluation.beat_f1_measure import BeatF1Measure
from metrics.evaluation.clips import Audio, Segment, Take
from metrics.evaluation.cocola_measure import COCOLAMeasure
from metrics.evaluation.harmony_measure import HarmonyMeasure
from metrics.evaluation.measure import ScoreMeasure
from metrics.prompt_adherence import integrated_lufs

OF_TRUTH = ("onset_ratio", "loudness_db", "loudness_error_db")
"""Scores that need a true stem."""

LUFS = "loudness_lufs"

Drifting = dict[str, tuple[float, float]]
"""Per score that of the first segment, and that of the second; nan where undefined."""


@dataclass(frozen=True)
class Settings:
    """How recordings are judged.

    Args:
        segment_seconds: length of a segment in seconds.
        tracker: tracks beats; None = they are not.
        chords: whether chords are tracked.
        cocola: COCOLA's weights, as in `metrics.cocola_weights.pretrained_cocola`; None = it is not measured.
        hop_samples: distance of the joins at which clicks are looked for; None = they are not.
        embeddings: of the distances.
    """

    segment_seconds: float
    tracker: type[BeatTracker] | None
    chords: bool
    cocola: str | None
    hop_samples: int | None
    embeddings: tuple[type[Embedding], ...]


class Judges:
    """Measures one pair at a time, and remembers what comes again in the rows of one pair only.

    Args:
        settings: what is measured.

    Raises:
        UserError: a package or weights that this needs are missing.
    """

    def __init__(self, settings: Settings) -> None:
        self.segment_seconds, self.hop_samples = settings.segment_seconds, settings.hop_samples
        self.tracker: BeatTracker | None = None if settings.tracker is None else settings.tracker()
        self.chords: ChordTracker | None = LvChordia() if settings.chords else None
        self.network: Cocola | None = None if settings.cocola is None else pretrained_cocola(settings.cocola)
        self.embeddings = {kind.name: kind() for kind in settings.embeddings}
        self.beats: CachedBeatTracker | None = None
        self.measures: list[ScoreMeasure] = []
        self.forget()

    def forget(self) -> None:
        """Forget all recordings, so that memory does not grow with their number."""
        self.beats = None if self.tracker is None else CachedBeatTracker(self.tracker, None)
        self.measures = [HarmonyMeasure()]
        if self.network is not None:
            self.measures.append(COCOLAMeasure(self.network))
        if self.beats is not None:
            self.measures.append(BeatF1Measure(self.beats, None, together=False))

    @property
    def methods(self) -> dict[str, str]:
        """By what every measure judges, by the name of its first score."""
        tracked = [one.identity for one in (self.tracker, self.chords) if one is not None]
        found = {LUFS: "ITU-R BS.1770-4", **{measure.charts[0]: measure.identity for measure in self.measures}}
        found["chord_tone_share"] += f"; on the mix: {', '.join(tracked) or 'nothing tracked'}"
        for name, embedding in self.embeddings.items():
            found |= {f"{kind}/{name}": embedding.identity for kind in ("fad", "kad", "apa")}
        return found

    def annotations(self, mix_N: Audio, sample_rate_hz: int) -> Annotations | None:
        """Beats and chords of a mix, as they are tracked; None if nothing is."""
        if self.beats is None and self.chords is None:
            return None
        beats = () if self.beats is None else tuple(self.beats([mix_N], sample_rate_hz)[0].tolist())
        chords = () if self.chords is None else self.chords(mix_N, sample_rate_hz)
        return Annotations(beats, (), chords)

    def scores(self, take: Take, has_reference: bool) -> Drifting:
        """All scores of a stem.

        Args:
            take: its segments.
            has_reference: whether the true stem is known; otherwise scores that need it are left out, and what was
                played stands in for it where one asks when something should sound.
        """
        first = self._scores(take.first)
        second = dict.fromkeys(first, math.nan) if take.second is None else self._scores(take.second)
        unknown = {"beat_f1_truth", *(() if has_reference else OF_TRUTH), *(() if self.hop_samples else ("click_db",))}
        return {name: (score, second[name]) for name, score in first.items() if name not in unknown}

    def _scores(self, segment: Segment) -> dict[str, float]:
        scores = {LUFS: _finite(integrated_lufs(segment.stem_N, segment.clip.sample_rate_hz))}
        for measure in self.measures:
            scores |= measure.scores([segment], keep=True)[0]
        return scores


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.nan


M_MMAP_THRESHOLD, LARGE_BYTES = -3, 1 << 20
"""glibc's name of the option, and from which size on an array gets pages of its own."""


def return_large_arrays() -> None:
    """Let this process give the memory of every large array back as soon as it is freed; does nothing without glibc.

    Otherwise arrays of a pair come to lie between the few numbers that are kept of it, and the holes that they leave
    are not filled by those of the next pair.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


_judges: Judges | None = None


def start_judges(settings: Settings) -> None:
    """Make the judges of this worker process, which takes one thread, because the processes share the cores."""
    global _judges
    return_large_arrays()
    torch.set_num_threads(1)
    _judges = Judges(settings)


def own_judges() -> Judges:
    """The judges of this worker process."""
    assert _judges is not None
    return _judges
