"""Sounds like a voice's: harmonics under formants, with vibrato, glides and breath."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from benchmarks.sung_sketch import voice

NOTES = (57, 60, 64, 62, 67, 55)
"""Of MIDI; what `sung` sings."""

NOTE_SECONDS, GLIDE_SECONDS = 0.6, 0.06


def sung(
    sample_rate_hz: int,
    notes: tuple[float, ...] = NOTES,
    vibrato_cents: float = 40.0,
    breath: float = 0.01,
    seed: int = 0,
) -> Tensor:
    """Audio_N (float64) of notes that glide into each other, loudest near 0.3.

    Args:
        sample_rate_hz: rate of the sound.
        notes: of MIDI, each for `NOTE_SECONDS`.
        vibrato_cents: amplitude of a vibrato at 5.5 Hz.
        breath: standard deviation of noise.
        seed: of the noise.
    """
    count = round(len(notes) * NOTE_SECONDS * sample_rate_hz)
    time_N = torch.arange(count, dtype=torch.float64) / sample_rate_hz
    note_N = torch.full_like(time_N, notes[0])
    for index, (last, following) in enumerate(pairwise(notes), 1):
        share_N = ((time_N - index * NOTE_SECONDS) / GLIDE_SECONDS).clamp(0, 1)
        note_N = note_N + (following - last) * share_N
    out_N = voice(note_N, sample_rate_hz, vibrato_cents)
    rng = torch.Generator().manual_seed(seed)
    return 0.3 * out_N + breath * torch.randn(count, generator=rng, dtype=torch.float64)
