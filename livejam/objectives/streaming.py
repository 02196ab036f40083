"""Streaming distillation without data: a student's block should be its teacher's, which follows the same past.

After Real-Time Interactive Music Generation via Data-Free Streaming Consistency Distillation (arXiv 2606.24307), which
joins a latent, a spectral and a temporal-difference loss. Their form here is ours.

Shapes: B batch, T latent frames of a block, C latent channels, A audio channels, N audio samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from livejam.objectives.spectral import multi_resolution_stft


def latent_error(student_BTC: Tensor, teacher_BTC: Tensor) -> Tensor:
    """Mean squared error of the latents, per sample."""
    return (student_BTC - teacher_BTC).square().mean((1, 2))


def temporal_difference_error(student_BTC: Tensor, teacher_BTC: Tensor) -> Tensor:
    """Mean squared error of the step from each frame to the next, per sample.

    Both blocks follow the same frame, so their first step is off by the whole error of their first frame.
    """
    error_BTC = student_BTC - teacher_BTC
    return error_BTC.diff(dim=1, prepend=torch.zeros_like(error_BTC[:, :1])).square().mean((1, 2))


def spectral_error(student_BAN: Tensor, teacher_BAN: Tensor, windows_samples: tuple[int, ...], floor: float) -> Tensor:
    """`multi_resolution_stft` of decoded blocks, mean over the channels, per sample.

    Args:
        student_BAN: of the student.
        teacher_BAN: of the teacher.
        windows_samples: window lengths, none longer than the audio.
        floor: magnitude added before the logarithm for a window of 1024.
    """
    estimate, target = student_BAN.flatten(0, 1), teacher_BAN.flatten(0, 1)
    return multi_resolution_stft(estimate, target, windows_samples, floor).view(student_BAN.shape[:2]).mean(1)


@dataclass(frozen=True)
class StreamingObjective:
    """How near a student's block must come to its teacher's.

    Args:
        latent_weight: of `latent_error`.
        temporal_weight: of `temporal_difference_error`, which hears onsets and rhythm.
        spectral_weight: of `spectral_error`, which hears timbre; it decodes a block, which takes longer than making it.
        windows_samples: window lengths of the spectra.
        floor: magnitude added before the logarithm of the spectra for a window of 1024.
    """

    latent_weight: float = 1.0
    temporal_weight: float = 0.5
    spectral_weight: float = 0.1
    windows_samples: tuple[int, ...] = (512, 2048)
    floor: float = 1e-3

    def latent_losses(self, student_BTC: Tensor, teacher_BTC: Tensor) -> dict[str, Tensor]:
        """The losses of the latents by name, unweighted, mean over the batch."""
        return {
            "latent": latent_error(student_BTC, teacher_BTC).mean(),
            "temporal": temporal_difference_error(student_BTC, teacher_BTC).mean(),
        }

    def spectral_loss(self, student_BAN: Tensor, teacher_BAN: Tensor) -> Tensor:
        """The loss of the sound, unweighted, mean over the batch."""
        return spectral_error(student_BAN, teacher_BAN, self.windows_samples, self.floor).mean()

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """Σ of losses by name, weighted."""
        weights = {"latent": self.latent_weight, "temporal": self.temporal_weight, "spectral": self.spectral_weight}
        return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
