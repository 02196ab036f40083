"""How close a reconstruction is to its original.

Shapes: N audio samples, T frames, K frequency bins, P pitch classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchmetrics import Metric

from livejam.objectives.spectral import complex_spectrum, multi_resolution_stft
from metrics.beats import beat_f_measure
from metrics.mel import mel_spectrogram
from metrics.onsets import onset_seconds

BASS_MIDI, BASS_WINDOW = (27, 52), 16384
PITCHED_MIDI, PITCHED_WINDOW = (45, 96), 8192
STFT_WINDOWS, STFT_FLOOR = (4096, 2048, 1024, 512), 1e-3
MEL_BANDS, MEL_FLOOR = 80, 1e-3
DELAY_WINDOW, DELAY_HOP = 512, 64
GAP_WINDOW, GAP_DB, GAP_HZ = 4096, 45.0, (30.0, 5000.0)
"""Spectral gaps are bins of a window of this length that lie so far below the loudest one, within these frequencies."""
ATTACK_SECONDS = 0.03
"""How far an onset may lie from its original."""


def chroma_correlation(estimate_N: Tensor, target_N: Tensor, sample_rate_hz: int, bass: bool) -> float:
    """Correlation of the energies of all pitch classes over all frames that sound; nan without any.

    Args:
        estimate_N: mono reconstruction.
        target_N: mono original.
        sample_rate_hz: rate of both.
        bass: MIDI 27 to 52 in long windows instead of 45 to 96.
    """
    (lowest, highest), window = (BASS_MIDI, BASS_WINDOW) if bass else (PITCHED_MIDI, PITCHED_WINDOW)
    if len(target_N) < window or target_N.abs().max() < 1e-3:
        return math.nan
    target_TP = chroma(target_N, sample_rate_hz, lowest, highest, window)
    estimate_TP = chroma(estimate_N, sample_rate_hz, lowest, highest, window)
    sounds_T = target_TP.sum(1) > 1e-2 * target_TP.sum(1).max()
    pair = torch.stack([target_TP[sounds_T].flatten(), estimate_TP[sounds_T].flatten()])
    return float(torch.corrcoef(pair)[0, 1])


def chroma(audio_N: Tensor, sample_rate_hz: int, lowest_midi: int, highest_midi: int, window: int) -> Tensor:
    """Magnitude per pitch class, shape T × 12: bins belong to the nearest semitone."""
    spectrum_TK = complex_spectrum(audio_N[None], window, window // 4)[0].abs()
    bin_hz = torch.arange(1, spectrum_TK.shape[1]) * (sample_rate_hz / window)
    midi_K = torch.round(69 + 12 * torch.log2(bin_hz / 440)).long()
    wanted_K = (midi_K >= lowest_midi) & (midi_K <= highest_midi)
    classes_TP = spectrum_TK.new_zeros(len(spectrum_TK), 12)
    return classes_TP.index_add_(1, midi_K[wanted_K] % 12, spectrum_TK[:, 1:][:, wanted_K])


def log_mel_error(estimate_N: Tensor, target_N: Tensor, sample_rate_hz: int) -> float:
    """Mean absolute difference of natural logarithms of 80 mel bands, floor -60 dB."""
    estimate, target = (mel_spectrogram(audio, sample_rate_hz, MEL_BANDS) for audio in (estimate_N, target_N))
    return float((torch.log(estimate + MEL_FLOOR) - torch.log(target + MEL_FLOOR)).abs().mean())


def stft_distance(estimate_N: Tensor, target_N: Tensor) -> float:
    """Log-magnitude L1 plus half the spectral convergence, mean over windows from 4096 to 512; nan if too short."""
    if len(target_N) < max(STFT_WINDOWS):
        return math.nan
    return float(multi_resolution_stft(estimate_N[None], target_N[None], STFT_WINDOWS, STFT_FLOOR))


def spectral_gap_excess_db(estimate_N: Tensor, target_N: Tensor, sample_rate_hz: int) -> float:
    """Energy in the gaps of the original's spectra above the original's own there, in dB; nan without any.

    Buzz, hiss between partials, and blurred pitch fill them. Frames that are quieter than -60 dB do not count.

    Args:
        estimate_N: mono reconstruction.
        target_N: mono original.
        sample_rate_hz: rate of both.
    """
    if len(target_N) < GAP_WINDOW:
        return math.nan
    made_TK, true_TK = (
        complex_spectrum(audio_N[None], GAP_WINDOW, GAP_WINDOW // 4)[0].abs() for audio_N in (estimate_N, target_N)
    )
    hz_K = torch.arange(true_TK.shape[1]) * (sample_rate_hz / GAP_WINDOW)
    loudest_T1 = true_TK.amax(1, keepdim=True)
    gaps_TK = (true_TK < 10 ** (-GAP_DB / 20) * loudest_T1) & (loudest_T1 > 1e-3)
    gaps_TK &= (hz_K >= GAP_HZ[0]) & (hz_K <= GAP_HZ[1])
    made, true = (float(spectrum_TK[gaps_TK].double().square().sum()) for spectrum_TK in (made_TK, true_TK))
    return 10 * math.log10((made + 1e-20) / true) if true > 0 else math.nan


def onset_f_measure(estimate_N: Tensor, target_N: Tensor, sample_rate_hz: int) -> float:
    """F-measure of the onsets of a mono reconstruction, within 30 ms of the original's; nan without any."""
    made, true = (onset_seconds(audio_N.numpy(), sample_rate_hz) for audio_N in (estimate_N, target_N))
    return beat_f_measure(true, made, ATTACK_SECONDS)


def si_sdr_db(estimate_N: Tensor, target_N: Tensor) -> float:
    """Scale-invariant ratio of signal and distortion (Le Roux et al. 2019, equation 2) in dB; nan where undefined."""
    score = WaveformScore()
    score.update(estimate_N, target_N)
    return float(score.compute()["si_sdr_db"])


class WaveformScore(Metric):
    """SNR and SI-SDR of audio that comes in pieces, with memory that does not grow."""

    full_state_update = False
    target_energy: Tensor
    estimate_energy: Tensor
    product: Tensor
    error_energy: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("target_energy", "estimate_energy", "product", "error_energy"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, estimate: Tensor, target: Tensor) -> None:
        """Add a piece; both are of one shape, time is last."""
        made, true = estimate.flatten().double(), target.flatten().double()
        self.target_energy += true @ true
        self.estimate_energy += made @ made
        self.product += true @ made
        self.error_energy += (made - true).square().sum()

    def compute(self) -> dict[str, Tensor]:
        """`snr_db` and `si_sdr_db`: at most 150 dB, nan for a silent original."""
        snr = ratio_db(self.target_energy, self.error_energy)
        # the share of the reconstruction that lies along the original
        along = self.product.square() / self.target_energy
        return {"snr_db": snr, "si_sdr_db": ratio_db(along, self.estimate_energy - along)}


def ratio_db(signal: Tensor, distortion: Tensor) -> Tensor:
    """Ratio of two energies in dB; nan where there is no signal."""
    if not float(signal) > 0:
        return torch.full((), math.nan, dtype=torch.float64)
    return 10 * torch.log10(signal / distortion.clamp_min(1e-15 * float(signal)))


class LogMelScore(Metric):
    """Mean absolute difference of log-mel spectra of audio that comes in pieces of a second or more.

    Args:
        sample_rate_hz: rate of the audio in Hz.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, sample_rate_hz: int) -> None:
        super().__init__()
        self.sample_rate_hz = sample_rate_hz
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, estimate_AN: Tensor, target_AN: Tensor) -> None:
        """Add a piece; a longer one counts for more."""
        for estimate_N, target_N in zip(estimate_AN, target_AN, strict=True):
            self.total += len(target_N) * log_mel_error(estimate_N, target_N, self.sample_rate_hz)
            self.count += len(target_N)

    def compute(self) -> Tensor:
        """The mean; nan without any audio."""
        return self.total / self.count


def measured_delay(late_N: Tensor, original_N: Tensor, longest: int) -> tuple[int, str]:
    """Samples by which one recording lags behind another, and what that was measured by.

    The waveforms are cross-correlated; where they do not match, because a codec makes phases of its own, magnitudes
    of short-time spectra are, which is exact to a few milliseconds.

    Args:
        late_N: the delayed recording, mono.
        original_N: the original, mono.
        longest: largest lag to look for in either direction, in samples.

    Returns:
        The lag and "waveforms" or "spectra"; 0 and "nothing" if one of them is silent.
    """
    energy = float(late_N.square().sum() * original_N.square().sum()) ** 0.5
    if not energy > 1e-8:
        return 0, "nothing"
    lag, height = _best_lag(late_N[None], original_N[None], longest)
    if height > 0.6 * energy:
        return lag, "waveforms"
    if len(original_N) < DELAY_WINDOW:
        return 0, "nothing"
    lag, _ = _best_lag(_moves(late_N), _moves(original_N), longest // DELAY_HOP)
    return lag * DELAY_HOP, "spectra"


def _moves(audio_N: Tensor) -> Tensor:
    """Log magnitudes KT of short spectra without their means: what begins and ends in every band."""
    levels_KT = torch.log1p(complex_spectrum(audio_N[None], DELAY_WINDOW, DELAY_HOP)[0].abs().T / 1e-3)
    return levels_KT - levels_KT.mean(1, keepdim=True)


def _best_lag(late_KN: Tensor, original_KN: Tensor, longest: int) -> tuple[int, float]:
    """Lag of the highest cross-correlation, summed over rows, and its height."""
    size = 1 << (2 * max(late_KN.shape[1], original_KN.shape[1]) - 1).bit_length()
    product_K = (torch.fft.rfft(late_KN, size) * torch.fft.rfft(original_KN, size).conj()).sum(0)
    correlation_N = torch.fft.irfft(product_K, size)
    longest = min(longest, size // 2 - 1)
    near_N = torch.cat([correlation_N[-longest:] if longest else correlation_N[:0], correlation_N[: longest + 1]])
    best = int(near_N.argmax())
    return best - longest, float(near_N[best])
