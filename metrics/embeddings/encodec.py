"""EnCodec's latents as an embedding, as in frechet-audio-distance.

Shapes: N audio samples, W frames, D embedding width.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from livejam.codecs.codec import codec_hash
from metrics.embeddings.embedding import PretrainedEmbedding
from metrics.embeddings.foreign import load_tensors, optional_module, weights_file

SAMPLE_RATE_HZ = 24_000
FRAME_SAMPLES = 320


class EnCodec(PretrainedEmbedding):
    """128 numbers per 1/75 s at 24 kHz: the output of EnCodec's encoder before it is quantised (Défossez et al. 2022).

    It captures details of timbre and little that lasts longer than a frame. Neighbouring embeddings are alike, so their
    count is flattering.

    Args:
        weights: the file encodec_24khz-d7cc33bc.th; None = where `livejam weights fetch encodec_fad` puts it.
        device: where the network runs.

    Raises:
        UserError: encodec, which frechet-audio-distance brings, is not installed, or the weights are missing or
            damaged.
    """

    name = "encodec"
    sample_rate_hz = SAMPLE_RATE_HZ
    dimension = 128

    def __init__(self, weights: str | Path | None = None, device: str = "cpu") -> None:
        path = weights_file("encodec_fad", weights)
        model = optional_module("encodec").EncodecModel.encodec_model_24khz(pretrained=False)
        load_tensors(path, model, lambda held: held)
        self.encoder = model.encoder.to(device)
        self.device = device
        self._identity = f"{self.name} {codec_hash(self.encoder)} 24 kHz mono soxr"

    def embedded(self, audio_N: Tensor) -> Tensor:
        """Embeddings_WD, one per frame."""
        if len(audio_N) < FRAME_SAMPLES:
            return torch.zeros(0, self.dimension)
        return self.encoder(audio_N[None, None].to(self.device))[0].T.cpu()
