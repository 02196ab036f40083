"""Ground truth about a composed song, which needs no transcription."""

from __future__ import annotations

from typing import Any

from datamodules.pocket_slakh.composer import Song

DECIMALS = 6


def song_annotations(song: Song, duration_seconds: float) -> dict[str, Any]:
    """Beats, downbeats, tempo, metre, key, chords and sections, ready for JSON, times in seconds."""
    sheet, meter = song.sheet, song.sheet.clock.meter

    def seconds(step: int) -> float:
        return round(sheet.clock.seconds(step), DECIMALS)

    end = sheet.bars * sheet.steps_per_bar
    return {
        "tempo_bpm": sheet.clock.tempo_bpm,
        "meter": meter.name,
        "key": sheet.key.name,
        "style": sheet.style.name,
        "duration_seconds": round(duration_seconds, DECIMALS),
        "beats": [seconds(step) for step in range(0, end, meter.steps_per_beat)],
        "downbeats": [seconds(step) for step in range(0, end, meter.steps_per_bar)],
        "chords": [
            {
                "start": seconds(span.start_step),
                "end": seconds(span.end_step),
                "label": span.chord.label,
                "pitch_classes": list(span.chord.pitch_classes),
            }
            for span in sheet.spans
        ],
        "sections": [
            {
                "start": seconds(section.first_bar * meter.steps_per_bar),
                "end": seconds(section.end_bar * meter.steps_per_bar),
                "label": section.label,
            }
            for section in sheet.sections
        ],
    }
