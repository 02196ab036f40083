"""What makes the curves of a sketch, as a graph: sound goes in, packed curves come out.

Shapes: B batch (1), N samples of a step, T latent frames of a step, J windows of a frame, F frequencies, K notes of an
octave, W samples of a kernel, P numbers of a packed frame.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from livejam.export.graphs import StepGraph, finite
from livejam.sketch import Sketcher, packed
from livejam.sketch.analysis import LOUDEST


class SketcherGraph(StepGraph):
    """`sound` (1N) to `curves` (1TP), as `Sketcher.step`; the state is the sound that windows still overlap.

    Transforms are convolutions with real kernels, which every runtime has.

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
        self.loudness, self.brightness, self.pitch = controls
        self.frames, self.past_samples, self.kept = frames, past, sketcher.analysis.kept_notes
        samples = self.loudness.fft_samples
        turn_FW = torch.arange(samples // 2 + 1)[:, None] * torch.arange(samples) % samples
        angle_FW = turn_FW.double() * (2 * math.pi / samples)
        window_W = self.loudness.hann_W / self.loudness.hann_W.sum()
        kernels = torch.cat((angle_FW.cos() * window_W, angle_FW.sin() * window_W))
        self.register_buffer("fourier_2F1W", kernels[:, None].float())
        self.octaves = [self.pitch.octave(number) for number in range(len(self.pitch.steps))]
        for number, (kernels, _) in enumerate(self.octaves):
            self.register_buffer(f"octave_{number}", kernels[:, None].float())

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        sound_BN, past_BN = tensors
        heard_BN = torch.cat((past_BN, finite(sound_BN).clamp(-LOUDEST, LOUDEST)), dim=-1)
        magnitude_BTJF = self._amplitudes(heard_BN, self.fourier_2F1W, self.loudness.step_samples).sqrt()
        octaves = [
            self._amplitudes(heard_BN, getattr(self, f"octave_{number}"), step).mean(dim=2).sqrt()
            for number, (_, step) in enumerate(self.octaves)
        ]
        level_BT1, brightness_BT1 = self.loudness.level(magnitude_BTJF), self.brightness.level(magnitude_BTJF)
        pitch_BTK = self.pitch.notes(torch.cat(octaves, dim=-1))
        curves_BTP = packed(level_BT1, brightness_BT1, pitch_BTK, self.kept)
        return curves_BTP, heard_BN[:, sound_BN.shape[1] :]

    def _amplitudes(self, heard_BN: Tensor, kernels_2K1W: Tensor, step: int) -> Tensor:
        """Squares (BTJK) of the amplitudes in windows that end every `step` samples of the new sound."""
        begin = self.past_samples + step - kernels_2K1W.shape[-1]
        found_B2KJ = F.conv1d(heard_BN[:, None, begin:], kernels_2K1W, stride=step)
        real_BKJ, imaginary_BKJ = found_B2KJ.chunk(2, dim=1)
        energy_BKJ = real_BKJ.square() + imaginary_BKJ.square()
        return energy_BKJ.transpose(1, 2).unflatten(1, (self.frames, -1))
