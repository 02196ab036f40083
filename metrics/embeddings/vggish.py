"""VGGish, the embedding of the first Fréchet audio distance.

Shapes: N audio samples, T frames, K frequency bins, F mel bands, W windows, D embedding width.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from livejam.codecs.codec import codec_hash
from metrics.embeddings.embedding import PretrainedEmbedding
from metrics.embeddings.foreign import load_tensors, weights_file

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES, HOP_SAMPLES, FFT_SAMPLES = 400, 160, 512
BANDS, LOWEST_HZ, HIGHEST_HZ, LOG_OFFSET = 64, 125.0, 7500.0, 0.01
FRAMES = 96
"""One window, 0.96 s; windows do not overlap."""


def _mel(hz: Tensor) -> Tensor:
    return 1127 * torch.log1p(hz / 700)


@lru_cache(maxsize=1)
def _filterbank_KF() -> Tensor:  # noqa: N802
    """Triangles that are straight on the mel scale; those of `metrics.mel` are straight in hertz."""
    bins = _mel(torch.linspace(0, SAMPLE_RATE_HZ / 2, FFT_SAMPLES // 2 + 1, dtype=torch.float64))[:, None]
    low, high = _mel(torch.tensor([LOWEST_HZ, HIGHEST_HZ], dtype=torch.float64))
    corners = torch.linspace(float(low), float(high), BANDS + 2, dtype=torch.float64)
    rising = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    return torch.minimum(rising, falling).clamp_min(0)


def log_mel_windows(audio_N: Tensor) -> Tensor:
    """VGGish's input: log-mel windows_WTF of the windows that fit wholly into a recording at 16 kHz."""
    if len(audio_N) < WINDOW_SAMPLES + (FRAMES - 1) * HOP_SAMPLES:
        return audio_N.new_zeros(0, FRAMES, BANDS)
    frames_TN = audio_N.double().unfold(0, WINDOW_SAMPLES, HOP_SAMPLES)
    window_N = torch.hann_window(WINDOW_SAMPLES, dtype=torch.float64)
    spectrum_TK = torch.fft.rfft(frames_TN * window_N, FFT_SAMPLES).abs()
    levels_TF = (spectrum_TK @ _filterbank_KF() + LOG_OFFSET).log().float()
    windows = len(levels_TF) // FRAMES
    return levels_TF[: windows * FRAMES].reshape(windows, FRAMES, BANDS)


class VGGishNetwork(nn.Module):
    """The network of Hershey et al. 2017 as torchvggish names its tensors, without the last activation."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for block in ([64], [128], [256, 256], [512, 512]):
            for width in block:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(512 * 4 * 6, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 128)
        )

    def forward(self, windows_WTF: Tensor) -> Tensor:
        """Embeddings_WD of log-mel windows."""
        maps = self.features(windows_WTF[:, None])
        # the weights come from a framework with channels last
        return self.embeddings(maps.permute(0, 2, 3, 1).flatten(1))


class VGGish(PretrainedEmbedding):
    """128 numbers per 0.96 s at 16 kHz, without PCA and without the last activation.

    The numbers of frechet-audio-distance with `use_pca=False, use_activation=False`, the papers' `FAD_vgg`. That
    package fetches the network's code and weights when it runs; here only the weights are read, from a file.

    Args:
        weights: the file vggish-10086976.pth; None = where `livejam weights fetch vggish` puts it.
        device: where the network runs.

    Raises:
        UserError: the weights are missing or damaged.
    """

    name = "vggish"
    published = True
    sample_rate_hz = SAMPLE_RATE_HZ
    dimension = 128

    def __init__(self, weights: str | Path | None = None, device: str = "cpu") -> None:
        self.network = VGGishNetwork()
        load_tensors(weights_file("vggish", weights), self.network, lambda held: held)
        self._identity = f"{self.name} {codec_hash(self.network)} 16 kHz mono soxr"
        self.network.to(device)
        self.device = device

    def embedded(self, audio_N: Tensor) -> Tensor:
        """Embeddings_WD of the windows that fit wholly into the recording."""
        windows_WTF = log_mel_windows(audio_N)
        if not len(windows_WTF):
            return torch.zeros(0, self.dimension)
        return self.network(windows_WTF.to(self.device)).cpu()
