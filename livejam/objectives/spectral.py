"""Distances between sounds by their spectra; pure, per sample.

Shapes: B batch, N audio samples, M frames, F frequency bins, K mel bands.
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
    # 1e-4 is the energy of a barely audible spectrum; silence must not divide by zero
    energy = target.flatten(1).square().sum(1) + 1e-4
    return torch.sqrt((error + 1e-12) / energy)


def spectral_distance(estimate_BMF: Tensor, target_BMF: Tensor, floor: float) -> Tensor:
    """Log-magnitude L1 plus half the spectral convergence of complex spectra, per sample.

    Args:
        estimate_BMF: complex spectrum of the reconstruction.
        target_BMF: complex spectrum of the true audio.
        floor: magnitude added before the logarithm.
    """
    estimate, target = magnitude(estimate_BMF), magnitude(target_BMF)
    log_error = (torch.log(estimate + floor) - torch.log(target + floor)).abs().flatten(1).mean(1)
    return log_error + 0.5 * spectral_convergence(estimate, target)


def mel_distance(estimate_BMF: Tensor, target_BMF: Tensor, filterbank_FK: Tensor, floor: float) -> Tensor:
    """L1 of the logarithms of mel magnitudes of complex spectra, per sample.

    Args:
        estimate_BMF: complex spectrum of the reconstruction.
        target_BMF: complex spectrum of the true audio.
        filterbank_FK: weight of every bin's energy in every mel band.
        floor: magnitude added before the logarithm.
    """
    estimate, target = (
        # energies add up over the bins of a band; the root has no gradient at zero
        torch.sqrt((spectrum.real.square() + spectrum.imag.square()) @ filterbank_FK + 1e-14)
        for spectrum in (estimate_BMF, target_BMF)
    )
    return (torch.log(estimate + floor) - torch.log(target + floor)).abs().flatten(1).mean(1)


def spectral_gap_excess(estimate_BMF: Tensor, target_BMF: Tensor, depth_db: float, floor: float) -> Tensor:
    """Log ratio of the energies where the truth lies far below the loudest bin of its frame, 0 or more, per sample.

    Energy in the gaps between the partials of a tone is heard as buzz. Missing energy is not heard, so it costs
    nothing.

    Args:
        estimate_BMF: complex spectrum of the reconstruction.
        target_BMF: complex spectrum of the true audio.
        depth_db: how far below the loudest bin of a frame a gap begins, above 0.
        floor: magnitude that is added to both in every bin.
    """
    estimate, target = magnitude(estimate_BMF).square(), magnitude(target_BMF).square()
    gaps = target < 10 ** (-depth_db / 10) * target.amax(-1, keepdim=True)
    estimate_B, target_B = (((energy + floor**2) * gaps).flatten(1).sum(1) + floor**2 for energy in (estimate, target))
    return torch.log(estimate_B / target_B).clamp_min(0)


def multi_resolution_stft(
    estimate_BN: Tensor, target_BN: Tensor, windows_samples: tuple[int, ...], floor: float
) -> Tensor:
    """Mean spectral distance over several windows (Yamamoto et al. 2020, equation 6), per sample.

    Args:
        estimate_BN: reconstructed audio.
        target_BN: true audio.
        windows_samples: window lengths; the hop is a quarter of each.
        floor: magnitude added before the logarithm for a window of 1024.
    """
    distances = [
        spectral_distance(
            complex_spectrum(estimate_BN, window, window // 4),
            complex_spectrum(target_BN, window, window // 4),
            noise_floor(floor, window),
        )
        for window in windows_samples
    ]
    return torch.stack(distances).mean(0)


def noise_floor(floor: float, window_samples: int) -> float:
    """The floor of a window of 1024, scaled like the magnitude of noise, which is lower in longer windows."""
    return floor * float((1024 / window_samples) ** 0.5)


def level_error(estimate_BMF: Tensor, target_BMF: Tensor) -> Tensor:
    """Absolute difference of the natural logarithms of the energies of complex spectra, per sample."""
    estimate_B = magnitude(estimate_BMF).square().flatten(1).sum(1)
    target_B = magnitude(target_BMF).square().flatten(1).sum(1)
    # inaudible sound has no level
    return (torch.log(estimate_B + 1e-2) - torch.log(target_B + 1e-2)).abs()


def phase_derivative_error(estimate_BMF: Tensor, target_BMF: Tensor) -> Tensor:
    """1 - cos of the errors of instantaneous frequency and of group delay, summed, magnitude weighted, per sample.

    Absolute phase is neither coded nor heard; how phase turns from frame to frame and from bin to bin is.
    """
    time = _rotation_error(_steps(estimate_BMF, 1), _steps(target_BMF, 1))
    frequency = _rotation_error(_steps(estimate_BMF, 2), _steps(target_BMF, 2))
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
