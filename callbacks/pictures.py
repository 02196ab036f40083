"""A picture per example: the mix, the target, the accompaniment, and the beats.

Shapes: T spectrogram frames, F mel bands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from metrics.evaluation.clips import Audio, Clip
from metrics.mel import mel_spectrogram

BANDS = 96
HOP_SECONDS = 0.02
LOWEST_HZ, HIGHEST_HZ = 30.0, 8000.0
RANGE_DB = 70.0
INK, PAPER, TRUE_BEAT, TRACKED_BEAT = "#e8e6f0", "#15131f", "#ffffff", "#4fe3c1"


def _levels_db(audio_N: Audio, sample_rate_hz: int) -> NDArray[np.float32]:
    """Mel bands over time in dB of full scale, levels_FT."""
    magnitudes_TF = mel_spectrogram(torch.from_numpy(audio_N.copy()), sample_rate_hz, BANDS, HOP_SECONDS, 0.08)
    return (20 * (magnitudes_TF + 1e-5).log10()).numpy().T


def _band_of(frequency_hz: float) -> float:
    """Where a frequency lies on the vertical axis."""
    low, mel, high = (2595 * np.log10(1 + f / 700) for f in (LOWEST_HZ, frequency_hz, HIGHEST_HZ))
    return float(BANDS * (mel - low) / (high - low))


def _draw(axes: Axes, title: str, audio_N: Audio, sample_rate_hz: int, loudest_db: float) -> None:
    axes.imshow(
        _levels_db(audio_N, sample_rate_hz),
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=loudest_db - RANGE_DB,
        vmax=loudest_db,
        extent=(0, len(audio_N) / sample_rate_hz, 0, BANDS),
        interpolation="nearest",
    )
    axes.set_title(title, loc="left", fontsize=10, color=INK, pad=4)
    axes.set_yticks([_band_of(f) for f in (100, 500, 1000, 2000, 4000)], ["100", "500", "1k", "2k", "4k"])
    axes.set_ylabel("Hz", color=INK, fontsize=8)
    axes.tick_params(colors=INK, labelsize=8, length=2)
    axes.spines[:].set_visible(False)
    axes.set_facecolor(PAPER)


def example_figure(clip: Clip, tracked_beats: Sequence[float] | None = None) -> Figure:
    """Mel spectrograms of mix, target and accompaniment, one above the other.

    Thin lines are the true beats, thicker ones the downbeats; marks under the accompaniment are the beats that a
    tracker found in it.

    Args:
        clip: the example.
        tracked_beats: beats tracked in the accompaniment, in seconds; None = not tracked.
    """
    seconds = len(clip.mix_N) / clip.sample_rate_hz
    figure = Figure(figsize=(13, 7.2), dpi=90, facecolor=PAPER, layout="constrained")
    panels = figure.subplots(3, 1, sharex=True)
    rows = (
        ("mix: what the model hears", clip.mix_N),
        (f"target: {clip.instrument.lower()} as it was", clip.target_N),
        (f"accompaniment: {clip.instrument.lower()} as the model played it", clip.generated_N),
    )
    stems_db = max(
        float(_levels_db(audio_N, clip.sample_rate_hz).max()) for audio_N in (clip.target_N, clip.generated_N)
    )
    mix_db = float(_levels_db(clip.mix_N, clip.sample_rate_hz).max())
    for axes, (title, audio_N) in zip(panels, rows, strict=True):
        # Target and accompaniment share a scale, so that a wrong level is visible.
        loudest_db = mix_db if audio_N is clip.mix_N else stems_db
        _draw(axes, title, audio_N, clip.sample_rate_hz, max(loudest_db, -60.0))
        if clip.annotations is not None:
            axes.vlines(clip.annotations.beats_seconds, 0, BANDS, color=TRUE_BEAT, alpha=0.28, linewidth=0.7)
            axes.vlines(clip.annotations.downbeats_seconds, 0, BANDS, color=TRUE_BEAT, alpha=0.55, linewidth=1.3)
        axes.set_xlim(0, seconds)
        axes.set_ylim(0, BANDS)
    if tracked_beats is not None:
        heights = np.full(len(tracked_beats), 0.04 * BANDS)
        panels[2].plot(tracked_beats, heights, "^", color=TRACKED_BEAT, markersize=6, markeredgecolor=PAPER)
    panels[2].set_xlabel(_legend(clip, tracked_beats), color=INK, fontsize=9)
    figure.suptitle(f"{clip.song}, from {clip.start_seconds:.1f} s", color=INK, fontsize=12, x=0.01, ha="left")
    return figure


def _legend(clip: Clip, tracked_beats: Sequence[float] | None) -> str:
    parts = ["seconds"]
    if clip.annotations is not None:
        parts.append("lines: true beats and downbeats")
    if tracked_beats is not None:
        parts.append("triangles: beats tracked on the accompaniment alone")
    return "      ".join(parts)
