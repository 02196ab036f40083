"""How busy a stem is: the number of its onsets.

Shapes: N audio samples, T frames.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metrics.phase_lock import FRAME_SECONDS, WEAKEST, onset_strength

Floats = NDArray[np.floating[Any]]

NEIGHBOURHOOD_FRAMES = 5
"""An onset is the strongest frame within 50 ms to either side."""

WEAKEST_SHARE = 0.1
"""Share of the strongest onset below which an onset is taken for an echo."""


def onset_seconds(audio_N: Floats, sample_rate_hz: int) -> Floats:
    """The times of onsets in ascending seconds; empty for silence.

    Args:
        audio_N: mono audio at 16 kHz or more.
        sample_rate_hz: its sample rate.
    """
    strength_T = onset_strength(torch.from_numpy(np.ascontiguousarray(audio_N)), sample_rate_hz)
    width = 2 * NEIGHBOURHOOD_FRAMES + 1
    strength_T[-NEIGHBOURHOOD_FRAMES:] = 0  # where a recording is cut off, nothing begins
    peaks_T = torch.nn.functional.max_pool1d(strength_T[None], width, stride=1, padding=NEIGHBOURHOOD_FRAMES)[0]
    lowest = max(WEAKEST, WEAKEST_SHARE * float(strength_T.max()))
    at = torch.nonzero((strength_T == peaks_T) & (strength_T >= lowest))[:, 0].numpy()
    # Equally strong neighbours are one onset.
    first = np.diff(at, prepend=-width) > NEIGHBOURHOOD_FRAMES
    return np.asarray(at[first] * FRAME_SECONDS)
