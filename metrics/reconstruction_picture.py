"""Originals and reconstructions as spectrograms, one above the other. Shapes: N audio samples, T frames, K bins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from livejam.files import atomic_path
from livejam.objectives.spectral import complex_spectrum
from metrics.mel import mel_spectrogram

BANDS, HOP_SECONDS, RANGE_DB = 96, 0.01, 70.0
FINE_WINDOW, FINE_HOP = 4096, 256


def draw_pair(original_N: Tensor, made_N: Tensor, sample_rate_hz: int, path: Path) -> None:
    """Write a PNG of two mel spectrograms.

    Args:
        original_N: mono.
        made_N: mono, aligned with it.
        sample_rate_hz: rate of both.
        path: the picture.
    """
    levels = {
        title: mel_spectrogram(audio_N, sample_rate_hz, BANDS, HOP_SECONDS)
        for title, audio_N in (("original", original_N), ("reconstruction", made_N))
    }
    _draw(levels, len(original_N) / sample_rate_hz, (BANDS, "mel band"), path)


def draw_fine(sounds: Mapping[str, Tensor], sample_rate_hz: int, highest_hz: float, path: Path) -> None:
    """Write a PNG of spectrograms that are fine enough to see the gaps between partials.

    Args:
        sounds: mono audio by title, all of one length.
        sample_rate_hz: rate of all.
        highest_hz: upper end of the pictures in Hz.
        path: the picture.
    """
    bins = round(highest_hz / sample_rate_hz * FINE_WINDOW)
    levels = {
        title: complex_spectrum(audio_N[None], FINE_WINDOW, FINE_HOP)[0, :, :bins].abs()
        for title, audio_N in sounds.items()
    }
    seconds = len(next(iter(sounds.values()))) / sample_rate_hz
    _draw(levels, seconds, (highest_hz / 1000, "kHz"), path)


def _draw(levels_TK: Mapping[str, Tensor], seconds: float, height: tuple[float, str], path: Path) -> None:
    """Magnitudes in dB; all panels share one scale of levels, so that a wrong one is seen."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3 * len(levels_TK)), dpi=90, layout="constrained")
    panels = figure.subplots(len(levels_TK), 1, sharex=True)
    images = {title: 20 * (level_TK.T + 1e-5).log10() for title, level_TK in levels_TK.items()}
    loudest = max(float(image.max()) for image in images.values())
    for axes, (title, image) in zip(panels, images.items(), strict=True):
        axes.imshow(
            image.numpy(),
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=loudest - RANGE_DB,
            vmax=loudest,
            extent=(0, seconds, 0, height[0]),
        )
        axes.set_title(title, loc="left")
        axes.set_ylabel(height[1])
    panels[-1].set_xlabel("seconds")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
