"""Cheap musical numbers: harmony, time, level and faults, in milliseconds per item."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torchmetrics import Metric

from callbacks.clips import Audio, Segment
from callbacks.monitor import GROUPS, Monitor
from metrics.chroma import Floats, chroma, chroma_agreement, key_agreement
from metrics.clicks import click_db
from metrics.harmony import chord_tone_share
from metrics.loudness import relative_level_db, silence_rate
from metrics.onsets import onset_seconds
from metrics.phase_lock import phase_lock
from metrics.scores import MeanScore

UNPITCHED = ("Percussive", "Sound Effects", "Synth Effects", "Unknown")
"""Categories whose stems need not have a pitch, so that chords say nothing about them."""

ADHERENCE = ("chord_tone_share", "chroma_agreement", "key_agreement", "phase_lock")
"""How well a stem fits."""

TEXTURE = ("onset_ratio", "loudness_db", "loudness_error_db", "silence_rate", "click_db", "broken_rate")


@dataclass(frozen=True)
class Truth:
    """What is known of a segment, whoever plays.

    Args:
        mix_chroma_WP: of what is accompanied.
        adherence: how well the true stem fits.
        onsets: how often something begins in the true stem.
    """

    mix_chroma_WP: Floats
    adherence: dict[str, float]
    onsets: int


class HarmonyMonitor(Monitor):
    """What betrays a collapse at once, and whether notes fit the chords and the grid.

    Over pitched stems: `chord_tone_share`, share of energy on the pitch classes of the true chord;
    `chroma_agreement`, similarity of the stem's pitch classes with the mix's, second by second; `key_agreement`, the
    same over the whole segment. `phase_lock`: how steadily onsets sit on the true beat grid.

    `onset_ratio`: onsets per onset of the true stem. `loudness_db`: level of the stem relative to the true stem;
    `loudness_error_db`: the mean of its absolute value, in which too loud and too soft do not cancel.
    `silence_rate`: share of silent blocks. `click_db`: how sharply the waveform bends at the joins of the codec's
    frames, 0 if as anywhere. `broken_rate`: share of items that were not finite and count as silence.

    How well a stem fits is 0 where the true stem has a score but the judged one has none, because nothing sounds
    there: what is silent fits no chord. If the true stem has none either, the item is excluded.

    Args:
        every_n_validations: measure in every n-th validation only (≥ 1).
        max_items: items measured in validation, per process; None = all.
        max_test_items: items measured in test, per process; None = all.
        segment_seconds: length of a segment in seconds.
        cache_folder: where anchors are kept; None = `cache` in the trainer's root.
    """

    identity = "adherence texture 3"

    def __init__(
        self,
        every_n_validations: int = 1,
        max_items: int | None = None,
        max_test_items: int | None = None,
        segment_seconds: float = 10.0,
        cache_folder: str | None = None,
    ) -> None:
        super().__init__(every_n_validations, max_items, max_test_items, segment_seconds, cache_folder)
        self.hop_samples = 0
        self._truths: dict[tuple[str, int], Truth] = {}

    @property
    def charts(self) -> list[str]:
        """All of them."""
        return [*ADHERENCE, *TEXTURE]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """The codec says where frames are joined."""
        super().setup(trainer, pl_module, stage)
        codec: Any = pl_module.codec
        self.hop_samples = codec.spec.hop_samples

    def new_metrics(self) -> dict[str, Metric]:
        """One mean per number, grouped by category."""
        return {name: MeanScore(GROUPS) for name in self.charts}

    def measure(self, segments: list[Segment], metrics: dict[str, Metric], keep: bool) -> None:
        """Score every segment; musical scores only where the truth is known."""
        for segment in segments:
            truth = self._truth(segment)
            scores = self._adherence(segment, truth) | self._texture(segment, truth.onsets)
            for name, value in scores.items():
                metrics[name].update(value, segment.clip.category, segment.clip.song)

    def _truth(self, segment: Segment) -> Truth:
        key = (segment.clip.identity, segment.start)
        if key not in self._truths:
            rate = segment.clip.sample_rate_hz
            mix_chroma_WP = chroma(segment.mix_N, rate)
            fits = _adherence(segment, segment.target_N, mix_chroma_WP)
            self._truths[key] = Truth(mix_chroma_WP, fits, len(onset_seconds(segment.target_N, rate)))
        return self._truths[key]

    def _adherence(self, segment: Segment, truth: Truth) -> dict[str, float]:
        """The stem's scores: nan where the true stem has none, 0 where only the true stem has one."""
        scores = _adherence(segment, segment.stem_N, truth.mix_chroma_WP)
        missing = {name: 0.0 for name, value in scores.items() if math.isnan(value)}
        excluded = {name: math.nan for name, value in truth.adherence.items() if math.isnan(value)}
        return scores | missing | excluded

    def _texture(self, segment: Segment, true_onsets: int) -> dict[str, float]:
        stem_N, rate = segment.stem_N, segment.clip.sample_rate_hz
        level_db = relative_level_db(stem_N, segment.target_N, rate)
        return {
            "onset_ratio": len(onset_seconds(stem_N, rate)) / true_onsets if true_onsets else math.nan,
            "loudness_db": level_db,
            "loudness_error_db": abs(level_db),
            "silence_rate": silence_rate(stem_N, rate),
            "click_db": click_db(stem_N, self.hop_samples, -segment.start % self.hop_samples),
            "broken_rate": float(segment.broken),
        }


def _adherence(segment: Segment, stem_N: Audio, mix_chroma_WP: Floats) -> dict[str, float]:
    """How well a stem fits a segment; nan where undefined."""
    rate, annotations = segment.clip.sample_rate_hz, segment.annotations
    scores = dict.fromkeys(ADHERENCE, math.nan)
    if annotations is not None:
        scores["phase_lock"] = phase_lock(stem_N, rate, annotations.beats_seconds)
    if segment.clip.instrument not in UNPITCHED:
        stem_chroma_WP = chroma(stem_N, rate)
        scores["chroma_agreement"] = chroma_agreement(stem_chroma_WP, mix_chroma_WP)
        scores["key_agreement"] = key_agreement(stem_chroma_WP, mix_chroma_WP)
        if annotations is not None:
            scores["chord_tone_share"] = chord_tone_share(stem_N, rate, annotations.chords)
    return scores
