"""The steps of the bundled kind of codec as graphs, with its own weights.

Shapes: A audio channels, V views of them, N samples of a step, T latent frames of a step, M = 8 T sub-frames, C latent
channels, F frequency bins, J bins of the long transform, L low pitches, K oscillators, W samples of a window.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from livejam.codecs.causal_codec import CausalCodec, DecoderState
from livejam.codecs.features import LOW_FLOOR, SUBFRAMES, SpectralFeatures
from livejam.codecs.pitch_grid import LOW_PITCHES, grid_position
from livejam.codecs.stereo import mid_side, views
from livejam.codecs.synthesis import (
    ATTACK_BINS,
    ATTACK_GAIN,
    ATTACK_LIMIT,
    CLOCK_STEPS,
    NOISE_PERIOD_SUBFRAMES,
    OVERLAP,
    soft_gate,
)
from livejam.export.fourier import InverseRealFourier, RealFourier
from livejam.export.graphs import StepGraph

NOISE_FRAMES = NOISE_PERIOD_SUBFRAMES // SUBFRAMES
"""Latent frames after which the noise of the decoder repeats."""

LOUD = 1e6
"""A unit in which no magnitude is tiny."""


class EncoderGraph(StepGraph):
    """`mix` (1AN) to `mix_latents` (1TC); the state is the audio that windows still overlap.

    Args:
        codec: its weights are shared.
        frames: T.
    """

    pitch_L: Tensor

    def __init__(self, codec: CausalCodec, frames: int) -> None:
        spec = codec.spec
        mix_BAN = torch.zeros(1, spec.audio_channels, frames * spec.hop_samples)
        states = {"encoder_past": codec.init_encoder_state(1).past_BAN}
        super().__init__("encoder", {"mix": mix_BAN}, "mix_latents", states)
        features = codec.features
        self.codec, self.frames = codec, frames
        self.short = RealFourier(features.window_samples, features.bins)
        self.long = RealFourier(features.long_samples, 1 + len(features.bin_hz))
        self.register_buffer("pitch_L", torch.arange(LOW_PITCHES).float())

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        mix_BAN, past_BAN = tensors
        heard_BAN = torch.cat((past_BAN, mix_BAN), dim=-1)
        heard_VN = views(heard_BAN)[0]
        spectra, low = self._spectra(heard_VN), self._low_maps(heard_VN)
        per_view_VTX = torch.cat([part.reshape(len(heard_VN), self.frames, -1) for part in (spectra, low)], dim=-1)
        features_BTX = per_view_VTX.transpose(0, 1).reshape(1, self.frames, -1)
        return self.codec.project(features_BTX), heard_BAN[..., mix_BAN.shape[-1] :]

    @property
    def _features(self) -> SpectralFeatures:
        return self.codec.features

    def _spectra(self, heard_VN: Tensor) -> Tensor:
        """Log spectra VMF."""
        features = self._features
        begin = features.past_samples - (features.window_samples - features.stride_samples)
        frames_VMW = windows(heard_VN[:, begin:], features.stride_samples)
        real, imaginary = self.short(frames_VMW * features.window)
        return torch.log(1 + torch.sqrt(real.square() + imaginary.square()) / features.floor)

    def _low_maps(self, heard_VN: Tensor) -> Tensor:
        """Log magnitude per low pitch, V(2T)L."""
        features = self._features
        frames_VMW = windows(heard_VN, features.long_stride_samples)
        window_W, slope_W = features.long_windows.unbind()
        real, imaginary = (part[..., 1:] for part in self.long(frames_VMW * window_W))
        slope_real, slope_imaginary = (part[..., 1:] for part in self.long(frames_VMW * slope_W))
        energy_VMJ = real.square() + imaginary.square()
        turn_VMJ = slope_real * imaginary - slope_imaginary * real
        deviation_VMJ = turn_VMJ / energy_VMJ.clamp_min(1e-20)
        frequency_VMJ = features.bin_hz + deviation_VMJ * (features.sample_rate_hz / (2 * math.pi))
        position_VMJ = grid_position(frequency_VMJ)
        # energy is split between the two nearest pitches
        share_VMJL = (1 - (position_VMJ[..., None] - self.pitch_L).abs()).clamp_min(0)
        energy_VML = (energy_VMJ[..., None, :] @ share_VMJL)[..., 0, :] + 1e-20
        return torch.log(torch.sqrt(energy_VML) / features.floor + LOW_FLOOR)


class DecoderGraph(StepGraph):
    """`accompaniment_latents` (1TC) to `accompaniment` (1AN), late by the codec's delay.

    Time is kept as the phases of the oscillators and the place in the noise, which never grow: a stream may last
    forever, and all of its numbers are exact in float32.

    Args:
        codec: its weights are shared.
        frames: T.
        state: the codec's state before the first step.
    """

    phase_MK: Tensor
    advance_K: Tensor
    noise: Tensor
    frame_T: Tensor
    sample_N: Tensor

    def __init__(self, codec: CausalCodec, frames: int, state: DecoderState) -> None:
        synthesis, frame = codec.synthesis, int(state.frame_B)
        phase_K = (synthesis.clock_K * (SUBFRAMES * frame) + synthesis.start_K) % CLOCK_STEPS
        states = {f"decoder_past_{number}": past for number, past in enumerate(state.pasts)} | {
            "decoder_tail": state.tail_BAN,
            "decoder_magnitude": state.magnitude_BAF,
            "decoder_phase": phase_K.float(),
            "decoder_noise_frame": torch.tensor([frame % NOISE_FRAMES], dtype=torch.int32),
            "decoder_early": torch.tensor([float(max(0, codec.spec.delay_samples - frame * codec.spec.hop_samples))]),
        }
        latents_BTC = torch.zeros(1, frames, codec.spec.latent_channels)
        super().__init__("decoder", {"accompaniment_latents": latents_BTC}, "accompaniment", states)
        self.codec, self.frames = codec, frames
        self.inverse = InverseRealFourier(len(synthesis.window))
        subframe_M1 = torch.arange(frames * SUBFRAMES)[:, None]
        self.register_buffer("phase_MK", (subframe_M1 * synthesis.clock_K % CLOCK_STEPS).float())
        self.register_buffer("advance_K", (frames * SUBFRAMES * synthesis.clock_K % CLOCK_STEPS).float())
        noise_PAF = torch.view_as_real(synthesis.noise_PAF)
        # by latent frame, so that one step gathers whole frames
        self.register_buffer("noise", noise_PAF.reshape(NOISE_FRAMES, SUBFRAMES, *noise_PAF.shape[1:]))
        self.register_buffer("frame_T", torch.arange(frames, dtype=torch.int32) % NOISE_FRAMES)
        self.register_buffer("sample_N", torch.arange(frames * codec.spec.hop_samples).float())

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        latents_BTC, *pasts, tail_BAN, before_BAF, phase_K, noise_frame_1, early_1 = tensors
        decoder, synthesis, bound = self.codec.decoder, self.codec.synthesis, self.codec.bound
        latents_BTC = latents_BTC.clamp(-bound, bound)
        hidden_BMD, pasts = decoder.causal_convs(latents_BTC, pasts)
        log_magnitude, log_oscillator, gain, correction = decoder.real_parts(latents_BTC, hidden_BMD)
        magnitude_BMAF = synthesis.magnitude_of(log_magnitude)
        donor = self._donor(log_oscillator, gain, magnitude_BMAF, before_BAF, phase_K, noise_frame_1)
        spectrum = self._spectrum(donor, correction, magnitude_BMAF)
        audio_BAN, tail_BAN = synthesis.added(self.inverse(*spectrum), tail_BAN)
        phase_K = wrapped(phase_K + self.advance_K, CLOCK_STEPS)
        frame_1 = wrapped(noise_frame_1 + self.frames % NOISE_FRAMES, NOISE_FRAMES)
        # what comes out before the delay is over would be heard before the first sample of the song
        audio_BAN = audio_BAN * (self.sample_N >= early_1).float()
        early_1 = (early_1 - len(self.sample_N)).clamp(min=0)
        return audio_BAN, *pasts, tail_BAN, magnitude_BMAF[:, -1], phase_K, frame_1, early_1

    def _donor(
        self,
        log_oscillator: Tensor,
        gain: Tensor,
        magnitude_BMAF: Tensor,
        before_BAF: Tensor,
        phase_K: Tensor,
        noise_frame_1: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Real and imaginary spectra BMAF of oscillators and noise, as `Synthesis.donor`."""
        synthesis = self.codec.synthesis
        angle_MK = wrapped(phase_K + self.phase_MK, CLOCK_STEPS) * (2 * math.pi / CLOCK_STEPS)
        amplitude_BMAK = synthesis.floor * soft_gate(log_oscillator)
        cosine_KF, sine_KF = synthesis.kernels_2KF.unbind()
        index_T = wrapped(noise_frame_1 + self.frame_T, NOISE_FRAMES)
        noise_MAF2 = self.noise.index_select(0, index_T).flatten(0, 1)
        parts = []
        for number, (turned_MK, kernel_KF) in enumerate(((angle_MK.cos(), cosine_KF), (angle_MK.sin(), sine_KF))):
            tones_BMAF = (amplitude_BMAK * turned_MK[:, None]) @ kernel_KF
            tones_BMAF = nn.functional.pad(tones_BMAF, (0, synthesis.bins - kernel_KF.shape[-1]))
            noise_BMAF = mid_side(gain * noise_MAF2[None, ..., number], dim=2)
            parts.append(tones_BMAF + magnitude_BMAF * noise_BMAF)
        return with_attacks(parts[0], parts[1], magnitude_BMAF, before_BAF)

    @staticmethod
    def _spectrum(
        donor: tuple[Tensor, Tensor], correction: tuple[Tensor, Tensor], magnitude_BMAF: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The decoded magnitude with the phase of the corrected donor, as `Synthesis.spectrum`."""
        parts = [part + magnitude_BMAF * added for part, added in zip(donor, correction, strict=True)]
        # exporters take a number as small as 1e-16 for zero
        real, imaginary, magnitude = (part * LOUD for part in (*parts, magnitude_BMAF))
        faint = 1e-6 * magnitude.square() + 1e-16 * LOUD**2
        scale = magnitude * torch.rsqrt(real.square() + imaginary.square() + faint)
        return parts[0] * scale, parts[1] * scale


def with_attacks(real: Tensor, imaginary: Tensor, magnitude_BMAF: Tensor, before_BAF: Tensor) -> tuple[Tensor, Tensor]:
    """`livejam.codecs.synthesis.shape_attacks` in real numbers."""
    history = torch.cat([before_BAF[:, None], magnitude_BMAF], dim=1)
    pooled = nn.functional.avg_pool1d(history.flatten(1, 2), ATTACK_BINS, 1, ATTACK_BINS // 2).view_as(history)
    rise, total = pooled[:, 1:] - pooled[:, :-1], pooled[:, 1:] + pooled[:, :-1] + 1e-6
    depth = (ATTACK_GAIN * rise / total).clamp(-ATTACK_LIMIT, ATTACK_LIMIT) * 0.5
    real_sides, imaginary_sides = (nn.functional.pad(part, (1, 1)) for part in (real, imaginary))
    real_rise = real_sides[..., 2:] - real_sides[..., :-2]
    imaginary_rise = imaginary_sides[..., 2:] - imaginary_sides[..., :-2]
    return real + depth * imaginary_rise, imaginary - depth * real_rise


def windows(audio: Tensor, stride: int) -> Tensor:
    """Windows (…, M, W) of audio (…, N), each of `OVERLAP` strides."""
    strides = audio.unflatten(-1, (-1, stride))
    count = strides.shape[-2] - OVERLAP + 1
    return torch.cat([strides[..., first : first + count, :] for first in range(OVERLAP)], dim=-1)


def wrapped(number: Tensor, period: int) -> Tensor:
    """The number in [0, period), of one in [0, 2 · period)."""
    return torch.where(number >= period, number - period, number)
