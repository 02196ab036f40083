"""Songs in whose middle something happens: rendered where they are missing, and what is known of them.

Shapes: N audio samples.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.annotations import annotations_from_dict
from datamodules.audio import fit_length, read_audio
from datamodules.slakh_index import SlakhIndex
from datamodules.slakh_scan import Song
from datamodules.wide_songs.collection import EventName, WideSongs
from datamodules.wide_songs.render import render_wide_songs
from livejam.batch import CATEGORIES, Annotations

SEED = 19
MARGIN_SECONDS = 4.0
"""What sounds after the last beat that is asked for."""


@dataclass(frozen=True)
class EventSong:
    """A song with an event, and a part in it.

    Args:
        name: of the song.
        mix_N: all other stems.
        target_N: the true stem.
        sample_rate_hz: rate of both.
        category: class index of the part.
        annotations: true beats, downbeats and chords of the whole song.
        event_seconds: when it happens.
        resumes_seconds: the same or, if everybody rests then, the end of the rest.
    """

    name: str
    mix_N: NDArray[np.float32]
    target_N: NDArray[np.float32]
    sample_rate_hz: int
    category: int
    annotations: Annotations
    event_seconds: float
    resumes_seconds: float


def render_event_songs(root: Path, event: EventName, songs: int) -> None:
    """Render the missing ones, without effects and with grooves that no training song has.

    Songs of the same number are the same up to most events.

    Args:
        root: where they are kept.
        event: what happens in the middle of each.
        songs: how many, at least 1.
    """
    wide = WideSongs(effects=False, held_out_grooves=True, event=event)
    render_wide_songs(root, songs, SEED, wide, workers=1)


def event_songs(root: Path, wanted: Collection[str], sample_rate_hz: int, beats_after: int) -> list[EventSong]:
    """One part of every song that has it, and anything besides.

    Args:
        root: rendered songs.
        wanted: categories; of several in a song, its first is taken.
        sample_rate_hz: rate at which they are read.
        beats_after: songs are cut, a little after so many beats from where they resume.
    """
    found = []
    for song in SlakhIndex.open(root).songs:
        names = [CATEGORIES[stem.category] for stem in song.stems]
        part = next((place for place, name in enumerate(names) if name in wanted), None)
        if part is not None and len(names) > 1:
            found.append(_event_song(root, song, part, sample_rate_hz, beats_after))
    return found


def _event_song(root: Path, song: Song, part: int, rate_hz: int, beats_after: int) -> EventSong:
    folder = root / song.folder
    told = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    truth, event = annotations_from_dict(told), told["events"][-1]
    resumes = event["end" if event["label"] == "silence" else "start"]
    audio = [read_audio(folder / stem.file, rate_hz, 1)[0] for stem in song.stems]
    length = min(max(map(len, audio)), round(_end(truth, resumes, beats_after) * rate_hz))
    stems = [fit_length(audio_N[None], length)[0] for audio_N in audio]
    target_N, category = stems.pop(part), song.stems[part].category
    mix_N: Any = np.sum(stems, axis=0, dtype=np.float32)
    return EventSong(song.name, mix_N, target_N, rate_hz, category, truth, event["start"], resumes)


def _end(truth: Annotations, resumes: float, beats_after: int) -> float:
    """In seconds of the song."""
    beats = truth.beats_seconds
    last = min(len(beats) - 1, int(np.searchsorted(beats, resumes - 1e-3)) + beats_after)
    return beats[last] + MARGIN_SECONDS
