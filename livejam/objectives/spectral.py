"""Distances between sounds by their spectra; pure, per sample.

Shapes: B batch, N audio samples, M frames, F frequency bins.
"""

from __future__ import annotations

import torch
from torch import Tensor


def complex_spectrum(audio_BN: Tensor, window_samples: int, hop_samples: int) -> Tensor:
    """Hann-windowed spectrum BMF without padding; a full-scale sine has magnitude 1."""
    window = torch.hann_window(window_samples, device=audio_BN.device, dtype=audio_BN.dtype)
    frames_BMN = audio_BN.unfold(-1, window_samples, hop_samples)
    return torch.fft.rfft(frames_BMN * (window * 2 / window.sum()))


def magnitude(spectrum: Tensor) -> Tensor:
    """Absolute value with a gradient everywhere, 1e-7 at zero."""
    return torch.sqrt(spectrum.real.square() + spectrum.imag.square() + 1e-14)


def log_magnitude_error(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean absolute plus mean squared error of log magnitudes, per sample."""
    difference = (estimate - target).flatten(1)
    return difference.abs().mean(1) + difference.square().mean(1)


def spectral_convergence(estimate: Tensor, target: Tensor) -> Tensor:
    """Relative Frobenius error of magnitudes (Arik et al. 2019, equation 2), per sample."""
    error = (estimate - target).flatten(1).square().sum(1)
    # 1e-4 is the energy of a spectrum that is just audible: silence must not divide by zero
    energy = target.flatten(1).square().sum(1) + 1e-4
    return torch.sqrt((error + 1e-12) / energy)


def multi_resolution_stft(
    estimate_BN: Tensor, target_BN: Tensor, windows_samples: tuple[int, ...], floor: float
) -> Tensor:
    """Log-magnitude L1 plus half the spectral convergence, mean over resolutions (Yamamoto et al. 2020), per sample.

    Args:
        estimate_BN: reconstructed audio.
        target_BN: true audio.
        windows_samples: window lengths; the hop is a quarter of each.
        floor: magnitude added before the logarithm for a window of 1024; noise is lower in longer windows.
    """
    total = estimate_BN.new_zeros(len(estimate_BN))
    for window in windows_samples:
        eps = floor * (1024 / window) ** 0.5
        estimate = magnitude(complex_spectrum(estimate_BN, window, window // 4))
        target = magnitude(complex_spectrum(target_BN, window, window // 4))
        log_error = (torch.log(estimate + eps) - torch.log(target + eps)).abs().flatten(1).mean(1)
        total = total + log_error + 0.5 * spectral_convergence(estimate, target)
    return total / len(windows_samples)


def phase_derivative_error(estimate_BN: Tensor, target_BN: Tensor, window_samples: int, hop_samples: int) -> Tensor:
    """1 - cos of the errors of instantaneous frequency and of group delay, summed, magnitude weighted, per sample.

    Absolute phase is neither coded nor heard; how phase turns from frame to frame and from bin to bin is.
    """
    estimate = complex_spectrum(estimate_BN, window_samples, hop_samples)
    target = complex_spectrum(target_BN, window_samples, hop_samples)
    time = _rotation_error(_steps(estimate, 1), _steps(target, 1))
    frequency = _rotation_error(_steps(estimate, 2), _steps(target, 2))
    return time + frequency


def _steps(spectrum: Tensor, dim: int) -> Tensor:
    """Products of each value with the conjugate of the one before it along `dim`."""
    length = spectrum.shape[dim] - 1
    return spectrum.narrow(dim, 1, length) * spectrum.narrow(dim, 0, length).conj()


def _rotation_error(estimate: Tensor, target: Tensor) -> Tensor:
    product = estimate * target.conj()
    cosine = product.real * torch.rsqrt(product.real.square() + product.imag.square() + 1e-24)
    weight = target.abs().sqrt()
    return ((1 - cosine) * weight).flatten(1).sum(1) / (weight.flatten(1).sum(1) + 1e-6)
