"""The losses of a causal codec's decoder, on its magnitudes and on its sound.

Shapes: B batch, A audio channels, N audio samples, X features per latent frame, M sub-frames, F frequency bins, K
oscillators, L low pitches.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from livejam.codecs.causal_codec import CausalCodec
from livejam.codecs.features import SUBFRAMES
from livejam.codecs.pitch_grid import LOW_PITCHES
from livejam.codecs.stereo import mid_side
from livejam.codecs.synthesis import SpectralParts
from livejam.objectives.spectral import (
    complex_spectrum,
    level_error,
    log_magnitude_error,
    mel_distance,
    noise_floor,
    phase_derivative_error,
    spectral_convergence,
    spectral_distance,
    spectral_gap_excess,
)
from metrics.mel import mel_filterbank

GAP_DB = 45.0
"""Depth below the loudest bin of a frame at which a gap begins, in the loss and in the metric."""
GAP_FLOORS = 4.0
"""Ratio of the floor of the other losses on sound to that of the loss on spectral gaps."""
SAMPLES_PER_MEL_BAND = 25
"""Samples of a window per mel band: 163 bands for 4096 samples. With many more bands, low ones would have no bin."""


def magnitude_losses(codec: CausalCodec, parts: SpectralParts, features_BTX: Tensor) -> dict[str, Tensor]:
    """Weighted losses of the decoded magnitudes by name, each the mean over the batch.

    Args:
        codec: the codec that made the features.
        parts: the decoder's output.
        features_BTX: features of the true audio.
    """
    true_BMAF, low_BMAL = codec.decoder.linear_features(codec.heard_channels(features_BTX))
    estimate_BMAF, floor = parts.log_magnitude_BMAF, codec.features.floor
    low_error = (parts.log_oscillator_BMAK[..., :LOW_PITCHES] - low_BMAL).abs().mean((1, 2, 3))
    losses = {
        "log_magnitude": log_magnitude_error(estimate_BMAF, true_BMAF),
        "convergence": 0.5 * spectral_convergence(floor * estimate_BMAF.expm1(), floor * true_BMAF.expm1()),
        "low_band": 0.2 * low_error,
    }
    return {name: value.mean() for name, value in losses.items()}


def sounds(codec: CausalCodec, parts: SpectralParts, start_B: Tensor) -> tuple[Tensor, Tensor]:
    """The decoded sound and its phase donor, aligned with what `heard` returns.

    Args:
        codec: the codec that made the parts.
        parts: the decoder's output for whole latent frames.
        start_B: latent frame of the oscillators' clock, int64.
    """
    state, synthesis, delay = codec.init_decoder_state(len(start_B)), codec.synthesis, codec.spec.delay_samples
    subframe_BM = codec.subframes(start_B, parts.log_magnitude_BMAF.shape[1] // SUBFRAMES)
    donor_BMAF = synthesis.donor(parts, subframe_BM, state.magnitude_BAF)
    spectrum_BMAF = synthesis.spectrum(parts, donor_BMAF)
    made_BAN, donor_BAN = (synthesis.overlap_add(s, state.tail_BAN)[0] for s in (spectrum_BMAF, donor_BMAF))
    return made_BAN[:, :, delay:], donor_BAN[:, :, delay:]


def heard(codec: CausalCodec, audio_BAN: Tensor) -> Tensor:
    """The true sound, as far as the decoder has finished it."""
    return audio_BAN[:, :, : -codec.spec.delay_samples]


def audio_losses(
    codec: CausalCodec,
    true_BAN: Tensor,
    made_BAN: Tensor,
    donor_BAN: Tensor,
    windows_samples: tuple[int, ...],
    mel_weight: float,
    spectral_gap_weight: float,
) -> dict[str, Tensor]:
    """Weighted losses of the sound by name, of stereo as mid and side.

    The donor alone must already sound right, or its phases would be meaningless.

    Args:
        codec: the codec, for its floor and rate.
        true_BAN: the true sound.
        made_BAN: the reconstruction.
        donor_BAN: its phase donor.
        windows_samples: windows from the longest to the shortest.
        mel_weight: weight ≥ 0 of the mel loss; 0 = off.
        spectral_gap_weight: weight ≥ 0 of the loss on spectral gaps of the longest window; 0 = off.
    """
    floor, longest, middle = codec.features.floor / 2, windows_samples[0], windows_samples[len(windows_samples) // 2]
    true = {window: _spectrum(true_BAN, window) for window in windows_samples}
    made = {window: _spectrum(made_BAN, window) for window in windows_samples}
    sound = [spectral_distance(made[w], true[w], noise_floor(floor, w)) for w in windows_samples]
    donor = spectral_distance(_spectrum(donor_BAN, longest), true[longest], noise_floor(floor, longest))
    losses = {
        "sound": torch.stack(sound).mean(0),
        "level": level_error(made[middle], true[middle]),
        "phase": 0.4 * phase_derivative_error(made[middle], true[middle]),
        "donor": 0.3 * donor,
    }
    if mel_weight:
        bands = {w: mel_bands(w, codec.spec.sample_rate_hz, true_BAN.device) for w in windows_samples}
        mel = [mel_distance(made[w], true[w], bands[w], noise_floor(floor, w)) for w in windows_samples]
        losses["mel"] = mel_weight * torch.stack(mel).mean(0)
    if spectral_gap_weight:
        lowest = noise_floor(floor / GAP_FLOORS, longest)
        excess = spectral_gap_excess(made[longest], true[longest], GAP_DB, lowest)
        losses["spectral_gaps"] = spectral_gap_weight * excess
    return {name: value.mean() for name, value in losses.items()}


@functools.lru_cache(maxsize=16)
def mel_bands(window_samples: int, sample_rate_hz: int, device: torch.device) -> Tensor:
    """Filterbank over the whole spectrum, as fine as the window allows; brought to the device once."""
    bands = max(8, window_samples // SAMPLES_PER_MEL_BAND)
    # The first caller may be a validation in inference mode; training must be able to use the result.
    with torch.inference_mode(False):
        return mel_filterbank(sample_rate_hz, window_samples, bands, 0.0, sample_rate_hz / 2).clone().to(device)


def _spectrum(audio_BAN: Tensor, window_samples: int) -> Tensor:
    return complex_spectrum(mid_side(audio_BAN).flatten(0, 1), window_samples, window_samples // 4)
