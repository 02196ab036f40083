"""Kernel audio distance: does the accompaniment sound like real stems, with few of them?"""

from __future__ import annotations

from callbacks.monitor import Monitor
from livejam.embedding import Embedding
from metrics.embeddings.log_mel import LogMel
from metrics.evaluation.kad_measure import KADMeasure
from metrics.evaluation.protocols import Protocol


class KADMonitor(Monitor):
    """Kernel distance between the stems of one segment and the true stems of the same items, logged as `kad/<name>`.

    It judges what the Fréchet distance judges, and is neither biased by few embeddings nor tied to Gaussians: the
    unbiased maximum mean discrepancy of a Gaussian kernel, times 100, in the bandwidth of the median distance of the
    true stems' embeddings (Chung et al. 2025, arXiv 2502.15602). 0 means no difference, and chance makes it fall a
    little below. So does `ground_truth`, whose embeddings are among those of the reference.

    There is a number per category too, `kad/<name>/<category>`, against the true stems of that category. Embeddings are
    kept until the number is computed, and of more than 5 000 in a cloud an even selection is compared.

    Args:
        embedding: the map from audio to embeddings; None = `metrics.embeddings.LogMel`, which needs no weights and
            whose distances compare only with each other.
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
        every_n_validations: int = 1,
        max_items: int | None = None,
        max_test_items: int | None = None,
        segment_seconds: float = 10.0,
        cache_folder: str | None = None,
        protocol: Protocol | None = None,
    ) -> None:
        measure = KADMeasure(embedding or LogMel())
        super().__init__(
            measure, every_n_validations, max_items, max_test_items, segment_seconds, cache_folder, protocol
        )
