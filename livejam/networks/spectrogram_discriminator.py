"""Discriminators of sound: each looks at the complex spectrogram of one window length and scores its patches.

The channels of the audio are channels of one image, so that a wrong stereo picture is seen as one.

Shapes: B batch, A audio channels, N audio samples, M frames, F frequency bins, P patches, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from livejam.objectives.spectral import complex_spectrum

LEAK = 0.2
KERNEL = (3, 9)
DILATIONS = (1, 1, 2, 4)
"""Steps in time between the taps of each layer; each layer also halves the frequency bins."""
FAINT = 1e-3
"""Magnitude, 1 = full-scale sine, below which the compression of the spectrogram turns linear; it becomes 1."""


@dataclass(frozen=True)
class Judgement:
    """What the discriminators think of a batch, one entry per window.

    Args:
        logits: BP each; patch p of two sounds is the same place in time and pitch.
        features: BWMF each, of every layer of every window.
    """

    logits: tuple[Tensor, ...]
    features: tuple[Tensor, ...]


class PatchDiscriminator(nn.Module):
    """Scores the patches of one spectrogram; without normalisation, as a zero-centred penalty asks for.

    Args:
        channels: channels of the image.
        width: channels of every layer (W).
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        inputs = (channels, *[width] * (len(DILATIONS) - 1))
        self.layers = nn.ModuleList(_layer(count, width, d) for count, d in zip(inputs, DILATIONS, strict=True))
        self.head = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits BP and the features of every layer."""
        features = []
        for layer in self.layers:
            image = F.leaky_relu(layer(image), LEAK)
            features.append(image)
        return self.head(image).flatten(1), features


class SpectrogramDiscriminator(nn.Module):
    """One patch discriminator per window length. It is not causal: it is used in training only.

    Args:
        audio_channels: 1 or 2; stereo as mid and side.
        windows_samples: window lengths of the spectrograms in samples; the hop is a quarter of each.
        width: channels of every layer (W).
    """

    def __init__(
        self, audio_channels: int, windows_samples: tuple[int, ...] = (4096, 2048, 1024), width: int = 32
    ) -> None:
        super().__init__()
        self.windows_samples = tuple(windows_samples)
        self.discriminators = nn.ModuleList(PatchDiscriminator(2 * audio_channels, width) for _ in windows_samples)

    def images(self, audio_BAN: Tensor) -> tuple[Tensor, ...]:
        """Real and imaginary parts B(2A)MF per window, magnitudes compressed to about their square root.

        What lies between the partials of a tone is 40 dB below them: compressed, it is seen.
        """
        return tuple(compressed_image(audio_BAN, window) for window in self.windows_samples)

    def forward(self, images: tuple[Tensor, ...]) -> Judgement:
        """Judgement of sounds by their `images`."""
        pairs = [judge(image) for judge, image in zip(self.discriminators, images, strict=True)]
        features = [feature for _, each in pairs for feature in each]
        return Judgement(tuple(logits_BP.float() for logits_BP, _ in pairs), tuple(features))


def compressed_image(audio_BAN: Tensor, window_samples: int) -> Tensor:
    """Complex spectrogram in units of FAINT times (magnitude² + 1)^(-1/4), as an image B(2A)MF."""
    spectrum = complex_spectrum(audio_BAN.flatten(0, 1), window_samples, window_samples // 4) / FAINT
    scale = (spectrum.real.square() + spectrum.imag.square() + 1) ** -0.25
    parts = torch.stack([spectrum.real * scale, spectrum.imag * scale], dim=1)
    return parts.unflatten(0, audio_BAN.shape[:2]).flatten(1, 2)


def _layer(inputs: int, outputs: int, dilation: int) -> nn.Conv2d:
    padding = (dilation * (KERNEL[0] // 2), KERNEL[1] // 2)
    layer = nn.Conv2d(inputs, outputs, KERNEL, stride=(1, 2), dilation=(dilation, 1), padding=padding)
    nn.init.kaiming_normal_(layer.weight, a=LEAK)
    return layer
