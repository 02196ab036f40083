"""SwiftF0, a small network that hears which single pitch a sound has, and how surely it has one.

Nieradzik, "SwiftF0: Fast and Accurate Monophonic Pitch Detection" (arXiv 2508.18440), as in the package swift-f0 0.3.0,
whose weights are bundled (MIT licence; weights/swift_f0.md). Three spectra with windows of 32, 64 and 128 ms go through
convolutions over frequency and time. The package pads a sound with silence at every layer; this network gives the
frames alone that need no padding, so that a sound in pieces is heard as the whole is.

Shapes: B batch, N audio samples at 16 kHz, F frames of 16 ms, W samples of a window, K bins of frequency, I channels of
convolutions, L levels of pitch.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

RATE_HZ, HOP_SAMPLES = 16000, 256

LEFT_FRAMES, RIGHT_FRAMES = 11, 11
"""Frames of sound before and after the beginning of a frame that its pitch depends on."""

SILENCE = 1e-3
"""A frame whose samples are all below this has no pitch: the package's number."""

WEIGHTS = Path(__file__).parent / "weights" / "swift_f0.safetensors"

_BANDS = 128
WINDOWS = (1024, 2048, 512)
"""Samples of the windows of its three spectra."""

_WIDEST = max(WINDOWS)
_LEVELS = 95
_LOWEST_HZ, _HIGHEST_HZ = 46.875, 2093.75
_MARGIN = 7
"""Frames that the convolutions lose at each end."""


class Convolutions(nn.Module):
    """A residual block of two convolutions, padded in frequency and not in time.

    Args:
        channels: channels in and out.
        kernel: bins and frames.
        dilation: of the bins.
    """

    def __init__(self, channels: int, kernel: tuple[int, int], dilation: int = 1) -> None:
        super().__init__()
        pad, self.lost = (kernel[0] // 2 * dilation, 0), kernel[1] - 1
        self.first, self.second = (
            nn.Conv2d(channels, channels, kernel, padding=pad, dilation=(dilation, 1)) for _ in range(2)
        )

    def forward(self, x_BIKF: Tensor) -> Tensor:
        kept_BIKF = x_BIKF[..., self.lost : x_BIKF.shape[-1] - self.lost]
        return torch.relu(kept_BIKF + self.second(torch.relu(self.first(x_BIKF))))


class SwiftF0(nn.Module):
    """Pitch and its certainty, of sound at 16 kHz; with random weights until `pretrained`."""

    pitch_L: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 12, (3, 3), padding=(1, 0))
        shapes = ((7, 3), 1), ((7, 1), 17), ((5, 1), 27), ((3, 1), 40), ((3, 1), 48), ((7, 3), 2)
        self.blocks = nn.ModuleList(Convolutions(12, kernel, dilation) for kernel, dilation in shapes)
        self.leave = nn.Conv2d(12, 4, (3, 3))
        self.voiced = nn.Conv2d(4, 4, (5, 1), padding=(2, 0))
        self.salience = nn.Conv2d(4, 1, 1)
        self.confidence = nn.ModuleList((nn.Conv1d(5, 16, 3), nn.Conv1d(16, 1, 1)))
        pitch_L = torch.linspace(math.log(_LOWEST_HZ), math.log(_HIGHEST_HZ), _LEVELS, dtype=torch.float64)
        self.register_buffer("pitch_L", pitch_L, persistent=False)
        for samples in WINDOWS:
            self.register_buffer(f"hann_{samples}", torch.hann_window(samples, dtype=torch.float64), persistent=False)
            self.register_buffer(f"filter_{samples}", torch.zeros(samples // 2 + 1, _BANDS))

    @classmethod
    def pretrained(cls) -> SwiftF0:
        """With the bundled weights: fixed numbers, which are neither trained nor part of a checkpoint."""
        network, held = cls(), load_file(WEIGHTS)
        for samples in WINDOWS:
            place, gain = held.pop(f"filter_{samples}.place"), held.pop(f"filter_{samples}.gain")
            bank = torch.zeros((samples // 2 + 1) * _BANDS).scatter(0, place.long(), gain)
            held[f"filter_{samples}"] = bank.view(-1, _BANDS)
        network.load_state_dict(held)
        for module in network.modules():
            fixed = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
            for name, numbers in fixed.items():
                delattr(module, name)
                module.register_buffer(name, numbers.detach(), persistent=False)
        return network.eval()

    def forward(self, audio_BN: Tensor) -> tuple[Tensor, Tensor]:
        """Pitch in Hz and confidence of having one, 0 to 1, of every frame with all its sound.

        Frame i is the sound from 256 (11 + i) samples on, and the last one has 10 more behind it: of M · 256 samples,
        M - 21 frames. A frame with a confidence of 0.5 or more counts as voiced.
        """
        pitch_BF, confidence_BF = self.of_spectra([self._spectrum(audio_BN, samples) for samples in WINDOWS])
        return pitch_BF, self.unless_silent(audio_BN, confidence_BF)

    def unless_silent(self, audio_BN: Tensor, confidence_BF: Tensor) -> Tensor:
        """The confidences of the frames of this sound, and 0 where it is silent."""
        begin, count = LEFT_FRAMES * HOP_SAMPLES, confidence_BF.shape[1]
        heard_BFW = audio_BN[:, begin : begin + count * HOP_SAMPLES].unflatten(1, (count, HOP_SAMPLES))
        return torch.where(heard_BFW.abs().amax(dim=2) < SILENCE, 0.0, confidence_BF)

    def of_spectra(self, magnitudes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The same from |STFT|_BFK with windows of 1024, 2048 and 512 samples, before silence is left out."""
        bands = [x @ cast(Tensor, getattr(self, f"filter_{n}")).to(x) for n, x in zip(WINDOWS, magnitudes, strict=True)]
        level_BIKF = (torch.stack(bands, dim=1) + 1e-8).log().transpose(2, 3)
        hidden = torch.relu(self.enter(level_BIKF))
        for block in self.blocks:
            hidden = block(hidden)
        # its lowest level has no padding below, its highest none above: 95 of 96 levels are left
        hidden = torch.relu(self.leave(nn.functional.pad(hidden[:, :, : _LEVELS + 1], (0, 0, 1, 0))))
        mean_B1F = level_BIKF.mean(dim=(1, 2))[:, None, _MARGIN - 1 : level_BIKF.shape[-1] - _MARGIN + 1]
        found_BIF = torch.cat((self.voiced(hidden).amax(dim=2), mean_B1F), dim=1)
        first, second = self.confidence
        confidence_BF = second(torch.relu(first(found_BIF))).sigmoid()[:, 0]
        return self._pitch(self.salience(hidden)[:, 0, :, 1:-1].transpose(1, 2)), confidence_BF

    def _spectrum(self, audio_BN: Tensor, samples: int) -> Tensor:
        """|STFT|_BFK around the beginnings of frames; all three are around the same ones."""
        hann_W = cast(Tensor, getattr(self, f"hann_{samples}")).to(audio_BN)
        edge = (_WIDEST - samples) // 2
        windows_BFW = audio_BN[:, edge : audio_BN.shape[1] - edge].unfold(1, samples, HOP_SAMPLES)
        return torch.fft.rfft(windows_BFW * hann_W).abs()

    def _pitch(self, salience_BFL: Tensor) -> Tensor:
        """Hz: the mean of the strongest level and its neighbours, weighted by their softmax."""
        best_BF1 = salience_BFL.argmax(dim=-1, keepdim=True)
        near_BF3 = best_BF1 + torch.arange(-1, 2, device=best_BF1.device)
        exists, near_BF3 = (near_BF3 >= 0) & (near_BF3 < _LEVELS), near_BF3.clamp(0, _LEVELS - 1)
        weight_BF3 = salience_BFL.gather(-1, near_BF3).masked_fill(~exists, -torch.inf).softmax(dim=-1)
        return (weight_BF3 * self.pitch_L.to(weight_BF3)[near_BF3]).sum(dim=-1).exp()
