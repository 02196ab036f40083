"""What is done to recordings before they are measured: nothing, or what the papers do."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from metrics.evaluation.clips import Audio, Clip, Stem
from metrics.prompt_adherence import integrated_lufs

SEGMENT_SECONDS = 10.0
"""The papers' segments: two of an item of 20 s."""


class Protocol:
    """Ours: recordings are measured as they are, because a model that plays too softly should hear of it."""

    name = "balanced"

    @property
    def method(self) -> str:
        """What is added to the name of a measure's method."""
        return ""

    def prepared(self, clip: Clip) -> Clip:
        """An item as it is measured."""
        return clip


class Published(Protocol):
    """StreamMusicGen's and LiveBand's: mix, true stem and what was played are each brought to -18 LUFS.

    Each as a whole, at a peak of 0.99 at most. Loudness is that of ITU-R BS.1770-4; silence stays silence. The stem of
    random pairing is brought there as well.
    """

    name = "published"
    lufs, peak = -18.0, 0.99

    @property
    def method(self) -> str:
        """The loudness."""
        return f"; all at {self.lufs:g} LUFS"

    def prepared(self, clip: Clip) -> Clip:
        """An item with all its recordings equally loud."""
        rate, partner = clip.sample_rate_hz, clip.partner
        return replace(
            clip,
            mix_N=self._at_loudness(clip.mix_N, rate),
            target_N=self._at_loudness(clip.target_N, rate),
            generated_N=self._at_loudness(clip.generated_N, rate),
            estimate_N=None if clip.estimate_N is None else self._at_loudness(clip.estimate_N, rate),
            partner=partner and Stem(self._at_loudness(partner.audio_N, rate), partner.song, partner.broken),
        )

    def _at_loudness(self, audio_N: Audio, sample_rate_hz: int) -> Audio:
        lufs = integrated_lufs(audio_N, sample_rate_hz)
        if not math.isfinite(lufs):
            return audio_N
        gain = min(10 ** ((self.lufs - lufs) / 20), self.peak / float(np.abs(audio_N).max()))
        return np.asarray(gain * audio_N, dtype=np.float32)
