"""Fréchet audio distance: does the accompaniment sound like real stems?

Shapes: N audio samples, W windows, D width.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from livejam.embedding import Embedding
from livejam.processes import gathered
from metrics.evaluation.clips import Audio, Take
from metrics.evaluation.measure import Measure, Metrics, Result, meet
from metrics.frechet import DriftingFrechetDistance, FrechetAudioDistance
from metrics.frechet_reference import FrechetReference
from metrics.intervals import Interval, jackknife_interval, positive_interval


class FADMeasure(Measure):
    """Fréchet distance between the stems of one segment and the true stems of the same items, both segments of them.

    Args:
        embedding: turns audio into embeddings.
        reference: another reference to compare with; None = the true stems of the items themselves.
        extrapolate: whether to say FAD∞ too.
    """

    def __init__(self, embedding: Embedding, reference: FrechetReference | None, extrapolate: bool) -> None:
        self.embedding, self.reference, self.extrapolate = embedding, reference, extrapolate
        self._references: dict[str, Tensor] = {}

    @property
    def identity(self) -> str:
        """The embedding's, and the reference's."""
        parts = [self.embedding.identity]
        if self.reference is not None:
            parts.append(f"to {self.reference.count} of {self.reference.data_hash}")
        return " ".join(parts + ["infinity"] * self.extrapolate)

    @property
    def published(self) -> bool:
        """Whether the embedding is the papers', and the reference the true stems of the same items."""
        return self.embedding.published and self.reference is None

    @property
    def name(self) -> str:
        """The name under which the distance is logged."""
        return f"fad/{self.embedding.name}"

    @property
    def charts(self) -> list[str]:
        """The distance."""
        return [self.name]

    def new_metrics(self) -> Metrics:
        """One distance."""
        metric = DriftingFrechetDistance(self.embedding.dimension, self.extrapolate)
        if self.reference is not None:
            metric.use_reference(self.reference)
        return {self.name: metric}

    def update(self, takes: list[Take], metrics: Metrics, keep: bool) -> None:
        """Embed the stems and, as reference, the true stems of the same items."""
        metric = metrics[self.name]
        assert isinstance(metric, DriftingFrechetDistance)
        for take in takes:
            clip = take.first.clip
            first_WD = self._embed(take.first.stem_N, clip.sample_rate_hz)
            later_WD = None if take.second is None else self._embed(take.second.stem_N, clip.sample_rate_hz)
            metric.update_pair(first_WD, later_WD, take.first.stem.song)
            if self.reference is None:
                metric.update(self._true(take), real=True, song=clip.song, data=clip.identity)
            else:
                self.reference.require_like(self.embedding.identity, clip.sample_rate_hz, take.segment_seconds)

    def read(self, metrics: Metrics) -> dict[str, Result]:
        """Distance, drift and numbers of embeddings."""
        metric = metrics[self.name]
        assert isinstance(metric, DriftingFrechetDistance)
        score = metric.compute()
        distance, count = float(score.distance), int(score.fake_count)
        if 0 < count < self.embedding.dimension:
            warnings.warn(
                f"{self.name} of {count} embeddings with {self.embedding.dimension} dimensions is biased upwards; "
                "evaluate more or longer items",
                stacklevel=2,
            )
        with metric.sync_context():
            drift, drift_count = metric.drift(distance), int(metric.later_count)
            intervals = _intervals(metric, distance, drift)
        results = {self.name: Result(distance, drift, count, drift_count, *intervals)}
        if self.extrapolate:
            results[f"{self.name}/infinity"] = Result(float(score.extrapolated), math.nan, count, 0)
        return results

    def reference_of(self, takes: Sequence[Take], device: torch.device) -> FrechetReference:
        """A reference of true stems, of all processes, which have to ask together.

        Args:
            takes: items of this process.
            device: where the processes' sums meet.
        """
        metric = FrechetAudioDistance(self.embedding.dimension)
        for take in takes:
            metric.update(self._true(take), real=True, data=take.first.clip.identity)
        cuts = ((take.first.clip.sample_rate_hz, take.segment_seconds) for take in takes)
        everyones_cuts = gathered(max(cuts, default=(0, 0.0)))
        meet([metric], device)
        with metric.sync_context():
            return metric.reference(self.embedding.identity, *max(everyones_cuts))

    def _embed(self, audio_N: Audio, sample_rate_hz: int) -> Tensor:
        return self.embedding(torch.from_numpy(audio_N.copy()), sample_rate_hz)

    def _true(self, take: Take) -> Tensor:
        """Embeddings of both segments of a true stem; the same items come in every row and every validation."""
        clip = take.first.clip
        if clip.identity not in self._references:
            segments = [segment for segment in (take.first, take.second) if segment is not None]
            embedded = [self._embed(segment.target_N, clip.sample_rate_hz).cpu() for segment in segments]
            self._references[clip.identity] = torch.cat(embedded)
        return self._references[clip.identity]


def _intervals(metric: DriftingFrechetDistance, distance: float, drift: float) -> tuple[Interval, Interval]:
    """Of the distance and of its drift; unknown unless songs are kept."""
    values_U, later_U = metric.left_out("fake"), metric.left_out("later")
    paired_U = values_U if int(metric.paired_count) == int(metric.fake_count) else metric.left_out("paired")
    return positive_interval(distance, values_U), jackknife_interval(drift, later_U - paired_U)
