"""The picture of `livejam perform`: what sounded, when answers came, and how much the buffer held back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from livejam.audio_files import Audio
from livejam.cli.perform_report import latencies_ms
from livejam.cli.play_picture import BUDGET, MIX, PLAYED, envelope
from livejam.files import atomic_path
from livejam.serving.performing import Performance, Terms
from livejam.serving.scores import Event

ARRIVALS, BUFFER = "#009e73", "#e69f00"


def draw(mix_N: Audio, done: Performance, terms: Terms, events: Sequence[Event], path: Path) -> None:
    """Write the PNG.

    Args:
        mix_N: what was played.
        done: what came back.
        terms: of the server.
        events: marked in all panels.
        path: the picture.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7.5), dpi=110, layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(2, 2, 3))
    seconds = len(mix_N) / terms.sample_rate_hz
    for axes, title, audio_N, colour in (
        (panels[0], "what was played", mix_N, MIX),
        (panels[1], f"what sounded: {', '.join(terms.instruments)}", done.answer_N, PLAYED),
    ):
        low_P, high_P = envelope(audio_N)
        axes.fill_between(np.linspace(0, seconds, len(low_P)), low_P, high_P, color=colour, linewidth=0.6)
        axes.set_title(title, loc="left")
    _draw_arrivals(panels[2], done, terms)
    for axes in panels:
        for event in events:
            axes.axvline(event.seconds, color="black", linestyle=":", linewidth=1)
    panels[2].set(xlim=(0, seconds), xlabel="seconds", ylabel="ms")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw_arrivals(axes: Any, done: Performance, terms: Terms) -> None:
    """The slack of every part of an answer, the buffer that follows from it, and where sound was missing."""
    ms = 1000 / terms.sample_rate_hz
    if done.log.arrivals:
        arrived, position = np.array(done.log.arrivals).T
        axes.plot(arrived * ms / 1000, (position - arrived) * ms, ".", color=ARRIVALS, markersize=3, label="slack")
    at, delay, _ = np.array(done.log.delays).T
    axes.plot(at * ms / 1000, -delay * ms, color=BUFFER, label="buffer: what is later is missing")
    places = [place * ms / 1000 for place, _ in done.log.gaps]
    across = axes.get_xaxis_transform()
    axes.vlines(places, 0.93, 1, BUDGET, linewidth=0.8, transform=across, label="sound was missing")
    axes.set_title(f"time between an answer's arrival and its turn{_longest(done, terms)}", loc="left")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="lower left", ncols=3, markerscale=4)


def _longest(done: Performance, terms: Terms) -> str:
    ms = latencies_ms(done.log, terms)
    return f"; the longest round trip took {ms.max():.0f} ms" if len(ms) else ""
