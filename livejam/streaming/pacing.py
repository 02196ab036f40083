"""A recording, played to an engine by the clock.

Shapes: A audio channels, N audio samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from livejam.streaming.clocks import Clock
from livejam.streaming.engine import RealTimeEngine
from livejam.streaming.rings import Audio
from livejam.streaming.statistics import Statistics


def play_through(
    engine: RealTimeEngine[Any], audio_AN: Audio, chunk_samples: int, clock: Clock
) -> tuple[Audio, Statistics]:
    """Let an engine hear a recording as fast as it sounds, chunk by chunk, as a sound card would.

    Args:
        engine: not started; with `latency_samples` 0 its output is aligned with the recording, sample by sample.
        audio_AN: the recording at the session's rate, float32 in [-1, 1]; one row stands for all channels.
        chunk_samples: samples per call.
        clock: the engine's clock.

    Returns:
        output_AN, as long as the recording, and what happened.
    """
    samples = audio_AN.shape[1]
    output_AN = np.zeros((engine.channels, samples), dtype=np.float32)

    def tick(i: int) -> None:
        chunk = slice(i * chunk_samples, min((i + 1) * chunk_samples, samples))
        output_AN[:, chunk] = engine.callback(audio_AN[:, chunk])

    clock.pace(engine, tick, chunk_samples / engine.sample_rate_hz, -(-samples // chunk_samples))
    return output_AN, engine.statistics()
