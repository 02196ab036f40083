"""Fréchet audio distance: does the accompaniment sound like real stems?"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torchmetrics import Metric

from callbacks.clips import Audio, Clip, Segment
from callbacks.monitor import Monitor
from metrics.bootstrap import Floats, Interval, normal_interval
from metrics.embeddings import Embedding, LogMel
from metrics.frechet import FrechetAudioDistance, FrechetScore
from metrics.frechet_reference import FrechetReference


class FADMonitor(Monitor):
    """Fréchet distance between the stems of one segment and the true stems of the same items, logged as `fad/<name>`.

    The reference is StreamMusicGen's: true stems, not mixes, of the very items that are evaluated; original audio,
    not reconstructed by the codec. It is their whole length, both segments: one and the same reference for the first
    segment, the second one and hence the drift. So the `ground_truth` row is not 0 by construction; it says how much
    ten seconds of truth differ from the whole twenty, which is the floor that no model can be expected to beat.
    `random_pairing` has the same floor, because the same stems are only dealt out differently: the distance judges
    sound, not coherence.

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
        max_items: items measured in validation, per process; None = all.
        max_test_items: items measured in test, per process; None = all.
        segment_seconds: length of a segment in seconds.
        cache_folder: where anchors are kept; None = `cache` in the trainer's root.
    """

    replicates = 50

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

    def new_metrics(self) -> dict[str, Metric]:
        """One distance."""
        metric = FrechetAudioDistance(self.embedding.dimension, self.extrapolate)
        if self.reference is not None:
            metric.use_reference(self.reference)
        return {self.name: metric}

    def measure(self, segments: list[Segment], metrics: dict[str, Metric], keep: bool) -> None:
        """Embed the stems and, as reference, the whole true stems of the same items."""
        for segment in segments:
            clip = segment.clip
            metrics[self.name].update(self._embed(segment.stem_N, clip.sample_rate_hz), real=False, song=clip.song)
            if self.reference is None:
                metrics[self.name].update(self._reference(clip), real=True, song=clip.song, data=clip.identity)
            else:
                self.reference.require_like(self.embedding.identity, clip.sample_rate_hz)

    def read(self, name: str, value: Any) -> dict[str, tuple[float, int]]:
        """Distance and number of embeddings."""
        assert isinstance(value, FrechetScore)
        count = int(value.fake_count)
        if 0 < count < self.embedding.dimension:
            warnings.warn(
                f"{name} of {count} embeddings with {self.embedding.dimension} dimensions is biased upwards; "
                "evaluate more or longer items",
                stacklevel=2,
            )
        numbers = {name: (float(value.distance), count)}
        if self.extrapolate:
            numbers[f"{name}/infinity"] = (float(value.extrapolated), count)
        return numbers

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the reference first, whose embeddings the evaluation then finds ready."""
        if self.save_reference is not None:
            self._write_reference(trainer, pl_module, self.save_reference)
        super().on_test_epoch_end(trainer, pl_module)

    def _write_reference(self, trainer: Trainer, pl_module: LightningModule, path: str) -> None:
        metric = FrechetAudioDistance(self.embedding.dimension)
        for clip in self._clips:
            metric.update(self._reference(clip), real=True, data=clip.identity)
        rate = torch.tensor(max((clip.sample_rate_hz for clip in self._clips), default=0), device=pl_module.device)
        rate_hz = int(trainer.strategy.reduce(rate, reduce_op="max")) if trainer.world_size > 1 else int(rate)
        if trainer.world_size > 1:
            metric.to(pl_module.device)
        with metric.sync_context():
            reference = metric.reference(self.embedding.identity, rate_hz)
        if trainer.is_global_zero and reference.count >= 2:
            reference.save(path)

    def keep_songs(self, metric: Metric) -> None:
        """Keep the embeddings."""
        assert isinstance(metric, FrechetAudioDistance)
        metric.keep_songs()

    def resampled(self, name: str, metric: Metric, songs_U: Floats, counts_RU: Floats) -> dict[str, Floats]:
        """The distance in every replicate, in which stems and reference are those of the songs drawn."""
        assert isinstance(metric, FrechetAudioDistance)
        return {name: metric.resampled(songs_U, counts_RU)}

    def interval(self, value: float, replicates_R: Floats) -> Interval:
        """Around the value, because resampling makes distances larger."""
        return normal_interval(value, replicates_R)

    def _embed(self, audio_N: Audio, sample_rate_hz: int) -> Tensor:
        return self.embedding(torch.from_numpy(audio_N.copy()), sample_rate_hz)

    def _reference(self, clip: Clip) -> Tensor:
        """Embeddings of a whole true stem; the same items come in every row and every validation."""
        if clip.identity not in self._references:
            self._references[clip.identity] = self._embed(clip.target_N, clip.sample_rate_hz).cpu()
        return self._references[clip.identity]
