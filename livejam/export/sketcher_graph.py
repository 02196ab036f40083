"""What makes the curves of a sketch, as a graph: sound goes in, packed curves come out.

Transforms are convolutions with real kernels, which every runtime has.

Shapes: B batch (1), N samples of a step and before it, T latent frames of a step, J windows of a frame, F frequencies,
K notes, W samples of a kernel, P numbers of a packed frame.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from livejam.errors import UserError
from livejam.export.graphs import StepGraph, finite
from livejam.sketch import Pitch, PitchControl, Sketcher, TrackedPitch, packed
from livejam.sketch.analysis import LOUDEST
from livejam.sketch.swift_f0 import HOP_SAMPLES, WINDOWS


class SketcherGraph(StepGraph):
    """`sound` (1N) to `curves` (1TP), as `Sketcher.step`; the state is the sound that windows still overlap.

    Args:
        sketcher: makes the curves.
        frames: T.
    """

    fourier_2F1W: Tensor

    def __init__(self, sketcher: Sketcher, frames: int) -> None:
        controls = sketcher.loudness, sketcher.brightness, sketcher.pitch
        hop = sketcher.loudness.hop_samples
        past = max(control.window_samples for control in controls) - hop
        states = {"sketcher_past": torch.zeros(1, past)}
        super().__init__("sketcher", {"sound": torch.zeros(1, frames * hop)}, "curves", states)
        self.loudness, self.brightness, pitch = controls
        self.notes = _notes(pitch, frames)
        self.new_samples, self.frames, self.kept = frames * hop, frames, sketcher.analysis.kept_notes
        window_W = self.loudness.hann_W / self.loudness.hann_W.sum()
        self.register_buffer("fourier_2F1W", fourier_kernels(window_W))

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        sound_BN, past_BN = tensors
        heard_BN = torch.cat((past_BN, finite(sound_BN).clamp(-LOUDEST, LOUDEST)), dim=-1)
        step = self.loudness.step_samples
        begin = past_BN.shape[1] + step - self.loudness.fft_samples
        magnitude_BTJF = power(heard_BN[:, begin:], self.fourier_2F1W, step).unflatten(1, (self.frames, -1)).sqrt()
        level_BT1, brightness_BT1 = self.loudness.level(magnitude_BTJF), self.brightness.level(magnitude_BTJF)
        curves_BTP = packed(level_BT1, brightness_BT1, self.notes(heard_BN), self.kept)
        return curves_BTP, heard_BN[:, self.new_samples :]


class PeakNotes(nn.Module):
    """The curve_BTK of `Pitch`.

    Args:
        pitch: the control.
        frames: T.
    """

    def __init__(self, pitch: Pitch, frames: int) -> None:
        super().__init__()
        self.pitch, self.frames = pitch, frames
        self.octaves = [pitch.octave(number) for number in range(len(pitch.steps))]
        for number, (kernels, _) in enumerate(self.octaves):
            self.register_buffer(f"octave_{number}", kernels[:, None].float())

    def forward(self, heard_BN: Tensor) -> Tensor:
        past, octaves = heard_BN.shape[1] - self.frames * self.pitch.hop_samples, []
        for number, (_, step) in enumerate(self.octaves):
            kernels = cast(Tensor, getattr(self, f"octave_{number}"))
            found = power(heard_BN[:, past + step - kernels.shape[-1] :], kernels, step)
            octaves.append(found.unflatten(1, (self.frames, -1)).mean(dim=2).sqrt())
        return self.pitch.notes(torch.cat(octaves, dim=-1))


class TrackedNotes(nn.Module):
    """The curve_BTK of `TrackedPitch`.

    Args:
        pitch: the control.
        frames: T.
    """

    def __init__(self, pitch: TrackedPitch, frames: int) -> None:
        super().__init__()
        self.pitch, self.needed = pitch, pitch.window_samples + (frames - 1) * pitch.hop_samples
        for samples in WINDOWS:
            window_W = torch.hann_window(samples, dtype=torch.float64)
            self.register_buffer(f"fourier_{samples}", fourier_kernels(window_W))

    def forward(self, heard_BN: Tensor) -> Tensor:
        tracked_BN = self.pitch.tracked(heard_BN[:, heard_BN.shape[1] - self.needed :])
        spectra = []
        for samples in WINDOWS:
            edge = (max(WINDOWS) - samples) // 2
            kernels = cast(Tensor, getattr(self, f"fourier_{samples}"))
            spectra.append(power(tracked_BN[:, edge : tracked_BN.shape[1] - edge], kernels, HOP_SAMPLES).sqrt())
        pitch_BF, confidence_BF = self.pitch.tracker.of_spectra(spectra)
        return self.pitch.notes(pitch_BF, self.pitch.tracker.unless_silent(tracked_BN, confidence_BF))


def _notes(pitch: PitchControl, frames: int) -> nn.Module:
    """What gives the curve of this control.

    Raises:
        UserError: nothing does.
    """
    if isinstance(pitch, Pitch):
        return PeakNotes(pitch, frames)
    if isinstance(pitch, TrackedPitch):
        return TrackedNotes(pitch, frames)
    raise UserError(f"{type(pitch).__name__} has no graph; export a model whose sketch is made by Pitch or VoicePitch")


def fourier_kernels(window_W: Tensor) -> Tensor:
    """Cosines, then sines, of the frequencies of a transform as long as the window, under it (2F, 1, W)."""
    samples = len(window_W)
    turn_FW = torch.arange(samples // 2 + 1)[:, None] * torch.arange(samples) % samples
    angle_FW = turn_FW.double() * (2 * math.pi / samples)
    return torch.cat((angle_FW.cos() * window_W, angle_FW.sin() * window_W))[:, None].float()


def power(heard_BN: Tensor, kernels_2F1W: Tensor, step: int) -> Tensor:
    """Squares (BJF) of the amplitudes in windows from the first sample on, every `step` samples."""
    real_BFJ, imaginary_BFJ = F.conv1d(heard_BN[:, None], kernels_2F1W, stride=step).chunk(2, dim=1)
    return (real_BFJ.square() + imaginary_BFJ.square()).transpose(1, 2)
