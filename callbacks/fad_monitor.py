"""Fréchet audio distance: does the accompaniment sound like real stems?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from callbacks.monitor import Monitor
from callbacks.trainer_facts import is_dry_run
from livejam.embedding import Embedding
from livejam.outputs import require_free
from metrics.embeddings.log_mel import LogMel
from metrics.evaluation.clips import Stem, takes_of
from metrics.evaluation.fad_measure import FADMeasure
from metrics.evaluation.protocols import Protocol
from metrics.frechet_reference import FrechetReference


class FADMonitor(Monitor):
    """Fréchet distance between the stems of one segment and the true stems of the same items, logged as `fad/<name>`.

    The reference is StreamMusicGen's: the true stems of the items that are evaluated, not the mixes, as original audio
    and not through the codec. It covers both segments, cut like the stems that are judged, so that windows hold the
    same amount of silence at their ends. First segment, second segment and drift thus have one and the same reference.
    So the `ground_truth` row is not 0 by construction: it says how much ten seconds of truth differ from all twenty,
    a floor that no model can be expected to beat. `random_pairing` has the same floor, because it has the same stems
    in another order: the distance judges sound, not coherence.

    The count is the number of embeddings. With fewer embeddings than dimensions the distance is biased upwards. Compare
    it only with distances of equally many, or let a test extrapolate to infinitely many (FAD∞, `fad/<name>/infinity`).

    Each monitor has one embedding, and a trainer may have several monitors.

    Args:
        embedding: the map from audio to embeddings; None = `metrics.embeddings.LogMel`, which needs no weights and
            whose distances compare only with each other.
        reference: file with another reference, for every validation and test; None = the true stems of the items
            themselves.
        save_reference: file to which a test writes the reference of its items; None = none.
        extrapolate: whether to log FAD∞ as well, which keeps all embeddings in memory and computes 15 distances.
        every_n_validations: n: measure only in every n-th validation (≥ 1).
        max_items: number of items in validation, the first of the plan; None = all.
        max_test_items: number of items in test, the first of the plan; None = all.
        segment_seconds: length of a segment in seconds.
        cache_folder: the folder for anchors; None = `cache` in the trainer's root.
        protocol: what is done to recordings before; None = nothing (`metrics.evaluation.protocols`).
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
        protocol: Protocol | None = None,
    ) -> None:
        if save_reference is not None:
            read = [Path(reference)] if reference is not None else []
            require_free({"save_reference": Path(save_reference)}, read, overwrite=True)
        loaded = FrechetReference.load(reference) if reference is not None else None
        self.fad, self.save_reference = FADMeasure(embedding or LogMel(), loaded, extrapolate), save_reference
        super().__init__(
            self.fad, every_n_validations, max_items, max_test_items, segment_seconds, cache_folder, protocol
        )

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Also write the reference, if there is a file for it."""
        super().on_test_epoch_end(trainer, pl_module)
        if self.save_reference is None or is_dry_run(trainer):
            return
        codec: Any = pl_module.codec
        clips = self.task(self.fad, self.max_test_items).chosen()
        stems = [Stem(clip.target_N, clip.song) for clip in clips]
        takes = takes_of(clips, stems, self.segment_seconds, codec.spec.hop_samples)
        reference = self.fad.reference_of(takes, pl_module.device)
        if trainer.is_global_zero and reference.count >= 2:
            reference.save(self.save_reference)
