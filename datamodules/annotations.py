"""Ground truth about a song's music: `annotations.json` where it exists, otherwise the tempo map of its MIDI file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from livejam.batch import Annotations, Chord
from livejam.errors import UserError

MIDI = "all_src.mid"


def read_annotations(folder: Path) -> Annotations | None:
    """Beats, downbeats and chords of the song in `folder`, in seconds of its audio.

    pocket-Slakh writes `annotations.json`. Slakh2100 has only `all_src.mid`: its tempo map gives the beats and
    downbeats, the chords stay empty. None where neither exists or the MIDI file cannot be read.

    Raises:
        UserError: `annotations.json` exists but is not of the documented form.
    """
    path = folder / "annotations.json"
    if path.is_file():
        try:
            return annotations_from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(f"{path} is damaged ({error!r}); render the song again or delete the file") from error
    midi = folder / MIDI
    return beats_from_midi(midi) if midi.is_file() else None


def midi_is_lost(folder: Path) -> bool:
    """Whether a song of which no annotations could be read has a MIDI file."""
    return (folder / MIDI).is_file()


def annotations_from_dict(values: dict[str, Any]) -> Annotations:
    """The annotations in the form of `annotations.json` (other keys are ignored)."""
    return Annotations(
        beats_seconds=tuple(float(t) for t in values["beats"]),
        downbeats_seconds=tuple(float(t) for t in values["downbeats"]),
        chords=tuple(
            Chord(
                start_seconds=float(chord["start"]),
                end_seconds=float(chord["end"]),
                label=str(chord["label"]),
                pitch_classes=tuple(int(p) % 12 for p in chord["pitch_classes"]),
            )
            for chord in values.get("chords", ())
        ),
    )


def annotations_to_dict(annotations: Annotations) -> dict[str, Any]:
    """The inverse of `annotations_from_dict`."""
    return {
        "beats": list(annotations.beats_seconds),
        "downbeats": list(annotations.downbeats_seconds),
        "chords": [
            {
                "start": chord.start_seconds,
                "end": chord.end_seconds,
                "label": chord.label,
                "pitch_classes": list(chord.pitch_classes),
            }
            for chord in annotations.chords
        ],
    }


def beats_from_midi(path: Path) -> Annotations | None:
    """Beats and downbeats of the MIDI file's tempo and metre changes; None where it cannot be read."""
    # importing pretty_midi takes half a second, which songs with annotations.json can do without
    import pretty_midi

    try:
        midi = pretty_midi.PrettyMIDI(str(path))
        beats, downbeats = midi.get_beats(), midi.get_downbeats()
    # a MIDI file may be wrong in any way; the audio is good without it
    except Exception:
        return None
    if len(beats) == 0:
        return None
    return Annotations(tuple(float(t) for t in beats), tuple(float(t) for t in downbeats))
