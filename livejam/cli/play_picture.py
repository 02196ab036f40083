"""The picture of `livejam play`: what sounded, where the beats are, and how long every step took.

Shapes: A audio channels, N audio samples, P points of a curve.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from livejam.audio_files import Audio, Recording
from livejam.errors import UserError
from livejam.files import atomic_path

SECONDS = 20.0
"""The picture shows the sound of this time, and all steps."""

POINTS = 2000
ROOM = 1.3
"""Height of a panel of sound, in loudest samples; the rest is for the marks of beats."""

MIX, PLAYED, STAGES, BUDGET = (
    "#5b6770",
    "#0072b2",
    {"encode": "#009e73", "generate": "#e69f00", "decode": "#56b4e9"},
    "#d55e00",
)
"""Okabe and Ito's colours, which colour-blind people can tell apart."""


@dataclass(frozen=True)
class Sound:
    """The beginning of a recording.

    Args:
        title: its name in the picture.
        audio_AN: the samples.
        sample_rate_hz: their rate.
        beats: times of its beats in seconds; None where nobody looked for them.
    """

    title: str
    audio_AN: Audio
    sample_rate_hz: int
    beats: npt.NDArray[np.float64] | None


def beginnings(recordings: Mapping[str, Recording], with_beats: bool) -> tuple[list[Sound], str]:
    """The beginnings of recordings with their beats, and why there are none, in words.

    Beats need the extra `metrics`.
    """
    sounds = {title: recording.beginning(SECONDS) for title, recording in recordings.items()}
    beats, reason = _beats(sounds, recordings) if with_beats else ({}, "")
    return [
        Sound(title, audio_AN, recordings[title].sample_rate_hz, beats.get(title)) for title, audio_AN in sounds.items()
    ], reason


def _beats(
    sounds: Mapping[str, Audio], recordings: Mapping[str, Recording]
) -> tuple[dict[str, npt.NDArray[np.float64]], str]:
    from metrics.beats import MadmomRNN

    try:
        tracker = MadmomRNN()
    except UserError as error:
        return {}, str(error)
    return {
        title: tracker([audio_AN.mean(axis=0)], recordings[title].sample_rate_hz)[0]
        for title, audio_AN in sounds.items()
    }, ""


def draw(
    sounds: list[Sound], times_ms: Mapping[str, npt.NDArray[np.float64]], block_ms: float, budget_ms: float, path: Path
) -> None:
    """Write the PNG.

    Args:
        sounds: the mix, and what was played to it.
        times_ms: the time of every step by stage.
        block_ms: time between two steps.
        budget_ms: the time that there is for a step; 0 or less is not drawn.
        path: the picture.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7.5), dpi=110, layout="constrained")
    first, second, third = figure.subplots(3, 1, height_ratios=(2, 2, 3))
    seconds = max(sound.audio_AN.shape[1] / sound.sample_rate_hz for sound in sounds)
    loudest = max(float(np.abs(sound.audio_AN).max()) for sound in sounds) or 1.0
    for axes, sound, colour in zip((first, second), sounds, (MIX, PLAYED), strict=True):
        _draw_sound(axes, sound, colour)
        axes.set(xlim=(0, seconds), ylim=(-ROOM * loudest, ROOM * loudest))
    first.tick_params(labelbottom=False)
    _draw_beats(first, second, sounds, loudest)
    second.set_xlabel("seconds")
    _draw_steps(third, times_ms, block_ms, budget_ms)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw_sound(axes: Any, sound: Sound, colour: str) -> None:
    low_P, high_P = envelope(sound.audio_AN.mean(axis=0))
    seconds_P = np.linspace(0, sound.audio_AN.shape[1] / sound.sample_rate_hz, len(low_P))
    axes.fill_between(seconds_P, low_P, high_P, color=colour, linewidth=0.6)
    beats = "" if sound.beats is None else f", {len(sound.beats)} beats"
    axes.set_title(f"{sound.title}{beats}", loc="left")


def _draw_beats(first: Any, second: Any, sounds: list[Sound], loudest: float) -> None:
    """The mix's beats are lines through both panels and point down, the accompaniment's point up from below."""
    marks = (("beats of the mix", MIX, 1.0, "v"), ("beats of the accompaniment", PLAYED, -1.0, "^"))
    for sound, (label, colour, height, mark) in zip(sounds, marks, strict=True):
        if sound.beats is None or not len(sound.beats):
            continue
        heights = np.full(len(sound.beats), height * (ROOM + 1) / 2 * loudest)
        second.plot(sound.beats, heights, mark, color=colour, markeredgecolor="white", markersize=8, label=label)
        if sound is sounds[0]:
            for axes in (first, second):
                axes.vlines(sound.beats, -ROOM * loudest, ROOM * loudest, color=colour, alpha=0.3, linewidth=0.8)
    if second.get_legend_handles_labels()[0]:
        second.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, frameon=False)


def _draw_steps(axes: Any, times_ms: Mapping[str, npt.NDArray[np.float64]], block_ms: float, budget_ms: float) -> None:
    """One point per step and stage on a logarithmic scale, and the time that there is as a line."""
    seconds = (1 + np.arange(len(times_ms["total"]))) * block_ms / 1000
    for stage, colour in STAGES.items():
        axes.plot(seconds, times_ms[stage], ".", color=colour, label=stage)
    axes.plot(seconds, times_ms["total"], "-", color="black", label="whole step")
    if budget_ms > 0:
        axes.axhline(budget_ms, color=BUDGET, linestyle="--", label=f"budget, {budget_ms:.0f} ms")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    if len(seconds):
        axes.set_xlim(0, seconds[-1])
    axes.set_title("time of every step", loc="left")
    axes.set(xlabel="seconds", ylabel="ms")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=5, frameon=False)


def envelope(audio_N: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Lowest and highest sample of up to 2000 equal pieces."""
    edges = np.linspace(0, len(audio_N), min(POINTS, len(audio_N)) + 1).astype(int)[:-1]
    return np.minimum.reduceat(audio_N, edges), np.maximum.reduceat(audio_N, edges)
