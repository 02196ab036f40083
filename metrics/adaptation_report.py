"""What happens to a model when the music changes, as a table and as a picture.

Shapes: S songs, B beats in `metrics.adaptation.BEATS_B`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from metrics.adaptation import BEATS_B, LEVEL, LOWEST_DB
from metrics.recovery import PARTS, Answers, Recovery, Rest, answers, mean_of, recovery

Floats = NDArray[np.floating[Any]]
Events = Mapping[str, Mapping[str, Mapping[str, Floats]]]
"""Event → row → column → curves_SB."""

HEADINGS = {
    "beat_f1_drums": "beat F1, drums",
    "phase_lock_drums": "phase lock, drums",
    "chord_tone_share_pitched": "chord tones",
    "phase_lock_pitched": "phase lock, pitched",
}
BEATS = "beats since the event; if the band rests, since it came back, but levels since it stopped"
REST_HEADINGS = ("row", "part", "falls silent after", "sounds again after", "falls silent in")
COLOURS = {"model": "#0072b2", "perfect": "#009e73", "late": "#e69f00", "ignores": "#d55e00"}
"""Okabe and Ito's; the model is drawn last."""


def table(events: Events) -> str:
    """Markdown: before → after, and in brackets after how many beats the number is back; then what players do in rests.

    Args:
        events: what was measured.
    """
    lines = [f"| event | row | {' | '.join(HEADINGS.values())} |", "|---" * (len(HEADINGS) + 2) + "|"]
    rests = []
    for event, rows in events.items():
        for row, found in rows.items():
            said = answers(found)
            cells = [_cell(said.get(name)) for name in HEADINGS]
            lines.append(f"| {event.replace('_', ' ')} | {row} | {' | '.join(cells)} |")
            rests += [f"| {row} | {part} | {_rest(own)} |" for part, own in _rests(said)]
    if rests:
        lines += [
            "",
            "| row | part | falls silent after | sounds again after | falls silent in |",
            "|---" * 5 + "|",
            *rests,
        ]
    return "\n".join(lines)


def _cell(answer: Recovery | Rest | None) -> str:
    if not isinstance(answer, Recovery):
        return "–"
    back = "never" if answer.beats is None else answer.beats
    return f"{answer.before:.2f} → {answer.after:.2f} ({back})"


def _rests(said: Answers) -> list[tuple[str, Rest]]:
    found = ((part, said.get(f"rest_{part}")) for part in PARTS)
    return [(part, rest) for part, rest in found if isinstance(rest, Rest)]


def _rest(rest: Rest) -> str:
    silent, sounds = _beats(rest.silent_after), _beats(rest.sounds_after)
    return f"{silent} | {sounds} | {rest.silent_songs} of {rest.songs} songs"


def _beats(number: float | None) -> str:
    return "–" if number is None else f"{number:g} beat{'' if number == 1 else 's'}"


def plain(events: Events) -> dict[str, Any]:
    """Event → row → column → the answer, ready for JSON: rounded, and null where undefined."""
    return {
        event: {row: {name: _plain(asdict(own)) for name, own in answers(found).items()} for row, found in rows.items()}
        for event, rows in events.items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(own) for name, own in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(own) for own in value]
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    return value


def picture(events: Events, title: str) -> Figure:
    """A line of panels per event and a panel per number, aligned to the event; one more line for levels in rests.

    Dashes show the range in which the model's number would lie if nothing had happened, a dot where it is back.

    Args:
        events: what was measured.
        title: says who plays.
    """
    levels = [event for event, rows in events.items() if _rests(answers(next(iter(rows.values()))))]
    lines = [*((event, False) for event in events), *((event, True) for event in levels)]
    figure = Figure(figsize=(3.0 * len(HEADINGS), 1.45 * len(lines) + 0.8), layout="constrained")
    panels = figure.subplots(len(lines), len(HEADINGS), squeeze=False, sharex=True)
    for (event, rests), own in zip(lines, panels, strict=True):
        for panel, name in zip(own, _columns(rests), strict=True):
            _panel(panel, name, events[event])
        own[0].set_ylabel(f"{event.replace('_', ' ')}{': level' if rests else ''}", fontsize=9)
    for panel, heading in zip(panels[0], HEADINGS.values(), strict=True):
        panel.set_title(heading, fontsize=10)
    handles = {
        label: line for panel in panels.flat for line, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles, loc="outside upper right", ncols=len(handles), frameon=False, fontsize=9)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    figure.supxlabel(
        "beats since the event; after a rest, beats since the band came back, but levels since it stopped", fontsize=9
    )
    return figure


def _columns(rests: bool) -> list[str | None]:
    return [f"{LEVEL}_drums", None, f"{LEVEL}_pitched", None] if rests else [*HEADINGS]


def _panel(panel: Axes, name: str | None, rows: Mapping[str, Mapping[str, Floats]]) -> None:
    if not any(name in found for found in rows.values()):
        panel.spines[:].set_visible(False)
        panel.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
        return
    assert name is not None
    panel.axvline(0, color="black", linewidth=0.7)
    for row in reversed(COLOURS):
        if name in rows.get(row, {}):
            mean_B = mean_of(rows[row][name])
            panel.plot(BEATS_B, mean_B, color=COLOURS[row], label=row, linewidth=1.8 if row == "model" else 1.2)
    if name.startswith(LEVEL):
        panel.set_ylim(LOWEST_DB - 3, 12)
        panel.annotate("dB", (0.02, 0.04), xycoords="axes fraction", fontsize=7)
    else:
        panel.set_ylim(-0.02, 1.02)
        _mark_recovery(panel, rows.get("model", {}).get(name))
    panel.tick_params(labelsize=7)
    panel.grid(alpha=0.25)


def _mark_recovery(panel: Axes, curves_SB: Floats | None) -> None:
    """The model's usual range before the event, and where it is back."""
    if curves_SB is None:
        return
    answer = recovery(curves_SB)
    for edge in answer.interval:
        panel.axhline(edge, color=COLOURS["model"], linewidth=0.8, linestyle="--", alpha=0.7)
    if answer.beats is not None:
        height = mean_of(curves_SB)[BEATS_B.tolist().index(answer.beats)]
        panel.plot([answer.beats], [height], "o", color=COLOURS["model"], markersize=5)
