"""What the encoder sees of the audio, from past samples only.

Per latent frame: eight log-magnitude spectra (window of a quarter of two frames, 46 ms) that place transients,
and two reassigned low-band maps (window of two frames, 186 ms) that resolve the fundamentals of a bass.
Magnitudes are in units of a full-scale sine (1.0), whatever the window; logarithms are those of magnitude plus floor
over floor, so that silence is 0 and sums over features stay small enough for float32.

Shapes: B batch (times audio channels), N audio samples, T latent frames, M = 8 T sub-frames, F frequency bins,
J bins of the long transform, L low pitches.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from livejam.codecs.pitch_grid import LOW_PITCHES, grid_hz, grid_position

SUBFRAMES = 8
"""Short spectra per latent frame."""
LOW_FRAMES = 2
"""Low-band maps per latent frame."""
LOW_FLOOR = 2.0
"""Floor of the low-band maps over that of the spectra: they sum the noise of several bins."""


class SpectralFeatures(nn.Module):
    """Short log-magnitude spectra and reassigned low-band maps (Auger and Flandrin 1995, equation 16).

    Args:
        sample_rate_hz: audio sample rate in Hz.
        hop_samples: samples per latent frame, a multiple of 16.
        floor: magnitude added before the logarithm, 1 = full-scale sine; much quieter sound is not coded.
    """

    window: Tensor
    long_windows: Tensor
    bin_hz: Tensor

    def __init__(self, sample_rate_hz: int, hop_samples: int, floor: float) -> None:
        super().__init__()
        self.sample_rate_hz, self.hop_samples, self.floor = sample_rate_hz, hop_samples, floor
        self.window_samples, self.stride_samples = hop_samples // 2, hop_samples // SUBFRAMES
        self.long_samples, self.long_stride_samples = 2 * hop_samples, hop_samples // LOW_FRAMES
        self.past_samples = self.long_samples - self.long_stride_samples
        self.bins = self.window_samples // 2 + 1
        window = torch.hann_window(self.window_samples, dtype=torch.float64)
        self.register_buffer("window", (window * 2 / window.sum()).float(), persistent=False)
        # a late peak keeps the long window's delay short: it rises slowly and falls within the overlap of the short one
        fall = self.window_samples - self.stride_samples
        rise_N = torch.hann_window(2 * (self.long_samples - fall), dtype=torch.float64)[: self.long_samples - fall]
        long_N = torch.cat([rise_N, torch.hann_window(2 * fall, dtype=torch.float64)[fall:]])
        # energies of one sine, summed over its bins, must give its squared magnitude
        long_N = long_N * 2 / torch.sqrt(self.long_samples * long_N.square().sum())
        slope_N = (long_N.roll(-1) - long_N.roll(1)) / 2
        self.register_buffer("long_windows", torch.stack([long_N, slope_N]).float(), persistent=False)
        highest = math.ceil(1.1 * float(grid_hz()[LOW_PITCHES - 1]) * self.long_samples / sample_rate_hz)
        bin_hz = torch.arange(1, highest) * (sample_rate_hz / self.long_samples)
        self.register_buffer("bin_hz", bin_hz, persistent=False)

    @property
    def channels(self) -> int:
        """Numbers per latent frame and audio channel."""
        return SUBFRAMES * self.bins + LOW_FRAMES * LOW_PITCHES

    def forward(self, audio_BN: Tensor) -> tuple[Tensor, Tensor]:
        """Log spectra `BMF` and log low-band maps `B(2T)L` of T · hop samples preceded by `past_samples` old ones."""
        past = self.past_samples - (self.window_samples - self.stride_samples)
        return torch.log1p(self.magnitudes(audio_BN[:, past:]) / self.floor), self.low_maps(audio_BN)

    def magnitudes(self, audio_BN: Tensor) -> Tensor:
        """Short magnitude spectra BMF; the first one ends with the first full window."""
        frames_BMN = audio_BN.unfold(-1, self.window_samples, self.stride_samples)
        return torch.fft.rfft(frames_BMN * self.window).abs()

    def low_maps(self, audio_BN: Tensor) -> Tensor:
        """Log magnitude per low pitch: each bin's energy goes to its instantaneous frequency, not to its centre."""
        frames_BMN = audio_BN.unfold(-1, self.long_samples, self.long_stride_samples)
        window_N, slope_N = self.long_windows.unbind()
        wanted = slice(1, 1 + len(self.bin_hz))
        spectrum_BMJ = torch.fft.rfft(frames_BMN * window_N)[..., wanted]
        slope_BMJ = torch.fft.rfft(frames_BMN * slope_N)[..., wanted]
        energy_BMJ = spectrum_BMJ.abs().square()
        deviation_BMJ = -(slope_BMJ * spectrum_BMJ.conj()).imag / energy_BMJ.clamp_min(1e-20)
        frequency_BMJ = self.bin_hz + deviation_BMJ * (self.sample_rate_hz / (2 * math.pi))
        return torch.log(torch.sqrt(spread(energy_BMJ, grid_position(frequency_BMJ))) / self.floor + LOW_FLOOR)


def spread(energy_BMJ: Tensor, position_BMJ: Tensor) -> Tensor:
    """Energies split between the two low pitches nearest to their positions; energy outside the grid is dropped."""
    below_BMJ = position_BMJ.floor()
    share_BMJ = position_BMJ - below_BMJ
    index_BMJ = below_BMJ.long()
    out_BML = energy_BMJ.new_zeros(*energy_BMJ.shape[:2], LOW_PITCHES)
    for offset, part_BMJ in ((0, 1 - share_BMJ), (1, share_BMJ)):
        pitch_BMJ = index_BMJ + offset
        inside = (pitch_BMJ >= 0) & (pitch_BMJ < LOW_PITCHES)
        out_BML.scatter_add_(-1, pitch_BMJ.clamp(0, LOW_PITCHES - 1), energy_BMJ * part_BMJ * inside)
    # the square root below has no gradient at zero
    return out_BML + 1e-20
