"""The mel spectrogram of the weight-free metrics and the pictures.

Shapes: N audio samples, T spectrogram frames, K frequency bins, F mel bands.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=16)
def mel_filterbank(sample_rate_hz: int, fft_samples: int, bands: int, lowest_hz: float, highest_hz: float) -> Tensor:
    """Triangles of equal height on the HTK mel scale, filterbank_KF.

    Args:
        sample_rate_hz: sample rate of the audio.
        fft_samples: length of the Fourier transform.
        bands: number of mel bands.
        lowest_hz: where the first triangle begins.
        highest_hz: where the last triangle ends; at most half the sample rate.

    Raises:
        ValueError: the sample rate is too low for `highest_hz`.
    """
    if highest_hz > sample_rate_hz / 2:
        raise ValueError(f"mel bands up to {highest_hz:g} Hz need a sample rate of at least {2 * highest_hz:g} Hz")
    limits_hz = torch.tensor([lowest_hz, highest_hz], dtype=torch.float64)
    low, high = 2595 * torch.log10(1 + limits_hz / 700)
    corners_hz = 700 * (10 ** (torch.linspace(float(low), float(high), bands + 2, dtype=torch.float64) / 2595) - 1)
    bins_hz = torch.arange(fft_samples // 2 + 1, dtype=torch.float64)[:, None] * sample_rate_hz / fft_samples
    rising = (bins_hz - corners_hz[:-2]) / (corners_hz[1:-1] - corners_hz[:-2])
    falling = (corners_hz[2:] - bins_hz) / (corners_hz[2:] - corners_hz[1:-1])
    return torch.minimum(rising, falling).clamp_min(0).float()


def mel_spectrogram(
    audio_N: Tensor,
    sample_rate_hz: int,
    bands: int,
    hop_seconds: float = 0.01,
    window_seconds: float = 0.046,
    lowest_hz: float = 30.0,
    highest_hz: float = 8000.0,
) -> Tensor:
    """Magnitudes per mel band, spectrogram_TF; a full-scale sine has about 1.

    Args:
        audio_N: mono audio.
        sample_rate_hz: its sample rate.
        bands: number of mel bands.
        hop_seconds: distance of two frames in seconds; frame t is centred at t · hop.
        window_seconds: shortest analysis window in seconds, rounded up to a power of two samples.
        lowest_hz: lower end of the first band.
        highest_hz: upper end of the last band.
    """
    fft_samples = 1 << (int(window_seconds * sample_rate_hz) - 1).bit_length()
    window_N = torch.hann_window(fft_samples, device=audio_N.device)
    spectrum_KT = torch.stft(
        audio_N.float(),
        fft_samples,
        hop_length=round(hop_seconds * sample_rate_hz),
        window=window_N,
        center=True,
        pad_mode="constant",
        return_complex=True,
    ).abs() / (window_N.sum() / 2)
    filterbank_KF = mel_filterbank(sample_rate_hz, fft_samples, bands, lowest_hz, highest_hz)
    # Energy, not magnitude, adds up over the bins of a band.
    return (spectrum_KT.T.square() @ filterbank_KF.to(audio_N.device)).sqrt()
