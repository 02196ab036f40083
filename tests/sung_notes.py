"""Sounds like a voice's: harmonics under formants, with vibrato, glides and breath."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

NOTES = (57, 60, 64, 62, 67, 55)
"""Of MIDI; what `sung` sings."""

NOTE_SECONDS, GLIDE_SECONDS = 0.6, 0.06

FORMANTS = ((600.0, 90.0, 1.0), (1100.0, 110.0, 0.5), (2500.0, 160.0, 0.15))
"""Hz, width in Hz and gain, of an open vowel."""


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
    note_N = note_N + vibrato_cents / 100 * torch.sin(2 * math.pi * 5.5 * time_N)
    hz_N = 440 * 2 ** ((note_N - 69) / 12)
    phase_N = (2 * math.pi * hz_N / sample_rate_hz).cumsum(0)
    out_N = torch.zeros_like(time_N)
    for harmonic in range(1, 40):
        overtone_N = harmonic * hz_N
        gain_N = sum(gain / (1 + ((overtone_N - hz) / width) ** 2) for hz, width, gain in FORMANTS)
        audible_N = overtone_N < min(0.45 * sample_rate_hz, 7000)
        out_N = out_N + torch.where(audible_N, (gain_N + 0.02) / harmonic**0.5, 0.0) * torch.sin(harmonic * phase_N)
    rng = torch.Generator().manual_seed(seed)
    return 0.3 * out_N / out_N.abs().max() + breath * torch.randn(count, generator=rng, dtype=torch.float64)
