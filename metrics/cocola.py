"""COCOLA (Ciranni et al. 2024): do two recordings belong together? The network.

Shapes: B batch, F mel bands, T frames, D embedding width, X features; channel 0 is harmonic, 1 percussive.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metrics.cocola_spectrogram import BANDS
from metrics.efficientnet import HEAD_CHANNELS, EfficientNetB0

PARTS = {"full": (1.0, 1.0), "harmonic": (1.0, 0.0), "percussive": (0.0, 1.0)}
"""The weights of the harmonic and the percussive channel, by the name of the score."""


def masked(levels_B2FT: Tensor, part: str) -> Tensor:
    """A copy in which the channel that the score ignores is 0.

    Args:
        levels_B2FT: levels of `relative_db`; they stay as they are.
        part: one of `PARTS`.
    """
    return levels_B2FT * levels_B2FT.new_tensor(PARTS[part])[:, None, None]


class BilinearSimilarity(nn.Module):
    """x W y, a logit of unlimited range; it is not symmetric: the mix comes first.

    Args:
        dimension: width D.
        alike: whether training begins with a multiple of the scalar product, so that similar embeddings match at first;
            otherwise it begins with random weights, as published.
    """

    def __init__(self, dimension: int, alike: bool = False) -> None:
        super().__init__()
        self.w = nn.Parameter(0.1 * torch.eye(dimension) if alike else 0.05 * torch.randn(dimension, dimension))

    def forward(self, x_BD: Tensor, y_BD: Tensor) -> Tensor:
        """Similarity_BB of every x (rows) with every y (columns)."""
        return x_BD @ self.w @ y_BD.T

    def pairwise(self, x_BD: Tensor, y_BD: Tensor) -> Tensor:
        """Similarity_B of each x with its y."""
        return (x_BD @ self.w * y_BD).sum(-1)


class Cocola(nn.Module):
    """A Siamese encoder and a bilinear similarity.

    Args:
        encoder: the map from levels_B2FT to features_BD; `PublishedEncoder`, or a smaller one.
        dimension: width D of an embedding.
        alike: how the similarity begins, see `BilinearSimilarity`.
    """

    def __init__(self, encoder: nn.Module, dimension: int = 512, alike: bool = False) -> None:
        super().__init__()
        self.encoder = encoder
        self.layer_norm = nn.LayerNorm(dimension)
        self.similarity = BilinearSimilarity(dimension, alike)

    @property
    def dimension(self) -> int:
        """Width D of an embedding."""
        return self.layer_norm.normalized_shape[0]

    def embed(self, levels_B2FT: Tensor) -> Tensor:
        """Embeddings_BD, each number between -1 and 1, of levels that are already relative and masked."""
        return self.layer_norm(self.encoder(levels_B2FT)).tanh()

    def forward(self, mix_B2FT: Tensor, stem_B2FT: Tensor) -> Tensor:
        """Scores_B of pairs, by the levels of `relative_db`, masked or not."""
        mix_BD, stem_BD = self.embed(torch.cat([mix_B2FT, stem_B2FT])).chunk(2)
        return self.similarity.pairwise(mix_BD, stem_BD)


class PublishedEncoder(nn.Module):
    """The encoder of the paper: EfficientNet-B0 on both channels, dropout, a linear projection.

    Args:
        dimension: width D of its output.
        dropout: probability of dropping a feature in training, 0 to 1.
    """

    def __init__(self, dimension: int = 512, dropout: float = 0.1) -> None:
        super().__init__()
        # the layers stand where the published weights expect them: encoder.encoder.model.0, encoder.projection
        self.encoder = nn.ModuleDict({"model": nn.Sequential(EfficientNetB0(2), nn.Dropout(dropout))})
        self.projection = nn.Linear(HEAD_CHANNELS, dimension)

    def forward(self, levels_B2FT: Tensor) -> Tensor:
        """Features_BD."""
        return self.projection(self.encoder["model"](levels_B2FT))


class PocketEncoder(nn.Module):
    """A small encoder that is sensitive to time: one million parameters at the default sizes.

    Convolutions along time turn five seconds into feature curves of 25 frames a second. Of every curve it keeps the
    slow part of its spectrum, real and imaginary part, up to `harmonics` periods in five seconds. A stem that is
    half a beat late rotates the phase at the beat's frequency, which an average over time, as in the published
    encoder, hardly shows.

    Args:
        dimension: width D of its output.
        channels: width of the convolutions.
        curves: feature curves.
        harmonics: frequencies kept of each curve, in multiples of 0.2 Hz; 20 reach 4 Hz, or 240 beats per minute.
        dropout: probability of dropping a feature in training, 0 to 1.
    """

    def __init__(
        self, dimension: int = 192, channels: int = 128, curves: int = 96, harmonics: int = 20, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.config = {"dimension": dimension, "channels": channels, "curves": curves, "harmonics": harmonics}
        self.harmonics = harmonics
        self.convolutions = nn.Sequential(
            nn.Conv1d(2 * BANDS, channels, 7, stride=4, padding=3, bias=False),
            nn.BatchNorm1d(channels),
            nn.SiLU(),
            nn.Conv1d(channels, channels, 5, padding=2, bias=False),
            nn.BatchNorm1d(channels),
            nn.SiLU(),
            nn.Conv1d(channels, curves, 1, bias=False),
            nn.BatchNorm1d(curves),
            nn.SiLU(),
        )
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(curves * (2 * harmonics + 1), dimension)

    def forward(self, levels_B2FT: Tensor) -> Tensor:
        """Features_BD."""
        curves_BXT = self.convolutions(levels_B2FT.flatten(1, 2) / 40 + 1)
        # CUDA has no Fourier transform of bf16, and of float16 only one of a power of two
        spectrum = torch.fft.rfft(curves_BXT.float(), norm="ortho")[..., : self.harmonics + 1]
        features = torch.cat([spectrum.real, spectrum.imag[..., 1:]], dim=-1).flatten(1)
        return self.projection(self.dropout(features))
