"""PANN's Cnn14, as in frechet-audio-distance.

Shapes: N audio samples, W windows, D embedding width.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from livejam.codecs.codec import codec_hash
from metrics.embeddings.embedding import PretrainedEmbedding, chunks_of
from metrics.embeddings.foreign import load_tensors, module_inside, weights_file

SAMPLE_RATE_HZ = 32_000
AT_ONCE = 4


class Pann(PretrainedEmbedding):
    """2048 numbers per window at 32 kHz: Cnn14's last layer before its classes (Kong et al. 2020).

    frechet-audio-distance makes one embedding of every file; here a file is a window, and longer recordings are
    several. In 2048 dimensions a distance of few items is far too large: read the count beside it.

    Args:
        weights: the file Cnn14_mAP=0.431.pth; None = where `livejam weights fetch pann` puts it.
        window_seconds: length of a window in seconds; a recording that is shorter is padded with silence.
        hop_seconds: distance of two windows in seconds.
        device: where the network runs.

    Raises:
        UserError: frechet-audio-distance is not installed, or the weights are missing or damaged.
    """

    name = "pann"
    sample_rate_hz = SAMPLE_RATE_HZ
    dimension = 2048

    def __init__(
        self,
        weights: str | Path | None = None,
        window_seconds: float = 10.0,
        hop_seconds: float = 1.0,
        device: str = "cpu",
    ) -> None:
        path = weights_file("pann", weights)
        cnn14 = module_inside("frechet_audio_distance", "models", "pann").Cnn14
        self.network = cnn14(SAMPLE_RATE_HZ, 1024, 320, 64, 50, 16_000, 527)
        load_tensors(path, self.network, lambda held: held["model"])
        self.window_seconds, self.hop_seconds, self.device = window_seconds, hop_seconds, device
        protocol = f"32 kHz mono soxr {window_seconds} s {hop_seconds} s whole"
        self._identity = f"{self.name} {codec_hash(self.network)} {protocol}"
        self.network.to(device)

    def embedded(self, audio_N: Tensor) -> Tensor:
        """Embeddings_WD, one per whole window."""
        window, hop = round(self.window_seconds * SAMPLE_RATE_HZ), round(self.hop_seconds * SAMPLE_RATE_HZ)
        parts = [part_WN for part_WN in chunks_of(audio_N, window, hop).split(AT_ONCE) if len(part_WN)]
        embeddings = [self.network(part_WN.to(self.device))["embedding"].cpu() for part_WN in parts]
        return torch.cat([torch.zeros(0, self.dimension), *embeddings])
