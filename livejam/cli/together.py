"""What was played, and mix and accompaniment in one file, equally loud whatever was played.

Shapes: A audio channels, N audio samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from livejam.audio_files import Audio, Recording, audio_writer

TARGET_LUFS = -18.0
CEILING = 10 ** (-1 / 20)
"""Highest sample: 1 dB below full scale, because the wave between samples may be higher."""

PIECE_SAMPLES = 1 << 18


@dataclass(frozen=True)
class Loudness:
    """How loud mix and accompaniment are together.

    Args:
        lufs: of what was written; None where it is silent or shorter than 0.4 s.
        gain_db: applied to both.
        held_by_peaks: whether peaks allow no more gain.
    """

    lufs: float | None
    gain_db: float
    held_by_peaks: bool


def write_alone(mix: Recording, played: Recording, out: Path, subtype: str) -> int:
    """Write what was played, as long as the mix, and count samples that were clipped.

    Raises:
        UserError: the disk is full.
    """
    clipped = 0
    with audio_writer(out, played.sample_rate_hz, played.channels, subtype) as write:
        for _, audio_AN in _beside(mix, played):
            clipped += int((np.abs(audio_AN) > 1).sum())
            write(audio_AN)
    return clipped


def write_together(mix: Recording, played: Recording, out: Path, subtype: str) -> Loudness:
    """Write the sum of two recordings of one rate, as long as the mix, at -18 LUFS, or less if peaks would be clipped.

    Raises:
        UserError: the disk is full.
    """
    from metrics.programme_loudness import LoudnessMeter

    meter, peak = LoudnessMeter(mix.sample_rate_hz), 0.0
    for mix_AN, played_AN in _beside(mix, played):
        both_AN = mix_AN + played_AN
        meter.update(both_AN)
        peak = max(peak, float(np.abs(both_AN).max()))
    lufs = meter.compute()
    wanted = 10 ** ((TARGET_LUFS - lufs) / 20) if math.isfinite(lufs) else 1.0
    gain = min(wanted, CEILING / peak if peak else 1.0)
    with audio_writer(out, mix.sample_rate_hz, mix.channels, subtype) as write:
        for mix_AN, played_AN in _beside(mix, played):
            write(gain * (mix_AN + played_AN))
    gain_db = 20 * math.log10(gain)
    return Loudness(lufs + gain_db if math.isfinite(lufs) else None, gain_db, gain < wanted)


def _beside(mix: Recording, played: Recording) -> Iterator[tuple[Audio, Audio]]:
    """Both in pieces; what was played is cut or goes on with silence where the mix is shorter or longer."""
    pieces = played.blocks(PIECE_SAMPLES)
    for mix_AN in mix.blocks(PIECE_SAMPLES):
        samples = mix_AN.shape[1]
        played_AN = next(pieces, mix_AN[:, :0])[:, :samples]
        yield mix_AN, np.pad(played_AN, ((0, 0), (0, samples - played_AN.shape[1])))
