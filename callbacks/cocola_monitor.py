"""COCOLA: does the accompaniment belong to the mix?"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from callbacks.clips import Audio, Segment
from callbacks.score_monitor import ScoreMonitor, Scores
from livejam.codecs.codec import codec_hash
from metrics.cocola import PARTS
from metrics.cocola_score import PROTOCOL, embeddings, similarity
from metrics.cocola_weights import pretrained_cocola


class COCOLAMonitor(ScoreMonitor):
    """Coherence of stem and mix as a network hears it: `cocola/full`, `cocola/harmonic` and `cocola/percussive`.

    Each is the mean over windows of five seconds every 2.5 s of a segment, and has a breakdown per category. Scores
    are logits of no fixed range: read them between the anchors `random_pairing` and `ground_truth`, and compare them
    only with scores of the same weights. The bundled weights are not the papers'.

    Args:
        weights: "pocket", the bundled ones; "cocola", the published ones after `livejam weights fetch cocola`; or a
            file (`metrics.cocola_weights.pretrained_cocola`).
        every_n_validations: measure in every n-th validation only (≥ 1).
        max_items: items measured in validation, the first of the plan; None = all.
        max_test_items: items measured in test, the first of the plan; None = all.
        segment_seconds: length of a segment in seconds.
        cache_folder: where anchors are kept; None = `cache` in the trainer's root.
    """

    def __init__(
        self,
        weights: str = "pocket",
        every_n_validations: int = 1,
        max_items: int | None = 8,
        max_test_items: int | None = None,
        segment_seconds: float = 10.0,
        cache_folder: str | None = None,
    ) -> None:
        super().__init__(every_n_validations, max_items, max_test_items, segment_seconds, cache_folder)
        self.cocola = pretrained_cocola(weights)
        self._known: dict[str, Tensor] = {}

    @property
    def identity(self) -> str:
        """Hash of the weights, and the protocol."""
        return f"cocola {codec_hash(self.cocola)} {PROTOCOL}"

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
