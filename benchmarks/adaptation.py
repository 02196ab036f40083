"""How a model adapts when the music changes: `python -m benchmarks.adaptation --songs 8 --plot adaptation.png`.

For each of the composer's events (the key goes up, the tempo jumps or rises, the band stops, another song, rubato,
another metre, the drums drop out) songs with this event in the middle are rendered with held-out grooves, and a model
accompanies them, once as drummer and once as a pitched player. At every beat around the event the next four beats are
measured: beat F1 of drums (tracked beats against true ones), phase lock, chord tones, and whether the stem sounds. The
answer is how many beats pass until the mean over songs is back within the 95 % interval of before, and stays there.

Three anchors say what that means: a perfect player (the true stem), one that ignores the event (repeats the four bars
before it), and one that notices it a bar late. If the drums drop out, there is no drummer. Songs are kept in
`--folder`. The last line is one JSON object: event → row → column → before, interval, lowest, beats, songs; and for
`silence` after how many beats a row has fallen silent, and after how many beats of the band's return it sounds again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

import livejam
from benchmarks.error_accumulation import LongSong, performed
from datamodules.annotations import annotations_from_dict
from datamodules.audio import fit_length, read_audio
from datamodules.slakh_index import SlakhIndex
from datamodules.slakh_scan import Song
from datamodules.wide_songs.collection import EventName, WideSongs
from datamodules.wide_songs.render import render_wide_songs
from livejam.batch import CATEGORIES
from livejam.checkpoints.player import Player
from livejam.files import atomic_path
from metrics.adaptation import (
    BEATS_B,
    COLUMNS,
    STRETCH_BEATS,
    Floats,
    Happening,
    curves,
    ignoring,
    late,
    mean_of,
    recovery,
)
from metrics.beats import MadmomRNN
from metrics.evaluation.clips import Audio
from metrics.evaluation.harmony_measure import UNPITCHED

EVENTS: tuple[EventName, ...] = get_args(EventName)
ROWS = ("model", "perfect", "ignores", "late")
COLOURS = dict(zip(ROWS, ("#0072b2", "#009e73", "#d55e00", "#e69f00"), strict=True))
"""Okabe and Ito's."""

DRUMS = "Percussive"
SEED = 19
MARGIN_SECONDS = 4.0
SILENT_SHARE = 0.25
"""A stretch of beats counts as silent if less than this share of what sounded before the event sounds."""


@dataclass(frozen=True)
class Scene:
    """A song with an event, and a part in it.

    Args:
        heard: the mix and the true stem.
        happening: what is known of the event.
        end_beats: beats from its beginning to its end.
    """

    heard: LongSong
    happening: Happening
    end_beats: int


def scenes(root: Path, wanted: tuple[str, ...], rate_hz: int) -> list[Scene]:
    """One part of every song of a folder that has it, and anything besides.

    Args:
        root: rendered songs.
        wanted: categories; the first one that a song has is taken.
        rate_hz: rate of the model.
    """
    found = []
    for song in SlakhIndex.open(root).songs:
        names = [CATEGORIES[stem.category] for stem in song.stems]
        category = next((name for name in wanted if name in names), None)
        if category is not None and len(names) > 1:
            found.append(_scene(root, song, names.index(category), rate_hz))
    return found


def _scene(root: Path, song: Song, part: int, rate_hz: int) -> Scene:
    folder = root / song.folder
    told = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    truth, event = annotations_from_dict(told), told["events"][-1]
    audio = [read_audio(folder / stem.file, rate_hz, 1)[0] for stem in song.stems]
    length = max(map(len, audio))
    stems = [fit_length(audio_N[None], length)[0] for audio_N in audio]
    target_N = stems.pop(part)
    category = song.stems[part].category
    heard = LongSong(np.sum(stems, axis=0, dtype=np.float32), target_N, category, song.name, truth)
    pitched = CATEGORIES[category] != DRUMS
    happening = Happening(target_N, rate_hz, truth, event["start"], pitched)
    beats = np.searchsorted(truth.beats_seconds, [event["start"] - 1e-3, event["end"] - 1e-3])
    return Scene(heard, happening, int(beats[1] - beats[0]))


def stems_of(player: Player, found: list[Scene]) -> dict[str, list[Audio]]:
    """What every row plays; the model plays to all songs at once, filled up with silence."""
    longest = max(len(scene.heard.mix_N) for scene in found)
    songs = [replace(scene.heard, mix_N=fit_length(scene.heard.mix_N[None], longest)[0]) for scene in found]
    played = performed(player, player.accompanist, songs)
    return {
        "model": [stem_N[: len(scene.heard.mix_N)] for stem_N, scene in zip(played, found, strict=True)],
        "perfect": [scene.happening.target_N for scene in found],
        "ignores": [ignoring(scene.happening) for scene in found],
        "late": [late(scene.happening) for scene in found],
    }


def measured(found: list[Scene], stems: list[Audio], track: MadmomRNN) -> dict[str, Floats]:
    """Curves_SB of every column."""
    each = [curves(scene.happening, stem_N, _tracked(scene, stem_N, track))
            for scene, stem_N in zip(found, stems, strict=True)]  # fmt: skip
    return {name: np.array([own[name] for own in each]) for name in COLUMNS}


def _tracked(scene: Scene, stem_N: Audio, track: MadmomRNN) -> Floats:
    """Beats of a drummer's stem around the event, in seconds of the song."""
    if scene.happening.pitched:
        return np.zeros(0)
    rate, beats = scene.happening.sample_rate_hz, scene.happening.annotations.beats_seconds
    first, last = (scene.happening.event_beat + beat for beat in (BEATS_B[0], BEATS_B[-1] + STRETCH_BEATS))
    start = max(0.0, beats[max(0, first)] - MARGIN_SECONDS)
    stop = beats[min(last, len(beats) - 1)] + MARGIN_SECONDS
    heard_N = stem_N[round(start * rate) : round(stop * rate)]
    return np.asarray(track([heard_N], rate)[0]) + start


def silences(found: list[Scene], sounding_SB: Floats) -> dict[str, Any]:
    """After how many beats the mean row falls silent, and after how many of the band's return it sounds again."""
    sounding_B = mean_of(sounding_SB)
    usual = float(np.nanmean(sounding_B[BEATS_B <= -STRETCH_BEATS]))
    silent_B = sounding_B[BEATS_B >= 0] < SILENT_SHARE * usual
    falls = int(np.argmax(silent_B)) if silent_B.any() else None
    end = round(float(np.median([scene.end_beats for scene in found])))
    sounds = np.flatnonzero(~silent_B[end:])
    starts = None if falls is None or not len(sounds) else int(sounds[0])
    return {"silent_after": falls, "sounds_again_after": starts, "silence_beats": end}


def adaptation(player: Player, event: EventName, folder: Path, songs: int) -> tuple[Any, dict[str, dict[str, Floats]]]:
    """The answers of one event, and curves by row and column."""
    root = folder / f"{event}_{songs}"
    rules = WideSongs(effects=False, held_out_grooves=True, event=event)
    render_wide_songs(root, songs, SEED, rules, workers=1)
    rate, track = player.codec.spec.sample_rate_hz, MadmomRNN()
    pitched = tuple(name for name in player.instruments if name not in UNPITCHED)
    parts = [scenes(root, wanted, rate) for wanted in ([] if event == "drums_out" else [(DRUMS,)]) + [pitched]]
    all_curves: dict[str, dict[str, Floats]] = {row: {} for row in ROWS}
    answers: dict[str, Any] = {row: {} for row in ROWS}
    for found in filter(None, parts):
        for row, stems in stems_of(player, found).items():
            for name, curve_SB in measured(found, stems, track).items():
                column = name if name in ("beat_f1", "chord_tone_share") else f"{name}_{_kind(found)}"
                answer = recovery(curve_SB)
                if answer.songs:
                    all_curves[row][column] = curve_SB
                    answers[row][column] = _plain(asdict(answer))
                if name == "sounding" and event == "silence":
                    answers[row][f"silence_{_kind(found)}"] = silences(found, curve_SB)
    return answers, all_curves


def _kind(found: list[Scene]) -> str:
    return "pitched" if found[0].happening.pitched else "drums"


def _plain(value: Any) -> Any:
    """Rounded, and null for what JSON does not know."""
    if isinstance(value, dict):
        return {name: _plain(own) for name, own in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(own) for own in value]
    if isinstance(value, float):
        return round(value, 3) if np.isfinite(value) else None
    return value


def draw(found: dict[str, dict[str, dict[str, Floats]]], path: Path) -> None:
    """A line per event, a panel per column; the event is at beat 0."""
    columns = list(dict.fromkeys(name for rows in found.values() for own in rows.values() for name in own))
    figure = Figure(figsize=(3.1 * len(columns), 1.9 * len(found)), layout="constrained")
    axes = figure.subplots(len(found), len(columns), squeeze=False, sharex=True, sharey=True)
    for (event, rows), line in zip(found.items(), axes, strict=True):
        for column, panel in zip(columns, line, strict=True):
            for row in reversed(ROWS):
                if column in rows[row]:
                    panel.plot(BEATS_B, mean_of(rows[row][column]), color=COLOURS[row], label=row, linewidth=1.4)
            panel.axvline(0, color="black", linewidth=0.7)
            panel.set_title(f"{event.replace('_', ' ')}: {column.replace('_', ' ')}", fontsize=8)
            panel.set_ylim(-0.02, 1.02)
            panel.tick_params(labelsize=7)
    axes[0][0].legend(fontsize=7)
    figure.supxlabel("beats since the event", fontsize=9)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def lines_of(event: str, answers: dict[str, dict[str, Any]]) -> Iterator[str]:
    """A table for people: beats until a row is as good as before."""
    for row, columns in answers.items():
        cells = []
        for column, answer in columns.items():
            if "beats" in answer:
                beats = "never" if answer["beats"] is None else answer["beats"]
                cells.append(f"{column} {answer['before']} → {answer['lowest']}, back after {beats}")
            else:
                cells.append(f"silent after {answer['silent_after']}, again after {answer['sounds_again_after']}")
        yield f"{event:12} {row:8} {'; '.join(cells)}"


def main() -> None:
    """Print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="liveband-pocket", help="what plays")
    parser.add_argument("--folder", type=Path, default=Path("data/adaptation"), help="where songs are kept")
    parser.add_argument("--songs", type=int, default=8, help="songs per event; intervals need at least five")
    parser.add_argument("--events", nargs="+", choices=EVENTS, default=EVENTS)
    parser.add_argument("--plot", type=Path, help="PNG file for the curves")
    given = parser.parse_args()
    player = livejam.load(given.checkpoint)
    table, pictures = {}, {}
    for event in tqdm(given.events, desc="events", leave=False):
        table[event], pictures[event] = adaptation(player, event, given.folder, given.songs)
        print("\n".join(lines_of(event, table[event])), flush=True)
    if given.plot is not None:
        draw(pictures, given.plot)
    print(json.dumps(table))


if __name__ == "__main__":
    main()
