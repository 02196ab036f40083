"""The pitch of a voice, or of anything else that sounds one note at a time, as a control of a sketch.

Peaks of a filter bank (`livejam.sketch.controls.Pitch`) hear a voice's overtones as notes; this hears its fundamental.

Shapes: B batch, N audio samples, T latent frames, F frames of the tracker, Q samples that one step of resampling takes,
P samples that it gives, W samples of a kernel, K notes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn

from livejam.errors import UserError
from livejam.sketch.controls import A4_HZ, A4_NOTE, NOTES, OCTAVE, PitchBy, PitchControl
from livejam.sketch.swift_f0 import HOP_SAMPLES, LEFT_FRAMES, RATE_HZ, RIGHT_FRAMES, SwiftF0

CONTEXT_FRAMES = LEFT_FRAMES + RIGHT_FRAMES - 1
"""Frames of the tracker that M frames of sound lack at their edges."""

CROSSINGS = 16
"""Zero crossings of the resampling filter on each side."""

TINY = 1e-9
"""Strengths are divided by no less."""


@dataclass(frozen=True)
class VoicePitch(PitchBy):
    """Pitch by a tracker of single notes (`SwiftF0`) instead of the peaks of a filter bank.

    Args:
        least_strength: notes of which the tracker is less sure are left out, 0 to 1; flash-foley's number for pitch
            probabilities is 0.1.

    Raises:
        UserError: the number is out of range.
    """

    least_strength: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.least_strength <= 1:
            raise UserError(f"least_strength is {self.least_strength}; a share from 0 to 1")

    def at(self, sample_rate_hz: int, hop_samples: int) -> TrackedPitch:
        return TrackedPitch(sample_rate_hz, hop_samples, self)


class TrackedPitch(PitchControl):
    """Which note of MIDI is sung: the tracker's confidence, shared by the two notes next to its pitch, relative to the
    more strongly sung of the two, as those of a filter bank (`livejam.sketch.controls.Pitch`) are to the strongest.

    The tracker hears 16 ms at a time, and a latent frame is the mean of a whole number of those. So that their hop is
    that share of a latent frame, the sound is resampled to a rate near 16 kHz, and the tracker hears it a few percent
    slower or faster than it is; its pitches are put right. It needs 0.18 s of sound after a moment, by which this
    control lags. It hears notes from about F♯1 to C7.

    Args:
        sample_rate_hz: rate of the sound.
        hop_samples: samples of a latent frame.
        voice: how.

    Raises:
        UserError: a latent frame is too short for the tracker.
    """

    kernels_PW: Tensor

    def __init__(self, sample_rate_hz: int, hop_samples: int, voice: VoicePitch) -> None:
        self.frames_per_hop = round(hop_samples / sample_rate_hz * RATE_HZ / HOP_SAMPLES)
        if not self.frames_per_hop:
            raise UserError(
                f"a frame of {hop_samples} samples at {sample_rate_hz} Hz is too short for a voice's pitch, which is "
                "heard every 16 ms; choose a codec with longer frames, or leave the sketch's voice out"
            )
        ratio = Fraction(self.frames_per_hop * HOP_SAMPLES, hop_samples)
        self.context_hops = math.ceil(CONTEXT_FRAMES / self.frames_per_hop)
        kernels_PW = resampling_kernels(ratio, CROSSINGS)
        overlap = kernels_PW.shape[1] - ratio.denominator
        super().__init__(hop_samples, (self.context_hops + 1) * hop_samples + overlap)
        self.stride, self.least_strength = ratio.denominator, voice.least_strength
        # on average, the tracker's frames are 10.5 of theirs older than the latent frame
        self.lag_frames = (RIGHT_FRAMES - 0.5) / self.frames_per_hop
        self.pitch_scale = sample_rate_hz * ratio.numerator / ratio.denominator / RATE_HZ
        self.register_buffer("kernels_PW", kernels_PW, persistent=False)
        self.tracker = SwiftF0.pretrained()

    def curve(self, heard_BN: Tensor) -> Tensor:
        return self.notes(*self.tracker.to(heard_BN)(self.tracked(heard_BN)))

    def tracked(self, heard_BN: Tensor) -> Tensor:
        """What the tracker hears of the frames of `curve`: the sound at its rate, from the first frame's past on."""
        tracked_BN = self.resampled(heard_BN)
        frames = tracked_BN.shape[1] // (self.frames_per_hop * HOP_SAMPLES) - self.context_hops
        needed = (frames * self.frames_per_hop + CONTEXT_FRAMES) * HOP_SAMPLES
        return tracked_BN[:, tracked_BN.shape[1] - needed :]

    def notes(self, pitch_BF: Tensor, confidence_BF: Tensor) -> Tensor:
        """The curve_BTK of the tracker's frames."""
        note_BF1 = (A4_NOTE + OCTAVE * torch.log2(pitch_BF * self.pitch_scale / A4_HZ))[..., None]
        place_K = torch.arange(NOTES, device=pitch_BF.device, dtype=pitch_BF.dtype)
        near_BFK = (1 - (note_BF1 - place_K).abs()).clamp_min(0) * confidence_BF[..., None]
        sure_BTK = near_BFK.unflatten(1, (-1, self.frames_per_hop)).mean(dim=2)
        strength_BTK = torch.where(sure_BTK < self.least_strength, 0.0, sure_BTK)
        # a tracker that is less sure does not ask for a softer note
        return strength_BTK / strength_BTK.amax(dim=-1, keepdim=True).clamp_min(TINY)

    def resampled(self, heard_BN: Tensor) -> Tensor:
        """Sound at the tracker's rate: P samples for every Q after the first W - Q."""
        found_BPF = nn.functional.conv1d(heard_BN[:, None], self.kernels_PW.to(heard_BN)[:, None], stride=self.stride)
        return found_BPF.transpose(1, 2).flatten(1)


def resampling_kernels(ratio: Fraction, crossings: int) -> Tensor:
    """Kernels_PW that make P samples of every Q = W - (overlap) samples, P / Q being the ratio of the rates.

    A sinc at 0.95 of the lower rate's half, under a Kaiser window of β = 8. The filters are symmetric about their
    delay, which is half of the overlap: sample p of a step is the sound that p · Q / P samples after it.

    Args:
        ratio: new rate over old rate.
        crossings: zero crossings of the sinc on each side.
    """
    cutoff = 0.95 * min(1.0, float(ratio))
    half = math.ceil(crossings / cutoff)
    gave, took = ratio.numerator, ratio.denominator
    phase_P1 = torch.arange(gave, dtype=torch.float64)[:, None] * took / gave
    distance_PW = torch.arange(2 * half + took, dtype=torch.float64) - half - phase_P1
    window_PW = torch.special.i0(8 * (1 - (distance_PW / half).square()).clamp_min(0).sqrt()) / torch.special.i0(
        torch.tensor(8.0, dtype=torch.float64)
    )
    kernels_PW = cutoff * torch.sinc(cutoff * distance_PW) * torch.where(distance_PW.abs() <= half, window_PW, 0.0)
    # a constant stays one, whatever the phase
    return kernels_PW / kernels_PW.sum(dim=1, keepdim=True)
