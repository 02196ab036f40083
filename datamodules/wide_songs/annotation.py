"""Ground truth about a wide song, in the form of pocket-Slakh's, and its MIDI score with the tempo map."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from datamodules.pocket_slakh.annotation import DECIMALS
from datamodules.pocket_slakh.composer import Stem
from datamodules.pocket_slakh.meter import TICKS_PER_QUARTER, TICKS_PER_STEP
from datamodules.pocket_slakh.midi import add_tracks
from datamodules.wide_songs.composer import WideSong

if TYPE_CHECKING:
    from symusic.core import ScoreTick


def song_annotations(song: WideSong, duration_seconds: float) -> dict[str, Any]:
    """Beats, downbeats, metres, keys, chords, sections and events, ready for JSON, times in seconds."""
    plan = song.plan

    def seconds(step: int) -> float:
        return round(song.timeline.seconds(step * TICKS_PER_STEP), DECIMALS)

    def changes(values: Sequence[str]) -> list[dict[str, Any]]:
        return [
            {"start": seconds(start), "label": value}
            for number, (start, value) in enumerate(zip(plan.starts, values, strict=False))
            if number == 0 or values[number - 1] != value
        ]

    sections = [number for number, bar in enumerate(plan.bars) if bar.place == 0 and not bar.count_in]
    edges = [*sections, len(plan.bars)]
    return {
        "tempo_bpm": round(plan.bars[0].tempos[0] * 4 / plan.bars[0].metre.beats[0], 3),
        "meter": plan.bars[0].metre.name,
        "meters": changes([bar.metre.name for bar in plan.bars]),
        "key": plan.bars[0].key.name,
        "keys": changes([bar.key.name for bar in plan.bars]),
        "style": plan.family.name,
        "duration_seconds": round(duration_seconds, DECIMALS),
        "beats": [round(song.timeline.seconds(tick), DECIMALS) for tick in song.timeline.ticks],
        "downbeats": [seconds(start) for start in plan.starts[:-1]],
        "chords": [
            {
                "start": seconds(span.start_step),
                "end": seconds(span.end_step),
                "label": span.chord.label,
                "pitch_classes": list(span.chord.pitch_classes),
            }
            for span in plan.spans
        ],
        "sections": [
            {
                "start": seconds(plan.starts[first]),
                "end": seconds(plan.starts[end]),
                "label": plan.bars[first].part.label,
            }
            for first, end in pairwise(edges)
        ],
        "events": [
            {"start": seconds(plan.starts[e.first_bar]), "end": seconds(plan.starts[e.end_bar]), "label": e.name}
            for e in plan.events
        ],
    }


def score(song: WideSong, stems: Sequence[Stem]) -> ScoreTick:
    """The stems as tracks of one score, with the tempo of every beat and every change of metre."""
    from symusic.core import ScoreTick, TempoTick, TimeSignatureTick

    result = ScoreTick(TICKS_PER_QUARTER)
    before = None
    for tick, microseconds in zip(song.timeline.ticks, song.timeline.microseconds, strict=True):
        if microseconds != before:
            result.tempos.append(TempoTick(tick, 60e6 / microseconds))
        before = microseconds
    metre = None
    for start, bar in zip(song.plan.starts, song.plan.bars, strict=False):
        if bar.metre.name != metre:
            metre = bar.metre.name
            signature = TimeSignatureTick(start * TICKS_PER_STEP, bar.metre.numerator, bar.metre.denominator)
            result.time_signatures.append(signature)
    add_tracks(result, stems)
    return result
