"""Cheap musical numbers: harmony, time, level and faults, in milliseconds per item."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer

from callbacks.clips import Audio, Segment
from callbacks.score_monitor import ScoreMonitor, Scores
from metrics.chroma import Floats, chroma, chroma_agreement, key_agreement
from metrics.clicks import click_db
from metrics.harmony import chord_tone_share
from metrics.loudness import relative_level_db, silence_rate
from metrics.onsets import onset_seconds
from metrics.phase_lock import onset_strength, phase_lock

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
        chroma_WP: of the true stem.
        onsets_T: onset strength of the true stem.
        onsets: how often something begins in the true stem.
    """

    mix_chroma_WP: Floats
    chroma_WP: Floats
    onsets_T: Floats
    onsets: int


class HarmonyMonitor(ScoreMonitor):
    """What betrays a collapse at once, and whether notes fit the chords and the grid.

    Over pitched stems: `chord_tone_share`, how much of the time it sounds tones of the true chord;
    `chroma_agreement`, similarity of the stem's pitch classes with the mix's, second by second; `key_agreement`, the
    same over the whole segment. `phase_lock`: how steadily onsets sit on the true beat grid.

    `onset_ratio`: onsets per onset of the true stem. `loudness_db`: level of the stem relative to the true stem;
    `loudness_error_db`: the mean of its absolute value, in which too loud and too soft do not cancel.
    `silence_rate`: share of silent blocks. `click_db`: how sharply the waveform bends at the joins of the codec's
    frames, 0 if as anywhere. `broken_rate`: share of items that were not finite and count as silence.

    How well a stem fits is weighed by time: it is 0 for as long as it is silent while the true one sounds. If the
    true stem has no score, being silent, the item is excluded.

    Args:
        every_n_validations: measure in every n-th validation only (≥ 1).
        max_items: items measured in validation, the first of the plan; None = all.
        max_test_items: items measured in test, the first of the plan; None = all.
        segment_seconds: length of a segment in seconds.
        cache_folder: where anchors are kept; None = `cache` in the trainer's root.
    """

    identity = "adherence texture 4"

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

    def scores(self, segments: list[Segment], keep: bool) -> list[Scores]:
        """Score every segment; musical scores only where the truth is known."""
        return [self._scores(segment, self._truth(segment)) for segment in segments]

    def _scores(self, segment: Segment, truth: Truth) -> Scores:
        return _adherence(segment, truth) | self._texture(segment, truth.onsets)

    def _truth(self, segment: Segment) -> Truth:
        key = (segment.clip.identity, segment.start)
        if key not in self._truths:
            rate, target_N = segment.clip.sample_rate_hz, segment.target_N
            chromas = chroma(segment.mix_N, rate), chroma(target_N, rate)
            self._truths[key] = Truth(*chromas, _onsets(target_N, rate), len(onset_seconds(target_N, rate)))
        return self._truths[key]

    def _texture(self, segment: Segment, true_onsets: int) -> Scores:
        stem_N, rate = segment.stem_N, segment.clip.sample_rate_hz
        level_db = relative_level_db(stem_N, segment.target_N, rate)
        return {
            "onset_ratio": len(onset_seconds(stem_N, rate)) / true_onsets if true_onsets else math.nan,
            "loudness_db": level_db,
            "loudness_error_db": abs(level_db),
            "silence_rate": silence_rate(stem_N, rate),
            "click_db": click_db(stem_N, self.hop_samples, -segment.start % self.hop_samples),
            "broken_rate": float(segment.stem.broken),
        }


def _adherence(segment: Segment, truth: Truth) -> Scores:
    """How well a stem fits a segment; nan where the true stem says nothing of it."""
    rate, annotations, stem_N = segment.clip.sample_rate_hz, segment.annotations, segment.stem_N
    scores = dict.fromkeys(ADHERENCE, math.nan)
    if annotations is not None and truth.onsets:
        scores["phase_lock"] = phase_lock(_onsets(stem_N, rate), truth.onsets_T, annotations.beats_seconds)
    if segment.clip.instrument not in UNPITCHED and truth.chroma_WP.any():
        chromas = chroma(stem_N, rate), truth.mix_chroma_WP, truth.chroma_WP
        scores["chroma_agreement"] = chroma_agreement(*chromas)
        scores["key_agreement"] = key_agreement(*chromas)
        if annotations is not None:
            scores["chord_tone_share"] = chord_tone_share(stem_N, segment.target_N, rate, annotations.chords)
    return scores


def _onsets(audio_N: Audio, sample_rate_hz: int) -> Floats:
    return onset_strength(torch.from_numpy(audio_N.copy()), sample_rate_hz).double().numpy()
