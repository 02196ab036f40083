"""An embedding that needs no weights.

Shapes: N audio samples, W windows, D embedding width, T frames, F mel bands.
"""

from __future__ import annotations

import torch
from torch import Tensor

from livejam.embedding import Embedding
from metrics.mel import mel_spectrogram


class LogMel(Embedding):
    """Statistics of a log-mel spectrogram over short windows: no weights, nothing to download.

    Per window and mel band: the mean level, its standard deviation and its mean absolute change from frame to
    frame, all in nepers. It captures timbre, loudness, silence and how busy the sound is, but no musical
    meaning. **Distances in this embedding compare only with distances in this embedding**, with the same settings;
    they say nothing about published VGGish or CLAP distances.

    Args:
        bands: mel bands between 30 Hz and 8 kHz; the embedding has three times as many dimensions.
        window_seconds: length of a window in seconds.
        hop_seconds: distance of two windows in seconds.
        floor: magnitude below which everything counts as equal (1 = full scale).
    """

    name = "log_mel"

    def __init__(
        self, bands: int = 32, window_seconds: float = 1.0, hop_seconds: float = 0.25, floor: float = 1e-3
    ) -> None:
        self.bands, self.window_seconds, self.hop_seconds, self.floor = bands, window_seconds, hop_seconds, floor

    @property
    def identity(self) -> str:
        """Name and settings."""
        return f"{self.name} {self.bands} {self.window_seconds} {self.hop_seconds} {self.floor}"

    @property
    def dimension(self) -> int:
        """Mean, deviation and change per band."""
        return 3 * self.bands

    @torch.no_grad()
    def __call__(self, audio_N: Tensor, sample_rate_hz: int) -> Tensor:
        """Embeddings_WD of the windows that fit wholly into the recording.

        Args:
            audio_N: mono audio at 16 kHz or more.
            sample_rate_hz: its sample rate.

        Raises:
            ValueError: the sample rate is below 16 kHz.
        """
        frame_seconds = 0.01
        levels_TF = (mel_spectrogram(audio_N, sample_rate_hz, self.bands, frame_seconds) + self.floor).log()
        window, hop = round(self.window_seconds / frame_seconds), round(self.hop_seconds / frame_seconds)
        if len(levels_TF) < window:
            return levels_TF.new_zeros(0, self.dimension)
        windows_WFT = levels_TF.unfold(0, window, hop)
        change_WF = windows_WFT.diff(dim=-1).abs().mean(-1)
        return torch.cat([windows_WFT.mean(-1), windows_WFT.std(-1), change_WF], dim=-1)
