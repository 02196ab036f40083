"""Embeddings with weights from a file, and the preparation of audio for all of them.

Shapes: N audio samples, A audio channels, W windows, D embedding width.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import soxr
import torch
from torch import Tensor

from livejam.embedding import Embedding


class PretrainedEmbedding(Embedding):
    """An embedding by a network with weights from a file."""

    sample_rate_hz: int
    """The network's own rate."""

    _identity: str

    @property
    def identity(self) -> str:
        """Name, hash of the weights, preparation of the audio."""
        return self._identity

    @torch.no_grad()
    def __call__(self, audio_N: Tensor, sample_rate_hz: int) -> Tensor:
        """Embeddings_WD, on the CPU; see `embedded` for how many.

        Args:
            audio_N: mono audio at any rate, or audio_AN.
            sample_rate_hz: its sample rate.

        Raises:
            ValueError: samples that are not finite.
        """
        return self.embedded(mono_at(audio_N, sample_rate_hz, self.sample_rate_hz))

    @abstractmethod
    def embedded(self, audio_N: Tensor) -> Tensor:
        """Embeddings_WD of mono audio at the network's rate."""


def mono_at(audio_N: Tensor, sample_rate_hz: int, target_hz: int) -> Tensor:
    """A recording in the form that networks need: mono float32 on the CPU, at their own rate.

    Args:
        audio_N: samples; or audio_AN, whose channels are averaged.
        sample_rate_hz: its rate.
        target_hz: the target rate; other rates are resampled by soxr.

    Raises:
        ValueError: samples that are not finite.
    """
    audio_N = audio_N.detach().float().cpu()
    audio_N = audio_N.mean(0) if audio_N.ndim > 1 else audio_N
    if not audio_N.isfinite().all():
        raise ValueError("audio that is not finite cannot be embedded")
    if sample_rate_hz == target_hz or not len(audio_N):
        return audio_N
    return torch.from_numpy(np.asarray(soxr.resample(audio_N.numpy(), sample_rate_hz, target_hz)))


def chunks_of(audio_N: Tensor, length: int, hop: int) -> Tensor:
    """Chunks_WN that begin at every multiple of the hop and lie wholly within the recording.

    A recording that is shorter than a chunk is one chunk that ends in silence. Elsewhere padding would make most
    chunks of a short recording end in silence, by its length, and the distance of recordings of unlike length, such as
    ten seconds and twenty, one of padding.

    Args:
        audio_N: mono audio, possibly empty, which has no chunks.
        length: samples of a chunk.
        hop: samples between the beginnings of two chunks.
    """
    if not len(audio_N):
        return audio_N.new_zeros(0, length)
    return torch.nn.functional.pad(audio_N, (0, max(0, length - len(audio_N)))).unfold(0, length, hop)


def in_16_bits(audio_N: Tensor) -> Tensor:
    """Samples rounded as in 16-bit files, for networks that learnt from these: clipped to [-1, 1], in steps of 1/32767.

    laion_clap trains on such samples, and it and fadtk embed them so.

    Args:
        audio_N: float32 samples.
    """
    return (audio_N.clamp(-1, 1) * 32767).trunc() / 32767
