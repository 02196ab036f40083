"""COCOLA's encoder as an embedding of the Fréchet distance: learnt, and offline.

Shapes: N audio samples, W windows, F mel bands, T frames, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from livejam.codecs.codec import codec_hash
from livejam.embedding import Embedding
from metrics.cocola_spectrogram import FRAMES, HOP_SAMPLES, SAMPLE_RATE_HZ, harmonic_percussive_db, relative_db
from metrics.cocola_weights import pretrained_cocola
from metrics.embeddings.embedding import mono_at


class CocolaEmbedding(Embedding):
    """COCOLA's embedding of five seconds of a stem on its own: when it plays, and which harmonies.

    **Distances compare only with distances of equal weights**, and say nothing about published VGGish or CLAP
    distances. The level of a stem does not matter: silence and noise differ, loud and soft do not.

    Args:
        weights: as in `metrics.cocola_weights.pretrained_cocola`.
        hop_seconds: distance of two windows in seconds.
    """

    name = "cocola"

    def __init__(self, weights: str = "pocket", hop_seconds: float = 1.0) -> None:
        self.cocola, self.hop_seconds = pretrained_cocola(weights), hop_seconds

    @property
    def identity(self) -> str:
        """Name, hash of the weights, distance of the windows."""
        return f"{self.name} {codec_hash(self.cocola)} {self.hop_seconds}"

    @property
    def dimension(self) -> int:
        """The network's."""
        return self.cocola.dimension

    @torch.no_grad()
    def __call__(self, audio_N: Tensor, sample_rate_hz: int) -> Tensor:
        """Embeddings_WD of the windows of five seconds that fit wholly into the recording.

        Args:
            audio_N: mono audio at any rate.
            sample_rate_hz: its sample rate.
        """
        audio_N = mono_at(audio_N, sample_rate_hz, SAMPLE_RATE_HZ)
        if len(audio_N) < (FRAMES - 1) * HOP_SAMPLES:
            return audio_N.new_zeros(0, self.dimension)
        # separated once as a whole, which costs less than separating every window
        levels_2FT = harmonic_percussive_db(audio_N[None])[0]
        hop = round(self.hop_seconds * SAMPLE_RATE_HZ / HOP_SAMPLES)
        windows_W2FT = levels_2FT.unfold(-1, FRAMES, hop).permute(2, 0, 1, 3)
        return self.cocola.embed(relative_db(windows_W2FT))
