"""Kernel audio distance: does the accompaniment sound like real stems, with few of them?"""

from __future__ import annotations

from metrics.clouds import Cloud, Estimate
from metrics.evaluation.clips import Audio, Segment, Take
from metrics.evaluation.cloud_measure import CloudMeasure
from metrics.kernel import kernel_distance


class KADMeasure(CloudMeasure):
    """Kernel distance between the stems of one segment and the true stems of the same items, both segments of them.

    Args:
        embedding: turns audio into embeddings.
    """

    prefix = "kad"
    references = ("true",)

    def estimate(self, references: list[Cloud], judged: Cloud, leave_out: bool) -> Estimate:
        """The distance."""
        return kernel_distance(references[0], judged, leave_out)

    def sound_of(self, segment: Segment, stem_N: Audio) -> Audio:
        """The stem alone."""
        return stem_N

    def song_of(self, take: Take) -> str:
        """The song that the stem comes from."""
        return take.first.stem.song

    def stems_of(self, take: Take) -> dict[str, tuple[Audio, str] | None]:
        """The true stem."""
        return {"true": (take.first.clip.target_N, take.first.clip.song)}
