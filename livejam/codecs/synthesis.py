"""Magnitudes to audio without any recursion: the phase comes from oscillators and noise that run by the clock.

The short-time spectrum of a steady sine is the window's transform at its pitch, rotated by the phase that the clock
gives. The sum of all oscillators and of filtered noise therefore has phases that agree from frame to frame; a
learnt complex correction is added, the sum's phase is kept and its magnitude replaced by the decoded one. Where
the magnitude rises, the donor first gets an envelope that rises within the window, so that attacks do not sound
before their time. Every sub-frame depends on its own parts, on the magnitude before it and on its absolute index
only, so a stream needs no other memory than that and the overlap of the last windows.

Shapes: B batch, M sub-frames, A audio channels, F frequency bins, K oscillators, N audio samples, P period of
the noise in sub-frames, G noise bands.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from livejam.codecs.pitch_grid import OSCILLATORS, grid_hz
from livejam.codecs.stereo import mid_side

CLOCK_STEPS = 1 << 16
"""Steps per cycle of the oscillators' integer clock, which never drifts and is the same on every machine."""
NOISE_PERIOD_SUBFRAMES = 512
NOISE_BANDS = 65
GATE = 0.1
"""Magnitude over floor up to which a decoded bin is silent: rests become digital silence instead of faint hiss."""
ATTACK_GAIN, ATTACK_LIMIT, ATTACK_BINS = 6.0, 2.0, 9
"""Depth of a window's envelope per relative change of magnitude, its limit, and the bins that share one envelope."""
OVERLAP = 4
"""Windows that cover one sample."""


@dataclass(frozen=True)
class SpectralParts:
    """The output of the decoder for every sub-frame.

    Args:
        log_magnitude_BMAF: log of magnitude plus floor over floor; 0 and less is silence.
        log_oscillator_BMAK: the same of every oscillator's amplitude.
        noise_gain_BMAF: level of the noise relative to the magnitude; of stereo, in the middle and at the sides.
        correction_BMAF: complex correction relative to the magnitude.
    """

    log_magnitude_BMAF: Tensor
    log_oscillator_BMAK: Tensor
    noise_gain_BMAF: Tensor
    correction_BMAF: Tensor


class Synthesis(nn.Module):
    """Spectral parts to audio, with phases from oscillators, noise and a learnt correction.

    Args:
        sample_rate_hz: audio sample rate in Hz.
        audio_channels: 1 or 2; each has its own noise.
        window_samples: samples of a window, four times its stride.
        floor: the magnitude that was added before the logarithm.
    """

    window: Tensor
    clock_K: Tensor
    start_K: Tensor
    kernels_2KF: Tensor
    noise_PAF: Tensor

    def __init__(self, sample_rate_hz: int, audio_channels: int, window_samples: int, floor: float) -> None:
        super().__init__()
        self.stride_samples, self.floor = window_samples // OVERLAP, floor
        self.tail_samples = window_samples - self.stride_samples
        window = torch.hann_window(window_samples, dtype=torch.float64)
        # rfft of a full-scale sine under this window has magnitude 1; overlapping squares sum to 1.5
        self.register_buffer("window", (window * (window.sum() / 2) / 1.5).float(), persistent=False)
        clock_K = torch.round(grid_hz() * (self.stride_samples / sample_rate_hz) * CLOCK_STEPS).long()
        rng = torch.Generator().manual_seed(0)
        start_K = torch.randint(CLOCK_STEPS, (OSCILLATORS,), generator=rng)
        noise_PAF = noise_table(window, audio_channels, rng)
        pitch_hz = clock_K.double() / CLOCK_STEPS * (sample_rate_hz / self.stride_samples)
        pitch_bins_K = pitch_hz * (window_samples / sample_rate_hz)
        # above the highest pitch's side lobes there is only noise
        self.bins, tonal_bins = window_samples // 2 + 1, int(pitch_bins_K[-1]) + 8
        kernels = window_kernels(pitch_bins_K, min(self.bins, tonal_bins))
        self.register_buffer("clock_K", clock_K, persistent=False)
        self.register_buffer("start_K", start_K, persistent=False)
        self.register_buffer("kernels_2KF", kernels.float(), persistent=False)
        self.register_buffer("noise_PAF", noise_PAF, persistent=False)

    def magnitude(self, parts: SpectralParts) -> Tensor:
        """Decoded magnitudes BMAF."""
        return self.magnitude_of(parts.log_magnitude_BMAF)

    def magnitude_of(self, log_magnitude: Tensor) -> Tensor:
        """Magnitudes of the logarithms of magnitude plus floor over floor."""
        return self.floor * (torch.expm1(log_magnitude) - GATE).clamp_min(0)

    def donor(self, parts: SpectralParts, subframe_BM: Tensor, before_BAF: Tensor) -> Tensor:
        """Complex spectrum BMAF of oscillators and noise.

        Args:
            parts: the decoder's output.
            subframe_BM: absolute indices.
            before_BAF: decoded magnitude of the sub-frame before the first.
        """
        phase_BMK = (subframe_BM[..., None] * self.clock_K + self.start_K) % CLOCK_STEPS
        phase_BMAK = (phase_BMK * (2 * torch.pi / CLOCK_STEPS))[:, :, None]
        amplitude_BMAK = self.floor * soft_gate(parts.log_oscillator_BMAK)
        cosine_KF, sine_KF = self.kernels_2KF.unbind()
        tones_BMAF = torch.complex(
            (amplitude_BMAK * phase_BMAK.cos()) @ cosine_KF, (amplitude_BMAK * phase_BMAK.sin()) @ sine_KF
        )
        tones_BMAF = nn.functional.pad(tones_BMAF, (0, self.bins - cosine_KF.shape[-1]))
        magnitude_BMAF = self.magnitude(parts)
        noise_BMAF = self.noise_PAF[subframe_BM % NOISE_PERIOD_SUBFRAMES]
        steady_BMAF = tones_BMAF + scaled_noise(magnitude_BMAF, parts.noise_gain_BMAF, noise_BMAF)
        return shape_attacks(steady_BMAF, magnitude_BMAF, before_BAF)

    def spectrum(self, parts: SpectralParts, donor_BMAF: Tensor) -> Tensor:
        """Complex spectrum BMAF: the decoded magnitude with the phase of the corrected donor."""
        magnitude_BMAF = self.magnitude(parts)
        direction_BMAF = donor_BMAF + magnitude_BMAF * parts.correction_BMAF
        # where the parts cancel, the phase has no meaning: let the magnitude fade instead of jumping
        faint_BMAF = 1e-6 * magnitude_BMAF.square() + 1e-16
        squared_BMAF = direction_BMAF.real.square() + direction_BMAF.imag.square()
        return direction_BMAF * (magnitude_BMAF * torch.rsqrt(squared_BMAF + faint_BMAF))

    def overlap_add(self, spectrum_BMAF: Tensor, tail_BAN: Tensor) -> tuple[Tensor, Tensor]:
        """Finished audio BAN, one stride per sub-frame, and the unfinished tail for the next call."""
        return self.added(torch.fft.irfft(spectrum_BMAF), tail_BAN)

    def added(self, frames_BMAN: Tensor, tail_BAN: Tensor) -> tuple[Tensor, Tensor]:
        """`overlap_add` of the sub-frames' own samples."""
        frames_BAMN = (frames_BMAN * self.window).transpose(1, 2)
        batch, channels, count, _ = frames_BAMN.shape
        strides = frames_BAMN.reshape(batch, channels, count, OVERLAP, self.stride_samples)
        sums = [tail_BAN.reshape(batch, channels, OVERLAP - 1, self.stride_samples)]
        sums.append(sums[0].new_zeros(batch, channels, count, self.stride_samples))
        out = torch.cat(sums, dim=2)
        for part in range(OVERLAP):
            out = out + nn.functional.pad(strides[..., part, :], (0, 0, part, OVERLAP - 1 - part))
        return out[:, :, :count].flatten(2), out[:, :, count:].flatten(2)


def scaled_noise(magnitude_BMAF: Tensor, gain_BMAF: Tensor, noise_BMAF: Tensor) -> Tensor:
    """Noise at the magnitude of its channel; the two noises of stereo are those of its middle and of its sides."""
    if magnitude_BMAF.shape[2] == 1:
        return magnitude_BMAF * gain_BMAF * noise_BMAF
    return magnitude_BMAF * mid_side(gain_BMAF * noise_BMAF, dim=2)


def soft_gate(log_amplitude: Tensor) -> Tensor:
    """Amplitude over floor that vanishes near 1 but keeps a gradient, so that silent oscillators can start to sound."""
    return log_amplitude.exp() * torch.sigmoid(4 * (log_amplitude - 0.3))


def shape_attacks(spectrum_BMAF: Tensor, magnitude_BMAF: Tensor, before_BAF: Tensor) -> Tensor:
    """Multiply every window by 1 + a · sin(2π (t - c) / N), c its centre, a from how its magnitude changes.

    Whatever a window holds and the one before it does not hold lies in its newest quarter. In the spectrum the product
    with a sine is a convolution over three bins; neighbouring bins share their envelope.
    """
    history = torch.cat([before_BAF[:, None], magnitude_BMAF], dim=1)
    pooled = nn.functional.avg_pool1d(history.flatten(1, 2), ATTACK_BINS, 1, ATTACK_BINS // 2).view_as(history)
    rise_BMAF, sum_BMAF = pooled[:, 1:] - pooled[:, :-1], pooled[:, 1:] + pooled[:, :-1] + 1e-6
    depth_BMAF = (ATTACK_GAIN * rise_BMAF / sum_BMAF).clamp(-ATTACK_LIMIT, ATTACK_LIMIT)
    padded = nn.functional.pad(spectrum_BMAF, (1, 1))
    neighbours = padded[..., 2:] - padded[..., :-2]
    # over 2i, written out because complex division is slow
    turned = torch.complex(neighbours.imag * 0.5, neighbours.real * -0.5)
    return spectrum_BMAF + depth_BMAF * turned


def noise_table(window: Tensor, audio_channels: int, rng: torch.Generator) -> Tensor:
    """Spectra PAF of one period of white noise per channel, of unit mean square, each turning into the next."""
    stride = len(window) // OVERLAP
    noise = torch.randn(audio_channels, NOISE_PERIOD_SUBFRAMES * stride, generator=rng, dtype=torch.float64)
    looped = torch.cat([noise, noise[:, : len(window) - stride]], dim=-1)
    spectra_APF = torch.fft.rfft(looped.unfold(-1, len(window), stride) * window / window.square().sum().sqrt())
    # with one channel the transposed view counts as contiguous, but DDP cannot broadcast its strides
    return spectra_APF.transpose(0, 1).to(torch.complex64).clone(memory_format=torch.contiguous_format)


def window_kernels(pitch_bins_K: Tensor, bins: int) -> Tensor:
    """Transforms of the Hann window at every pitch, for the cosine and the sine part; shape 2KF.

    The phase is that of the window's centre, hence the alternating sign; the second term is the sine's image at
    negative frequency, which matters below 100 Hz.
    """
    bins_F = torch.arange(bins, dtype=torch.float64)

    def transform(offset: Tensor) -> Tensor:
        offset = torch.where((offset.abs() - 1).abs() < 1e-6, offset + 1e-6, offset)
        return torch.sinc(offset) / (1 - offset.square())

    above, below = transform(bins_F - pitch_bins_K[:, None]), transform(bins_F + pitch_bins_K[:, None])
    return torch.stack([above + below, above - below]) * (1 - 2 * (bins_F % 2))
