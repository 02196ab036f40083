"""COCOLA's input: mel spectrograms of the harmonic and of the percussive part of five seconds.

Shapes: B batch, N audio samples, K frequency bins, F mel bands, T spectrogram frames; channel 0 is harmonic, 1
percussive.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from metrics.hpss import separate

SAMPLE_RATE_HZ = 16000
FFT_SAMPLES, WINDOW_SAMPLES, HOP_SAMPLES = 1024, 400, 160
BANDS, LOWEST_HZ, HIGHEST_HZ = 64, 60.0, 7800.0
FRAMES = 501
"""Frames of five seconds: frame t is centred at t · hop, the last one at the end."""

REACH_FRAMES = 19
"""How many frames on either side a frame depends on: 15 by the median filter, 4 by the Fourier transform."""

FAINTEST = 1e-10
RANGE_DB = 80.0


@lru_cache(maxsize=4)
def _analysis(device: torch.device) -> tuple[Tensor, Tensor]:
    """Window_N and mel filterbank_FK."""
    return torch.hann_window(WINDOW_SAMPLES, device=device), slaney_filterbank().to(device)


def slaney_filterbank() -> Tensor:
    """Filterbank_FK: triangles of equal area on Slaney's mel scale, librosa's default."""
    lowest, highest = _mel_from_hz(LOWEST_HZ), _mel_from_hz(HIGHEST_HZ)
    corners_hz = _hz_from_mel(torch.linspace(lowest, highest, BANDS + 2, dtype=torch.float64))[:, None]
    bins_hz = torch.arange(FFT_SAMPLES // 2 + 1, dtype=torch.float64) * SAMPLE_RATE_HZ / FFT_SAMPLES
    rising = (bins_hz - corners_hz[:-2]) / (corners_hz[1:-1] - corners_hz[:-2])
    falling = (corners_hz[2:] - bins_hz) / (corners_hz[2:] - corners_hz[1:-1])
    triangles = torch.minimum(rising, falling).clamp_min(0)
    return (triangles * 2 / (corners_hz[2:] - corners_hz[:-2])).float()


def _mel_from_hz(hz: float) -> float:
    """Linear below 1 kHz, 15 mel there; above it 27 mel per factor of 6.4."""
    wide = torch.tensor(hz, dtype=torch.float64)
    return float(torch.where(wide < 1000, wide * 3 / 200, 15 + 27 * (wide / 1000).log() / torch.tensor(6.4).log()))


def _hz_from_mel(mel: Tensor) -> Tensor:
    octave = torch.tensor(6.4, dtype=torch.float64).log() / 27
    return torch.where(mel < 15, mel * 200 / 3, 1000 * ((mel - 15) * octave).exp())


@torch.no_grad()
def harmonic_percussive_db(audio_BN: Tensor) -> Tensor:
    """Absolute levels_B2FT in dB of both parts, N // 160 + 1 frames; −100 dB is the lowest.

    Args:
        audio_BN: mono audio at 16 kHz.
    """
    window_N, filterbank_FK = _analysis(audio_BN.device)
    magnitude_BKT = torch.stft(
        audio_BN.float(),
        FFT_SAMPLES,
        HOP_SAMPLES,
        WINDOW_SAMPLES,
        window_N,
        center=True,
        pad_mode="constant",
        return_complex=True,
    ).abs()
    parts_B2KT = torch.stack([mask_BKT * magnitude_BKT for mask_BKT in separate(magnitude_BKT)], dim=1)
    return 10 * (filterbank_FK @ parts_B2KT.square()).clamp_min(FAINTEST).log10()


def relative_db(levels_B2FT: Tensor) -> Tensor:
    """Levels relative to the loudest of each part, at least −80 dB, so that the level of the recording does not matter.

    A part that is silent is 0 everywhere.
    """
    loudest = levels_B2FT.amax((-2, -1), keepdim=True)
    return (levels_B2FT - loudest).clamp_min(-RANGE_DB)
