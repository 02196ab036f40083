"""Accompaniment prompt adherence: do mix and accompaniment together sound like music that belongs together?"""

from __future__ import annotations

from callbacks.monitor import Monitor
from livejam.embedding import Embedding
from metrics.embeddings.log_mel import LogMel
from metrics.evaluation.apa_measure import APAMeasure
from metrics.evaluation.protocols import Protocol


class APAMonitor(Monitor):
    """Whether mixes with the played stems are like those with the true ones, or like random pairing: `apa/<name>`.

    1/2 + (d(Y, X') - d(Y, X)) / 2 d(X, X'), limited to 0 … 1, with Fréchet distances d between embeddings of mix and
    stem together: Y with what is judged, X with the true stems, X' with those of random pairing (Grachten & Nistal
    2025, arXiv 2503.06346). Mix and stem are made equally loud, and -20 LUFS together; the authors do so in windows of
    five seconds, and this in segments. It is undefined where there is no random pairing.

    There is a number per category too, `apa/<name>/<category>`. Embeddings are kept until the number is computed.

    Args:
        embedding: the map from audio to embeddings; None = `metrics.embeddings.LogMel`, which needs no weights. The
            authors use `metrics.embeddings.LaionClap`. Only numbers of one embedding compare.
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
        measure = APAMeasure(embedding or LogMel())
        super().__init__(
            measure, every_n_validations, max_items, max_test_items, segment_seconds, cache_folder, protocol
        )
