"""COCOLA: does the accompaniment belong to the mix?

Shapes: N audio samples, W windows, P parts, D width.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from livejam.codecs.codec import codec_hash
from metrics.cocola import PARTS, Cocola
from metrics.cocola_score import PROTOCOL, embeddings, similarity
from metrics.evaluation.clips import Audio, Segment
from metrics.evaluation.measure import ScoreMeasure, Scores


class COCOLAMeasure(ScoreMeasure):
    """Coherence of stem and mix as a network hears it: the mean over windows of five seconds every 2.5 s.

    Args:
        cocola: the network, in evaluation mode.
        published: whether its weights are the papers'.
    """

    def __init__(self, cocola: Cocola, published: bool = False) -> None:
        self.cocola, self._published = cocola, published
        self._known: dict[str, Tensor] = {}

    @property
    def identity(self) -> str:
        """Hash of the weights, and the protocol."""
        return f"cocola {codec_hash(self.cocola)} {PROTOCOL}"

    @property
    def published(self) -> bool:
        """Whether its weights are the papers'."""
        return self._published

    @property
    def charts(self) -> list[str]:
        """All three."""
        return [f"cocola/{part}" for part in PARTS]

    def scores(self, segments: list[Segment], keep: bool) -> list[Scores]:
        """Embed mixes and stems; mixes come again in every row and every validation."""
        return [self._scores(segment, keep) for segment in segments]

    def _scores(self, segment: Segment, keep: bool) -> Scores:
        rate = segment.clip.sample_rate_hz
        mix_PWD = self._embedded(segment.mix_N, rate, keep=True)
        stem_PWD = self._embedded(segment.stem_N, rate, keep)
        return {f"cocola/{part}": score for part, score in similarity(self.cocola, mix_PWD, stem_PWD).items()}

    def _embedded(self, audio_N: Audio, sample_rate_hz: int, keep: bool) -> Tensor:
        """Embeddings_PWD; true stems serve as anchors twice."""
        key = f"{sample_rate_hz} {hashlib.sha256(audio_N.tobytes()).hexdigest()}"
        if key in self._known:
            return self._known[key]
        embedded_PWD = embeddings(self.cocola, torch.from_numpy(audio_N.copy()), sample_rate_hz)
        if keep:
            self._known[key] = embedded_PWD
        return embedded_PWD
