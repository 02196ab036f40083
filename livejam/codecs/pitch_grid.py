"""The fixed grid of pitches that the low-band map resolves and that the oscillators sound.

Quarter tones where a fundamental of the bass lives, sixth tones above, from 29 Hz to 5.9 kHz (A4 = 440 Hz).
Shapes: K oscillators, L the lowest of them, which the features resolve.
"""

from __future__ import annotations

import torch
from torch import Tensor

LOWEST_MIDI, KNEE_MIDI = 22, 71
STEPS_BELOW_KNEE, STEPS_ABOVE_KNEE = 2, 3  # per semitone
OSCILLATORS = 228
LOW_PITCHES = 138


def grid_hz() -> Tensor:
    """Frequencies of the grid in Hz, float64, shape K."""
    knee = (KNEE_MIDI - LOWEST_MIDI) * STEPS_BELOW_KNEE
    below = LOWEST_MIDI + torch.arange(knee, dtype=torch.float64) / STEPS_BELOW_KNEE
    above = KNEE_MIDI + torch.arange(OSCILLATORS - knee, dtype=torch.float64) / STEPS_ABOVE_KNEE
    return 440.0 * torch.exp2((torch.cat([below, above]) - 69.0) / 12.0)


def grid_position(frequency_hz: Tensor) -> Tensor:
    """Where on the grid a frequency lies: 0.0 is its lowest pitch, 1.0 the next, between them in proportion."""
    midi = 69.0 + 12.0 * torch.log2(frequency_hz.clamp_min(1.0) / 440.0)
    below = (midi - LOWEST_MIDI) * STEPS_BELOW_KNEE
    above = (KNEE_MIDI - LOWEST_MIDI) * STEPS_BELOW_KNEE + (midi - KNEE_MIDI) * STEPS_ABOVE_KNEE
    return torch.where(midi < KNEE_MIDI, below, above)
