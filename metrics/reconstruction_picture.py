"""Original and reconstruction as mel spectrograms, one above the other. Shapes: N audio samples."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from livejam.files import atomic_path
from metrics.mel import mel_spectrogram

BANDS, HOP_SECONDS, RANGE_DB = 96, 0.01, 70.0


def draw_pair(original_N: Tensor, made_N: Tensor, sample_rate_hz: int, path: Path) -> None:
    """Write a PNG; both panels share one scale of levels, so that a wrong one is seen.

    Args:
        original_N: mono.
        made_N: mono, aligned with it.
        sample_rate_hz: rate of both.
        path: the picture.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6), dpi=90, layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    levels = [
        20 * (mel_spectrogram(audio_N, sample_rate_hz, BANDS, HOP_SECONDS).T + 1e-5).log10()
        for audio_N in (original_N, made_N)
    ]
    loudest = max(float(level.max()) for level in levels)
    for axes, title, level in zip(panels, ("original", "reconstruction"), levels, strict=True):
        axes.imshow(
            level.numpy(),
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=loudest - RANGE_DB,
            vmax=loudest,
            extent=(0, len(original_N) / sample_rate_hz, 0, BANDS),
        )
        axes.set_title(title, loc="left")
        axes.set_ylabel("mel band")
    panels[1].set_xlabel("seconds")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
