"""The steps of the bundled kind of codec as graphs, with its own weights.

Shapes: A audio channels, V views of them, N samples of a step, T latent frames of a step, M = 8 T sub-frames, C latent
channels, F frequency bins, J bins of the long transform, L low pitches, K oscillators, W samples of a window. A leading
2 is a real and an imaginary part, so that one operator computes both.
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


class EncoderGraph(StepGraph):
    """`mix` (1AN) to `mix_latents` (1TC); the state is the audio that windows still overlap.

    Args:
        codec: its weights are shared.
        frames: T.
    """

    pitch_L: Tensor
    long_windows: Tensor

    def __init__(self, codec: CausalCodec, frames: int) -> None:
        spec = codec.spec
        mix_BAN = torch.zeros(1, spec.audio_channels, frames * spec.hop_samples)
        states = {"encoder_past": codec.init_encoder_state(1).past_BAN}
        super().__init__("encoder", {"mix": mix_BAN}, "mix_latents", states)
        features = codec.features
        self.codec, self.frames = codec, frames
        self.short = RealFourier(features.window_samples, range(features.bins))
        self.long = RealFourier(features.long_samples, range(1, 1 + len(features.bin_hz)))
        self.register_buffer("long_windows", features.long_windows[:, None, None])
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
        power_VMF = self.short(frames_VMW * features.window).square().sum(dim=-2)
        return torch.log(1 + torch.sqrt(power_VMF) / features.floor)

    def _low_maps(self, heard_VN: Tensor) -> Tensor:
        """Log magnitude per low pitch, V(2T)L."""
        features = self._features
        frames_VMW = windows(heard_VN, features.long_stride_samples)
        spectrum, slope = self.long(frames_VMW * self.long_windows).split(1)
        (real, imaginary), (slope_real, slope_imaginary) = (part[0].split(1, dim=-2) for part in (spectrum, slope))
        energy_VM1J = real.square() + imaginary.square()
        turn_VM1J = slope_real * imaginary - slope_imaginary * real
        deviation_VM1J = turn_VM1J / energy_VM1J.clamp_min(1e-20)
        frequency_VM1J = features.bin_hz + deviation_VM1J * (features.sample_rate_hz / (2 * math.pi))
        position_VMJ1 = grid_position(frequency_VM1J).transpose(-1, -2)
        # energy is split between the two nearest pitches
        share_VMJL = (1 - (position_VMJ1 - self.pitch_L).abs()).clamp_min(0)
        energy_VM1L = energy_VM1J @ share_VMJL + 1e-20
        return torch.log(torch.sqrt(energy_VM1L) / features.floor + LOW_FLOOR)


class DecoderGraph(StepGraph):
    """`accompaniment_latents` (1TC) to `accompaniment` (1AN), late by the codec's delay.

    Time is kept as the phases of the oscillators and the place in the noise, which never grow: a stream may last
    forever, and all of its numbers are exact in float32.

    Args:
        codec: its weights are shared.
        frames: T.
        state: the codec's state before the first step.
    """

    phase_2M1K: Tensor
    advance_K: Tensor
    noise: Tensor
    frame_T: Tensor
    sample_N: Tensor
    faint: Tensor
    sign_2111: Tensor
    other_2: Tensor

    def __init__(self, codec: CausalCodec, frames: int, state: DecoderState) -> None:
        synthesis, frame = codec.synthesis, int(state.frame_B)
        phase_K = (synthesis.clock_K * (SUBFRAMES * frame) + synthesis.start_K) % CLOCK_STEPS
        states = {f"decoder_past_{number}": past[0] for number, past in enumerate(state.pasts)} | {
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
        # a cosine is a sine that is a quarter of a turn ahead
        ahead_2111 = torch.tensor((CLOCK_STEPS // 4, 0))[:, None, None, None]
        phase_2M1K = (subframe_M1 * synthesis.clock_K)[:, None] + ahead_2111
        self.register_buffer("phase_2M1K", (phase_2M1K % CLOCK_STEPS).float())
        self.register_buffer("advance_K", (frames * SUBFRAMES * synthesis.clock_K % CLOCK_STEPS).float())
        noise = torch.view_as_real(synthesis.noise_PAF).movedim(-1, 0)
        # by latent frame, so that one step gathers whole frames
        self.register_buffer("noise", noise.unflatten(1, (NOISE_FRAMES, SUBFRAMES)).transpose(0, 1).contiguous())
        self.register_buffer("frame_T", torch.arange(frames, dtype=torch.int32) % NOISE_FRAMES)
        self.register_buffer("sample_N", torch.arange(frames * codec.spec.hop_samples).float())
        # exporters take a number as small as that for zero, if it is no tensor
        self.register_buffer("faint", torch.tensor([1e-16]))
        self.register_buffer("other_2", torch.tensor((1, 0), dtype=torch.int32))
        self.register_buffer("sign_2111", torch.tensor((1.0, -1.0))[:, None, None, None])

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        latents_BTC, *pasts, tail_BAN, before_BAF, phase_K, noise_frame_1, early_1 = tensors
        synthesis, bound = self.codec.synthesis, self.codec.bound
        latents_TC = latents_BTC[0].clamp(-bound, bound)
        hidden_MD, pasts = self.codec.decoder.causal_convs(latents_TC, pasts)
        log_magnitude, log_oscillator, gain_MAF, correction = self._parts(latents_TC, hidden_MD)
        magnitude_MAF = synthesis.magnitude_of(log_magnitude)
        tones = self._tones(log_oscillator, phase_K)
        steady = tones + magnitude_MAF * mid_side(gain_MAF * self._noise(noise_frame_1), dim=2)
        donor = self._with_attacks(steady, magnitude_MAF, before_BAF)
        spectrum = self._spectrum(donor + magnitude_MAF * correction, magnitude_MAF)
        audio_BAN, tail_BAN = synthesis.added(self.inverse(spectrum)[None], tail_BAN)
        phase_K = wrapped(phase_K + self.advance_K, CLOCK_STEPS)
        frame_1 = wrapped(noise_frame_1 + self.frames % NOISE_FRAMES, NOISE_FRAMES)
        # what comes out before the delay is over would be heard before the first sample of the song
        audio_BAN = audio_BAN * (self.sample_N >= early_1).float()
        early_1 = (early_1 - len(self.sample_N)).clamp(min=0)
        return audio_BAN, *pasts, tail_BAN, magnitude_MAF[None, -1], phase_K, frame_1, early_1

    def _parts(self, latents_TC: Tensor, hidden_MD: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`Decoder.real_parts` without a batch, and the correction as 2MAF."""
        decoder = self.codec.decoder
        spectra_BMAF, low_BMAL = decoder.linear_features(decoder.base(latents_TC)[None])
        heads = decoder.heads(hidden_MD).unflatten(-1, (decoder.audio_channels, -1))
        sizes = [*decoder.sizes[:3], 2 * decoder.bins]
        magnitude, oscillator, noise, correction = torch.split(heads, sizes, dim=-1)
        magnitude_MAF = spectra_BMAF[0] + magnitude
        tones_MAK = torch.cat([low_BMAL[0], magnitude_MAF.index_select(-1, decoder.nearest_bin)], dim=-1)
        gain_MAF = nn.functional.softplus(noise - 0.5) @ decoder.bands_GF
        correction_2MAF = correction.unflatten(-1, (2, -1)).movedim(-2, 0)
        return magnitude_MAF, tones_MAK + oscillator, gain_MAF, correction_2MAF

    def _tones(self, log_oscillator_MAK: Tensor, phase_K: Tensor) -> Tensor:
        """The oscillators' spectra 2MAF, as in `Synthesis.donor`."""
        angle_2M1K = wrapped(phase_K + self.phase_2M1K, CLOCK_STEPS) * (2 * math.pi / CLOCK_STEPS)
        amplitude_MAK = self.codec.synthesis.floor * soft_gate(log_oscillator_MAK)
        turned = (amplitude_MAK * angle_2M1K.sin()).flatten(1, 2)
        # runtimes lay out single matrices for speed, but no stacks of them
        parts = [turned[part] @ kernel_KF for part, kernel_KF in enumerate(self.codec.synthesis.kernels_2KF)]
        padded = nn.functional.pad(torch.stack(parts), (0, self.codec.synthesis.bins - parts[0].shape[-1]))
        return padded.unflatten(1, log_oscillator_MAK.shape[:2])

    def _noise(self, frame_1: Tensor) -> Tensor:
        """The spectra 2MAF of noise from the frame on."""
        index_T = wrapped(frame_1 + self.frame_T, NOISE_FRAMES)
        return self.noise.index_select(0, index_T).transpose(0, 1).flatten(1, 2)

    def _with_attacks(self, spectrum: Tensor, magnitude_MAF: Tensor, before_BAF: Tensor) -> Tensor:
        """`livejam.codecs.synthesis.shape_attacks` of 2MAF."""
        history = torch.cat([before_BAF, magnitude_MAF], dim=0)
        pooled = nn.functional.avg_pool1d(history, ATTACK_BINS, 1, ATTACK_BINS // 2)
        rise, total = pooled[1:] - pooled[:-1], pooled[1:] + pooled[:-1] + 1e-6
        depth = (ATTACK_GAIN * rise / total).clamp(-ATTACK_LIMIT, ATTACK_LIMIT) * 0.5
        sides = nn.functional.pad(spectrum, (1, 1))
        # times -i: the real part gets the imaginary one, and that the real one's opposite
        turned = (sides[..., 2:] - sides[..., :-2]).index_select(0, self.other_2)
        return spectrum + depth * self.sign_2111 * turned

    def _spectrum(self, direction: Tensor, magnitude_MAF: Tensor) -> Tensor:
        """The decoded magnitude with the phase of the corrected donor (2MAF), as `Synthesis.spectrum`."""
        faint = 1e-6 * magnitude_MAF.square() + self.faint
        return direction * (magnitude_MAF / torch.sqrt(direction.square().sum(dim=0) + faint))


def windows(audio: Tensor, stride: int) -> Tensor:
    """Windows (…, M, W) of audio (…, N), each of `OVERLAP` strides."""
    strides = audio.unflatten(-1, (-1, stride))
    count = strides.shape[-2] - OVERLAP + 1
    return torch.cat([strides[..., first : first + count, :] for first in range(OVERLAP)], dim=-1)


def wrapped(number: Tensor, period: int) -> Tensor:
    """The number in [0, period), of one in [0, 2 · period)."""
    return torch.where(number >= period, number - period, number)
