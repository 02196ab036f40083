"""Cheap musical numbers: harmony, time, level and faults, in milliseconds per item.

Shapes: N audio samples, W windows, P the twelve pitch classes, T frames, F mel bands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from tqdm import tqdm

from livejam.batch import Chord
from metrics.chord_tracking import ChordTracker
from metrics.chroma import Floats, chroma, chroma_agreement, key_agreement
from metrics.clicks import click_db
from metrics.copying import copied, copied_spectrum, deviations
from metrics.evaluation.clips import Audio, Segment
from metrics.evaluation.measure import ScoreMeasure, Scores
from metrics.harmony import chord_tone_share
from metrics.loudness import relative_level_db, silence_rate
from metrics.onsets import onset_seconds
from metrics.phase_lock import onset_strength, phase_lock

UNPITCHED = ("Percussive", "Sound Effects", "Synth Effects", "Unknown")
"""Categories whose stems need not have a pitch, so that chords say nothing about them."""

ADHERENCE = ("chord_tone_share", "chroma_agreement", "key_agreement", "phase_lock")
"""How well a stem fits."""

TEXTURE = (
    *("onset_ratio", "loudness_db", "loudness_error_db", "silence_rate", "click_db"),
    *("copied", "copied_spectrum", "broken_rate"),
)


@dataclass(frozen=True)
class Truth:
    """What is known of a segment, whoever plays.

    Args:
        mix_chroma_WP: of what is accompanied.
        mix_TF: its spectrogram (`metrics.copying.deviations`).
        chroma_WP: of the true stem.
        onsets_T: onset strength of the true stem.
        onsets: how often something begins in the true stem.
        chords: the true ones, or those that were tracked on the mix.
    """

    mix_chroma_WP: Floats
    mix_TF: Floats
    chroma_WP: Floats
    onsets_T: Floats
    onsets: int
    chords: tuple[Chord, ...]


class HarmonyMeasure(ScoreMeasure):
    """Whether notes fit the chords and the grid (`ADHERENCE`), and what betrays a collapse at once (`TEXTURE`).

    Musical scores exist only where the truth is known, and where the true stem has them.

    Args:
        chords: tracks the chords of mixes that have no annotated ones; None = they have no chord tones.
    """

    def __init__(self, chords: ChordTracker | None = None) -> None:
        self.chords = chords
        self._truths: dict[tuple[str, int], Truth] = {}

    @property
    def identity(self) -> str:
        """Its version, and the tracker's."""
        return "adherence texture 6" + ("" if self.chords is None else f" {self.chords.identity}")

    @property
    def charts(self) -> list[str]:
        """All of them."""
        return [*ADHERENCE, *TEXTURE]

    def scores(self, segments: list[Segment], keep: bool) -> list[Scores]:
        """Score every segment."""
        # tracking chords takes a second or two each, once per mix; everything else milliseconds
        shown = tqdm(segments, desc="harmony", leave=False, delay=3)
        return [self._scores(segment, self._truth(segment)) for segment in shown]

    def _scores(self, segment: Segment, truth: Truth) -> Scores:
        return _adherence(segment, truth) | _texture(segment, truth)

    def _truth(self, segment: Segment) -> Truth:
        key = (segment.clip.identity, segment.start)
        if key not in self._truths:
            rate, target_N = segment.clip.sample_rate_hz, segment.target_N
            self._truths[key] = Truth(
                chroma(segment.mix_N, rate),
                deviations(segment.mix_N, rate),
                chroma(target_N, rate),
                _onsets(target_N, rate),
                len(onset_seconds(target_N, rate)),
                self._chords(segment),
            )
        return self._truths[key]

    def _chords(self, segment: Segment) -> tuple[Chord, ...]:
        known = () if segment.annotations is None else segment.annotations.chords
        pitched = segment.clip.instrument not in UNPITCHED
        if known or self.chords is None or not pitched:
            return known
        return self.chords(segment.mix_N, segment.clip.sample_rate_hz)


def _texture(segment: Segment, truth: Truth) -> Scores:
    """What a stem sounds like, whatever is played."""
    stem_N, rate = segment.stem_N, segment.clip.sample_rate_hz
    level_db = relative_level_db(stem_N, segment.target_N, rate)
    return {
        "onset_ratio": len(onset_seconds(stem_N, rate)) / truth.onsets if truth.onsets else math.nan,
        "loudness_db": level_db,
        "loudness_error_db": abs(level_db),
        "silence_rate": silence_rate(stem_N, rate),
        "click_db": click_db(stem_N, segment.hop_samples, segment.first_join),
        "copied": copied(stem_N, segment.mix_N, rate),
        "copied_spectrum": copied_spectrum(deviations(stem_N, rate), truth.mix_TF),
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
        if truth.chords:
            scores["chord_tone_share"] = chord_tone_share(stem_N, segment.target_N, rate, truth.chords)
    return scores


def _onsets(audio_N: Audio, sample_rate_hz: int) -> Floats:
    return onset_strength(torch.from_numpy(audio_N.copy()), sample_rate_hz).double().numpy()
