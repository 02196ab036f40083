"""Fréchet audio distance: does the accompaniment sound like real stems?"""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from callbacks.clips import Audio, Stem, Take, takes_of
from callbacks.monitor import Metrics, Monitor, Result
from livejam.outputs import require_free
from metrics.embeddings import Embedding, LogMel
from metrics.frechet import DriftingFrechetDistance, FrechetAudioDistance
from metrics.frechet_reference import FrechetReference
from metrics.intervals import Interval, jackknife_interval, positive_interval


class FADMonitor(Monitor):
    """Fréchet distance between the stems of one segment and the true stems of the same items, logged as `fad/<name>`.

    The reference is StreamMusicGen's: true stems, not mixes, of the very items that are evaluated; original audio,
    not reconstructed by the codec. It is both segments of them, cut as the stems that are judged, so that a window
    holds as much silence at its end here as there: one and the same reference for the first segment, the second one
    and hence the drift. So the `ground_truth` row is not 0 by construction; it says how much ten seconds of truth
    differ from all twenty, which is the floor that no model can be expected to beat. `random_pairing` has the same
    floor, because the same stems are only dealt out differently: the distance judges sound, not coherence.

    The count is the number of embeddings. With fewer of them than dimensions the distance is biased upwards; compare
    it only with distances of as many, or let a test extrapolate to unlimited ones (FAD∞, `fad/<name>/infinity`).

    One monitor per embedding; as many of them as wanted stand side by side in a trainer.

    Args:
        embedding: turns audio into embeddings; None = `metrics.embeddings.LogMel`, which needs no weights and whose
            distances compare only with themselves.
        reference: file of another reference to compare with, in every validation and test; None = the true stems
            of the items themselves.
        save_reference: file that a test writes the reference of its items to; None = none.
        extrapolate: whether to log FAD∞ too; it keeps all embeddings in memory and computes 15 distances for one.
        every_n_validations: measure in every n-th validation only (≥ 1).
        max_items: items measured in validation, the first of the plan; None = all.
        max_test_items: items measured in test, the first of the plan; None = all.
        segment_seconds: length of a segment in seconds.
        cache_folder: where anchors are kept; None = `cache` in the trainer's root.
    """

    def __init__(
        self,
        embedding: Embedding | None = None,
        reference: str | None = None,
        save_reference: str | None = None,
        extrapolate: bool = False,
        every_n_validations: int = 1,
        max_items: int | None = None,
        max_test_items: int | None = None,
        segment_seconds: float = 10.0,
        cache_folder: str | None = None,
    ) -> None:
        super().__init__(every_n_validations, max_items, max_test_items, segment_seconds, cache_folder)
        if save_reference is not None:
            read = [Path(reference)] if reference is not None else []
            require_free({"save_reference": Path(save_reference)}, read, overwrite=True)
        self.embedding = embedding or LogMel()
        self.reference = FrechetReference.load(reference) if reference is not None else None
        self.save_reference, self.extrapolate = save_reference, extrapolate
        self._references: dict[str, Tensor] = {}

    @property
    def identity(self) -> str:
        """The embedding's, and the reference's."""
        parts = [self.embedding.identity]
        if self.reference is not None:
            parts.append(f"to {self.reference.count} of {self.reference.data_hash}")
        return " ".join(parts + ["infinity"] * self.extrapolate)

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

    def measure(self, takes: list[Take], metrics: Metrics, keep: bool) -> None:
        """Embed the stems and, as reference, the true stems of the same items."""
        metric = metrics[self.name]
        assert isinstance(metric, DriftingFrechetDistance)
        for take in takes:
            clip = take.first.clip
            first_WD = self._embed(take.first.stem_N, clip.sample_rate_hz)
            later_WD = None if take.second is None else self._embed(take.second.stem_N, clip.sample_rate_hz)
            metric.update_pair(first_WD, later_WD, take.first.stem.song)
            if self.reference is None:
                metric.update(self._reference(take), real=True, song=clip.song, data=clip.identity)
            else:
                self.reference.require_like(self.embedding.identity, clip.sample_rate_hz, self.segment_seconds)

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

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the reference first, whose embeddings the evaluation then finds ready."""
        if self.save_reference is not None and not trainer.fast_dev_run:
            self._write_reference(trainer, pl_module, self.save_reference)
        super().on_test_epoch_end(trainer, pl_module)

    def _write_reference(self, trainer: Trainer, pl_module: LightningModule, path: str) -> None:
        metric = FrechetAudioDistance(self.embedding.dimension)
        stems: list[Stem | None] = [Stem(clip.target_N, clip.song) for clip in self._clips]
        for take in takes_of(self._clips, stems, self.segment_seconds):
            metric.update(self._reference(take), real=True, data=take.first.clip.identity)
        rate = torch.tensor(max((clip.sample_rate_hz for clip in self._clips), default=0), device=pl_module.device)
        rate_hz = int(trainer.strategy.reduce(rate, reduce_op="max")) if trainer.world_size > 1 else int(rate)
        if trainer.world_size > 1:
            metric.to(pl_module.device)
        with metric.sync_context():
            reference = metric.reference(self.embedding.identity, rate_hz, self.segment_seconds)
        if trainer.is_global_zero and reference.count >= 2:
            reference.save(path)

    def _embed(self, audio_N: Audio, sample_rate_hz: int) -> Tensor:
        return self.embedding(torch.from_numpy(audio_N.copy()), sample_rate_hz)

    def _reference(self, take: Take) -> Tensor:
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
