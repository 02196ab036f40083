"""The evaluation: a model's row and the rows of its anchors, measured on the very same items."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from livejam.codecs.codec import codec_identity
from livejam.files import atomic_path
from livejam.processes import gathered
from metrics.anchor_rows import ANCHORS, LAG_COPY, ONE_STEP, anchor_tag
from metrics.evaluation.anchors import LATENT_NOISE, Reconstructions, anchor_stems
from metrics.evaluation.clips import Clip, Place, Stem, first_of_run, takes_of
from metrics.evaluation.measure import Measure, Metrics, Result, meet
from metrics.evaluation.protocols import SEGMENT_SECONDS, Protocol, Published
from metrics.intervals import SongRows

MODEL = "model"

PROTOCOL = "both segments of the same items, the reference cut likewise"
"""What the numbers of all measures depend on; anchors that were kept under another protocol are not looked at."""


@dataclass(frozen=True)
class Task:
    """A measure, and what it is applied to.

    Args:
        measure: what is measured.
        clips: items of this process, in the order of the plan.
        limit: items that are measured, the first of the plan over all processes; None = all.
        segment_seconds: length of a segment in seconds.
        folder: where anchors are kept; None = they are computed each time.
        protocol: what is done to the clips before.
    """

    measure: Measure
    clips: Sequence[Clip]
    limit: int | None = None
    segment_seconds: float = 10.0
    folder: Path | None = None
    protocol: Protocol = field(default_factory=Protocol)

    def chosen(self) -> list[Clip]:
        """The clips that are measured, prepared; every process has to ask, also one without any."""
        chosen = first_of_run([clip for clip in self.clips if self.measure.accepts(clip)], self.limit)
        return [self.protocol.prepared(clip) for clip in chosen]

    @property
    def method(self) -> str:
        """What is measured, and what was done before."""
        return self.measure.identity + self.protocol.method

    @property
    def protocol_name(self) -> str:
        """The papers' if everything is: loudness, segments, and what the measure judges by."""
        alike = isinstance(self.protocol, Published) and self.segment_seconds == SEGMENT_SECONDS
        return Published.name if alike and self.measure.published else Protocol.name


@dataclass(frozen=True)
class Outcome:
    """What an evaluation says.

    Args:
        rows: per row, `MODEL` and the anchors, the results by their names.
        charts: names of the results that say it all: without the breakdown per category.
        method: identity of the measure.
        segment_seconds: length of a segment in seconds.
        places: of the items of all processes, in an order of their own.
        protocol: name of the protocol (`metrics.evaluation.protocols`).
    """

    rows: dict[str, dict[str, Result]]
    charts: list[str]
    method: str
    segment_seconds: float
    places: list[Place]
    protocol: str = Protocol.name

    def curves(self, stage: str) -> dict[str, float]:
        """The model's numbers by their tags: `<stage>/<name>`, and of charts `…/drift` and both counts.

        Args:
            stage: val or test.
        """
        numbers: dict[str, float] = {}
        for name, result in self.rows[MODEL].items():
            numbers[f"{stage}/{name}"] = result.value
            if name in self.charts:
                numbers[f"{stage}/{name}/drift"] = result.drift
                numbers[f"{stage}/{name}/count"] = float(result.count)
                numbers[f"{stage}/{name}/drift/count"] = float(result.drift_count)
        return _defined(numbers)

    def anchor_curves(self) -> dict[str, float]:
        """The anchors' numbers by their tags, `anchor/<row>/<name>`."""
        names = ((row, name) for row in self.rows if row != MODEL for name in self.charts)
        return _defined({anchor_tag(row, name): self.rows[row][name].value for row, name in names})


def _defined(numbers: dict[str, float]) -> dict[str, float]:
    return {tag: value for tag, value in numbers.items() if not math.isnan(value)}


def evaluate(task: Task, reconstructions: Reconstructions, intervals: bool = True) -> Outcome:
    """Measure what a model played, and the anchors of the same items.

    Every process of a run, also one without items, has to ask for the same tasks in the same order.

    Args:
        task: the measure and its clips.
        reconstructions: by the codec of the model; shared by all tasks of an evaluation.
        intervals: whether every number gets a 95 % interval over songs; memory then grows with the number of items.
    """
    items = _Items(task, task.chosen(), reconstructions, intervals)
    rows = {MODEL: items.played(), **items.anchors(), **items.expected()}
    meet(_flat(rows).values(), reconstructions.device)
    with warnings.catch_warnings():
        # Metrics restored from disk were never updated by this process.
        warnings.filterwarnings("ignore", message=".*method of metric .* was called before.*")
        results = {row: task.measure.read(metrics) for row, metrics in rows.items()}
    places = items.places()
    return Outcome(results, task.measure.charts, task.method, task.segment_seconds, places, task.protocol_name)


@dataclass(frozen=True)
class _Items:
    """The items of this process, as every row is measured on them."""

    task: Task
    clips: list[Clip]
    reconstructions: Reconstructions
    intervals: bool

    def played(self) -> Metrics:
        """Metrics of the model's row."""
        return self._measured([Stem(clip.generated_N, clip.song, clip.broken) for clip in self.clips], keep=False)

    def anchors(self) -> dict[str, Metrics]:
        """Metrics of every anchor row, from disk where these items were measured before."""
        horizon, rows = self.reconstructions.horizon, self._kept(ANCHORS, self._key())
        # A file of its own: the others do not depend on how far ahead the model plays.
        return rows if horizon is None else rows | self._kept((LAG_COPY,), self._key(f"{LAG_COPY} {horizon}"))

    def _kept(self, names: Sequence[str], key: str) -> dict[str, Metrics]:
        """Metrics of some anchor rows, from the disk if they are there."""
        if self.task.folder is None:
            return {row: self._anchor(row) for row in names}
        path, rows = self.task.folder / f"{key}.safetensors", {row: self._empty() for row in names}
        if not load_states(path, _flat(rows)):
            rows = {row: self._anchor(row) for row in names}
            save_states(path, _flat(rows))
        return rows

    def expected(self) -> dict[str, Metrics]:
        """Metrics of what the model expects, which other weights would change, so it is not kept."""
        if not self.reconstructions.estimates:
            return {}
        return {ONE_STEP: self._measured(anchor_stems(ONE_STEP, self.clips, None), keep=False)}

    def places(self) -> list[Place]:
        """Of the items of all processes."""
        return sorted((place for own in gathered([clip.place for clip in self.clips]) for place in own), key=str)

    def _anchor(self, row: str) -> Metrics:
        return self._measured(anchor_stems(row, self.clips, self.reconstructions), keep=True)

    def _measured(self, stems: Sequence[Stem | None], keep: bool) -> Metrics:
        """Metrics of a row."""
        metrics, hop_samples = self._empty(), self.reconstructions.codec.spec.hop_samples
        self.task.measure.update(takes_of(self.clips, stems, self.task.segment_seconds, hop_samples), metrics, keep)
        return metrics

    def _empty(self) -> Metrics:
        """Fresh metrics that keep songs where intervals are wanted."""
        metrics = self.task.measure.new_metrics()
        for metric in metrics.values():
            if self.intervals and isinstance(metric, SongRows):
                metric.keep_songs()
        return metrics

    def _key(self, *more: str) -> str:
        """One short name for everything that the anchors depend on."""
        measure = self.task.measure
        parts = (
            type(measure).__name__,
            PROTOCOL,
            measure.identity,
            *measure.charts,
            str(self.task.segment_seconds),
            "songs" if self.intervals else "sums",
            f"noise {LATENT_NOISE}",
            codec_identity(self.reconstructions.codec),
            *more,
            *(part for clip in self.clips for part in (clip.identity, clip.pairing)),
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _flat(rows: dict[str, Metrics]) -> Metrics:
    """Every metric by a name of its own."""
    return {f"{row}/{name}": metric for row, metrics in rows.items() for name, metric in metrics.items()}


def load_states(path: Path, metrics: Metrics) -> bool:
    """Restore the states of metrics, named as they were saved; False if there is no file that fits."""
    try:
        states = load_file(path)
    except (OSError, SafetensorError):
        return False
    names = {f"{name}.{state}" for name, metric in metrics.items() for state in metric.metric_state}
    if names != set(states):
        return False
    for name, metric in metrics.items():
        for state in metric.metric_state:
            loaded = states[f"{name}.{state}"]
            setattr(metric, state, [loaded] if isinstance(getattr(metric, state), list) else loaded)
    return True


def save_states(path: Path, metrics: Metrics) -> None:
    """Keep the states of metrics: sums and rows, so that every process may keep its own share."""
    states = {
        f"{name}.{state}": (torch.cat(value) if isinstance(value, list) else value).detach().cpu().contiguous()
        for name, metric in metrics.items()
        for state, value in metric.metric_state.items()
    }
    with atomic_path(path) as temporary:
        save_file(states, temporary)
