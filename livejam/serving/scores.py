"""What a scripted musician does to a song: stops, goes on, plays faster, plays in another key.

Shapes: N audio samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from livejam.errors import UserError
from livejam.streaming.rings import Audio


@dataclass(frozen=True)
class Score:
    """What happens in a song; times are in seconds of the performance.

    Args:
        stop_at: when the musician stops; None = never.
        restart_at: when it goes on where it stopped; None = never.
        change_at: when tempo and key change; None = in the middle of the song.
        tempo: relative change of tempo, 0.08 = 8 % faster.
        transpose: semitones up.
    """

    stop_at: float | None = None
    restart_at: float | None = None
    change_at: float | None = None
    tempo: float = 0.0
    transpose: float = 0.0


@dataclass(frozen=True)
class Event:
    """Something that an accompanist has to react to.

    Args:
        seconds: when.
        words: what.
    """

    seconds: float
    words: str


def performed(song_N: Audio, sample_rate_hz: int, score: Score) -> tuple[Audio, list[Event]]:
    """The song as it is played, and what an accompanist has to react to.

    Raises:
        UserError: something happens after the end, or librosa is missing.
    """
    changed_N, events = _changed(song_N, sample_rate_hz, score)
    return _stopped(changed_N, sample_rate_hz, score, events)


def _changed(song_N: Audio, rate: int, score: Score) -> tuple[Audio, list[Event]]:
    if not score.tempo and not score.transpose:
        return song_N, []
    seconds = len(song_N) / rate
    at = seconds / 2 if score.change_at is None else score.change_at
    _require_before_the_end("--change-at", at, seconds)
    try:
        from librosa.effects import pitch_shift, time_stretch
    except ModuleNotFoundError as error:
        raise UserError("another tempo or key needs librosa; pip install 'livejam[metrics]' installs it") from error
    start_N, rest_N = song_N[: round(at * rate)], song_N[round(at * rate) :]
    words = []
    if score.tempo:
        rest_N = time_stretch(rest_N, rate=1 + score.tempo)
        words.append(f"tempo {100 * score.tempo:+g} %")
    if score.transpose:
        rest_N = pitch_shift(rest_N, sr=rate, n_steps=score.transpose)
        words.append(f"{score.transpose:+g} semitones")
    return np.concatenate((start_N, rest_N)).astype(np.float32), [Event(at, ", ".join(words))]


def _stopped(song_N: Audio, rate: int, score: Score, events: list[Event]) -> tuple[Audio, list[Event]]:
    if score.stop_at is None:
        if score.restart_at is not None:
            raise UserError("--restart-at needs --stop-at, which must come before it")
        return song_N, events
    stop, seconds = score.stop_at, len(song_N) / rate
    _require_before_the_end("--stop-at", stop, seconds)
    before_N = song_N[: round(stop * rate)]
    if score.restart_at is None:
        silence_N, after_N = np.zeros(len(song_N) - len(before_N), dtype=np.float32), song_N[:0]
    elif score.restart_at <= stop:
        raise UserError(f"--restart-at {score.restart_at:g} must come after --stop-at {stop:g}")
    else:
        silence_N = np.zeros(round((score.restart_at - stop) * rate), dtype=np.float32)
        after_N = song_N[len(before_N) :]
    pause = len(silence_N) / rate if len(after_N) else 0.0
    moved = [Event(event.seconds + (pause if event.seconds > stop else 0), event.words) for event in events]
    again = [] if score.restart_at is None else [Event(score.restart_at, "restart")]
    return np.concatenate((before_N, silence_N, after_N)), sorted([*moved, *again], key=lambda event: event.seconds)


def _require_before_the_end(option: str, at: float, seconds: float) -> None:
    if not 0 < at < seconds:
        raise UserError(f"{option} {at:g} is outside of the song, which lasts {seconds:.1f} s")
