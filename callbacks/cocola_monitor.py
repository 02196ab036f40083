"""COCOLA: does the accompaniment belong to the mix?"""

from __future__ import annotations

from callbacks.monitor import Monitor
from metrics.cocola_weights import PUBLISHED, pretrained_cocola
from metrics.evaluation.cocola_measure import COCOLAMeasure
from metrics.evaluation.protocols import Protocol


class COCOLAMonitor(Monitor):
    """Coherence of stem and mix according to a network: `cocola/full`, `cocola/harmonic` and `cocola/percussive`.

    Each is the mean over windows of five seconds every 2.5 s of a segment, and has a breakdown per category. Scores
    are logits of no fixed range: read them between the anchors `random_pairing` and `ground_truth`, and compare them
    only with scores of the same weights. The bundled weights are not the papers'.

    Args:
        weights: "pocket" or "strict", the bundled ones; "cocola", the published ones after `livejam weights fetch
            cocola`; or a file (`metrics.cocola_weights.pretrained_cocola`).
        every_n_validations: n: measure only in every n-th validation (≥ 1).
        max_items: number of items in validation, the first of the plan; None = all.
        max_test_items: number of items in test, the first of the plan; None = all.
        segment_seconds: length of a segment in seconds.
        cache_folder: the folder for anchors; None = `cache` in the trainer's root.
        protocol: what is done to recordings before; None = nothing (`metrics.evaluation.protocols`).
    """

    def __init__(
        self,
        weights: str = "pocket",
        every_n_validations: int = 1,
        max_items: int | None = 8,
        max_test_items: int | None = None,
        segment_seconds: float = 10.0,
        cache_folder: str | None = None,
        protocol: Protocol | None = None,
    ) -> None:
        measure = COCOLAMeasure(pretrained_cocola(weights), published=weights == PUBLISHED)
        super().__init__(
            measure, every_n_validations, max_items, max_test_items, segment_seconds, cache_folder, protocol
        )
