"""Discriminators of sound: each scores the patches of a spectrogram of one window length.

They see magnitudes and the rotation of phases, not the phases themselves. Those are neither coded nor heard, so judging
them would demand of a decoder what it cannot know. The channels of the audio are channels of one image, so that a wrong
stereo image is visible.

Shapes: B batch, V channels or views of the audio, N audio samples, M frames, F frequency bins, P patches, W width.
"""

from __future__ import annotations

import functools
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
    """The output of the discriminators for a batch, one entry per window.

    Args:
        logits: BP each; patch p of two sounds is the same place in time and pitch.
        features: BWMF each, of every layer of every window.
    """

    logits: tuple[Tensor, ...]
    features: tuple[Tensor, ...]


class PatchDiscriminator(nn.Module):
    """A network that scores the patches of one spectrogram; without normalisation, as a zero-centred penalty requires.

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
    """One patch discriminator per window length. It is not causal, because it is used in training only.

    Args:
        views: channels of its audio (V); for stereo: left, right and their difference.
        windows_samples: window lengths of the spectrograms in samples; the hop is a quarter of each.
        width: channels of every layer (W).
    """

    def __init__(self, views: int, windows_samples: tuple[int, ...] = (4096, 2048, 1024), width: int = 32) -> None:
        super().__init__()
        self.windows_samples = tuple(windows_samples)
        self.discriminators = nn.ModuleList(PatchDiscriminator(4 * views, width) for _ in windows_samples)

    def images(self, audio_BVN: Tensor) -> tuple[Tensor, ...]:
        """One image B(4V)MF per window, the input of the discriminators."""
        return tuple(phase_steps(audio_BVN, window) for window in self.windows_samples)

    def forward(self, images: tuple[Tensor, ...]) -> Judgement:
        """Judgement of sounds by their `images`."""
        pairs = [judge(image) for judge, image in zip(self.discriminators, images, strict=True)]
        features = [feature for _, each in pairs for feature in each]
        return Judgement(tuple(logits_BP.float() for logits_BP, _ in pairs), tuple(features))


def phase_steps(audio_BVN: Tensor, window_samples: int) -> Tensor:
    """Products of every value of a spectrogram with the conjugates of those before it in time and in frequency.

    Their angles are instantaneous frequency and group delay, less what they are for a tone in the middle of its bin
    and for a click in the middle of its window. Their magnitudes are compressed to about the square root of that of
    the sound, so that what lies between the partials of a tone, 40 dB below them, is visible.
    """
    bins = window_samples // 2 + 1
    spectrum = complex_spectrum(audio_BVN.flatten(0, 1), window_samples, window_samples // 4) / FAINT
    now, before, below = spectrum[:, 1:, 1:], spectrum[:, :-1, 1:], spectrum[:, 1:, :-1]
    turn_F = _quarter_turns(bins, spectrum.device, spectrum.dtype)
    products = torch.stack([now * before.conj() * turn_F, -now * below.conj()], dim=1)
    parts = torch.view_as_real(products).movedim(-1, 2).flatten(1, 2)
    power = products.real.square() + products.imag.square()
    scale = ((power + 1) ** -0.375).repeat_interleave(2, dim=1)
    return (parts * scale).unflatten(0, audio_BVN.shape[:2]).flatten(1, 2)


@functools.lru_cache(maxsize=16)
def _quarter_turns(bins: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """How far a tone in the middle of its bin turns in a quarter of a window, from bin 1 on: exactly 1, i, -1, -i."""
    with torch.inference_mode(False):
        return torch.tensor([1, -1j, -1, 1j], device=device, dtype=dtype)[torch.arange(1, bins, device=device) % 4]


def _layer(inputs: int, outputs: int, dilation: int) -> nn.Conv2d:
    padding = (dilation * (KERNEL[0] // 2), KERNEL[1] // 2)
    layer = nn.Conv2d(inputs, outputs, KERNEL, stride=(1, 2), dilation=(dilation, 1), padding=padding)
    nn.init.kaiming_normal_(layer.weight, a=LEAK)
    return layer
