"""Accompaniment prompt adherence: do mix and accompaniment together sound like music that belongs together?"""

from __future__ import annotations

from metrics.clouds import Cloud, Estimate
from metrics.evaluation.clips import Audio, Segment, Take
from metrics.evaluation.cloud_measure import CloudMeasure
from metrics.prompt_adherence import limited_adherence, prompt_adherence, together


class APAMeasure(CloudMeasure):
    """How much nearer mixes with the judged stems are to mixes with the true ones than to those with wrong ones.

    The wrong stems are those of random pairing.

    Args:
        embedding: turns audio into embeddings.
    """

    prefix = "apa"
    references = ("true", "wrong")

    def estimate(self, references: list[Cloud], judged: Cloud, leave_out: bool) -> Estimate:
        """The adherence."""
        true, wrong = references
        return prompt_adherence(true, wrong, judged, leave_out)

    def sound_of(self, segment: Segment, stem_N: Audio) -> Audio:
        """Mix and stem together, equally loud."""
        return together(segment.mix_N, stem_N, segment.clip.sample_rate_hz)

    def song_of(self, take: Take) -> str:
        """The song of the mix."""
        return take.first.clip.song

    def stems_of(self, take: Take) -> dict[str, tuple[Audio, str] | None]:
        """The true stem and the partner's, which is left out with the song that it is mixed with."""
        clip = take.first.clip
        partner = None if clip.partner is None else (clip.partner.audio_N, clip.song)
        return {"true": (clip.target_N, clip.song), "wrong": partner}

    def limited(self, value: float) -> float:
        """Between 0 and 1, as the authors limit it."""
        return limited_adherence(value)
