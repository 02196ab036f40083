"""Measures of clouds of embeddings: overall, per instrument, and what second segments score more."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from livejam.embedding import Embedding
from metrics.clouds import Cloud, Clouds, Estimate
from metrics.evaluation.clips import Audio, Segment, Take
from metrics.evaluation.measure import Measure, Metrics, Result, tags_of
from metrics.intervals import UNKNOWN, Interval, jackknife_interval

ENDING, GOING_ON, LATER = "ending", "going_on", "later"
"""The clouds of what is judged: first segments of items that have no second one, those of the others, and these."""


class CloudMeasure(Measure):
    """A number of what is judged and of references, all of them clouds of embeddings.

    Args:
        embedding: turns audio into embeddings.
    """

    prefix: str
    """What the number's name begins with."""

    references: tuple[str, ...]
    """Names of the clouds that what is judged is compared with."""

    def __init__(self, embedding: Embedding) -> None:
        self.embedding = embedding
        self._known: dict[tuple[str, str], Tensor] = {}

    @abstractmethod
    def estimate(self, references: list[Cloud], judged: Cloud, leave_out: bool) -> Estimate:
        """The number, and if asked for without each of the songs."""

    @abstractmethod
    def sound_of(self, segment: Segment, stem_N: Audio) -> Audio:
        """What is embedded of a segment in which this stem is played."""

    @abstractmethod
    def song_of(self, take: Take) -> str:
        """Name of the song that what is judged is left out with."""

    @abstractmethod
    def stems_of(self, take: Take) -> dict[str, tuple[Audio, str] | None]:
        """Whole stem, and the song that it comes from, of every reference; None if there is none for this item."""

    @property
    def identity(self) -> str:
        """The embedding's."""
        return f"{self.prefix} of {self.embedding.identity}"

    @property
    def name(self) -> str:
        """The name under which the number is logged."""
        return f"{self.prefix}/{self.embedding.name}"

    @property
    def charts(self) -> list[str]:
        """The number over all instruments."""
        return [self.name]

    def new_metrics(self) -> Metrics:
        """All embeddings."""
        return {self.name: Clouds(self.embedding.dimension, (*self.references, ENDING, GOING_ON, LATER))}

    def update(self, takes: list[Take], metrics: Metrics, keep: bool) -> None:
        """Embed what is judged, and the references of the same items."""
        metric = metrics[self.name]
        assert isinstance(metric, Clouds)
        for take in takes:
            category, song = take.first.clip.category, self.song_of(take)
            first = ENDING if take.second is None else GOING_ON
            for name, segment in ((first, take.first), (LATER, take.second)):
                if segment is not None:
                    metric.update(name, self._embedded(segment, segment.stem_N), category, song)
            for name, stem in self.stems_of(take).items():
                if stem is not None:
                    metric.update(name, self._reference(name, take, stem[0]), category, stem[1])

    def read(self, metrics: Metrics) -> dict[str, Result]:
        """The number and its drift, and the number of every instrument."""
        metric = metrics[self.name]
        assert isinstance(metric, Clouds)
        with metric.sync_context():
            clouds = metric.clouds()
        overall, *categories = tags_of(self.name)
        results = {overall: self._result(clouds, metric.leaves_songs_out, drifts=True)}
        for place, tag in enumerate(categories):
            own = {name: cloud.of(place) for name, cloud in clouds.items()}
            results[tag] = self._result(own, metric.leaves_songs_out, drifts=False)
        return results

    def limited(self, value: float) -> float:
        """A number, or the end of an interval, as it is reported."""
        return value

    def _result(self, clouds: dict[str, Cloud], leave_out: bool, drifts: bool) -> Result:
        references = [clouds[name] for name in self.references]
        going_on, later = clouds[GOING_ON], clouds[LATER]
        first = self.estimate(references, clouds[ENDING].with_all(going_on), leave_out)
        value, count = self.limited(first.value), len(clouds[ENDING]) + len(going_on)
        interval = Interval(*map(self.limited, jackknife_interval(*first))) if leave_out else UNKNOWN
        if not drifts:
            return Result(value, math.nan, count, 0, interval)
        earlier = first if not len(clouds[ENDING]) else self.estimate(references, going_on, leave_out)
        after = self.estimate(references, later, leave_out)
        drift = self.limited(after.value) - self.limited(earlier.value)
        moved_U = after.left_out_U - earlier.left_out_U if leave_out else None
        drift_interval = UNKNOWN if moved_U is None else jackknife_interval(after.value - earlier.value, moved_U)
        return Result(value, drift, count, len(later), interval, drift_interval)

    def _reference(self, name: str, take: Take, stem_N: Audio) -> Tensor:
        """Embeddings of both segments; the same items come in every row and every validation."""
        clip = take.first.clip
        key = (name, clip.identity + clip.pairing)
        if key not in self._known:
            segments = [segment for segment in (take.first, take.second) if segment is not None]
            embedded = [self._embedded(segment, stem_N[segment.start : segment.stop]).cpu() for segment in segments]
            self._known[key] = torch.cat(embedded)
        return self._known[key]

    def _embedded(self, segment: Segment, stem_N: Audio) -> Tensor:
        audio_N = self.sound_of(segment, stem_N)
        return self.embedding(torch.from_numpy(audio_N.copy()), segment.clip.sample_rate_hz)
