"""An hour on stage: music through the real-time engine, block by block.

python -m benchmarks.live_hour --checkpoint liveband-pocket --plot docs/live_hour.png

Songs of a test split, each from one downbeat to another, follow each other in a set that is repeated until the time is
over (twice at least). Two accompanists, drums and piano, hear them. On the accelerated clock the hour passes as fast as
the model can play it: every step takes the time on that clock that it really took, so deadlines are kept or missed as
on stage. On the true clock the minutes are real ones.

The last line is one JSON object: per clock what the engine counted, the growth of memory, and the largest difference
between what the session made known and what was played at the same position (0 = no drift). For the accelerated hour
also beat F1 of the drums, chord tones of the piano and Fréchet distance from the true stems: of the first set with its
95 % interval (jackknife over songs), and of the last.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import livejam
from benchmarks.error_accumulation import LongSong, long_songs
from datamodules import Slakh2100DataModule
from livejam.batch import CATEGORIES, NAMES
from livejam.streaming import Session
from livejam.streaming.clocks import Clock, TrueClock, VirtualClock
from livejam.streaming.engine import RealTimeEngine
from livejam.streaming.priority import prioritised
from livejam.streaming.rings import Audio
from livejam.streaming.statistics import Histogram
from metrics.beats import MadmomRNN, beat_f_measure
from metrics.embeddings import LogMel
from metrics.frechet import FrechetAudioDistance
from metrics.harmony import chord_tone_share
from metrics.intervals import jackknife_interval

ROWS = ("Percussive", "Piano")
CLIP_SECONDS = 10.0
STATUS = Path("/proc/self/status")


class RowsOnStage:
    """A session whose rows come out as channels of their own, and whose steps take time on the engine's clock.

    Args:
        session: hears one channel.
        spend: lets the seconds of a step pass; nothing to do where they pass by themselves.
        kept: the positions of which it remembers what became known.
    """

    def __init__(self, session: Session, spend: Callable[[float], None], kept: range) -> None:
        self.session, self.spend, self.channels = session, spend, session.rows
        self.kept_AN, self._kept = np.full((session.rows, len(kept)), np.nan, dtype=np.float32), kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def advance(self, audio_AN: Tensor) -> Tensor:
        """Hear one channel of the input; all rows as channels of one."""
        began, start = time.perf_counter(), self.session.known_samples
        new_BAN = self.session.advance(audio_AN[:1])
        self.spend(time.perf_counter() - began)
        keep(self.kept_AN, self._kept, start, new_BAN[:, 0].numpy())
        return new_BAN.transpose(0, 1)


def keep(kept_AN: Audio, kept: range, start: int, audio_AN: Audio) -> None:
    """Store the part of audio that falls into a range of positions."""
    first, last = max(start, kept.start), min(start + audio_AN.shape[1], kept.stop)
    if first < last:
        kept_AN[:, first - kept.start : last - kept.start] = audio_AN[:, first - start : last - start]


class Trace(Histogram):
    """A histogram that also remembers when."""

    def __init__(self, clock: Clock, steps: int) -> None:
        super().__init__()
        self._clock = clock
        self._points = np.zeros((steps, 2))

    def add(self, seconds: float) -> None:
        """Count one duration."""
        if self.count < len(self._points):
            self._points[self.count] = self._clock.now(), seconds
        super().add(seconds)

    @property
    def points(self) -> Any:
        """Seconds since the start, and seconds taken."""
        return self._points[: self.count]


@dataclass(frozen=True)
class Show:
    """What happened on stage.

    Args:
        first_AN: what was played to the first set, one row per accompanist.
        last_AN: what was played to the last set.
        facts: for the report.
        trace: time and latency of every step, in seconds.
    """

    first_AN: Audio
    last_AN: Audio
    facts: dict[str, Any]
    trace: Any


def perform(session: Session, set_N: Audio, sets: int, chunk: int, clock: Clock) -> Show:
    """Play a set again and again, and remember the first and the last time."""
    rate, samples = session.sample_rate_hz, len(set_N) * sets
    last = range(samples - len(set_N), samples)
    played = {place: np.full((session.rows, len(set_N)), np.nan, np.float32) for place in (range(len(set_N)), last)}
    stage = RowsOnStage(session, clock.sleep if isinstance(clock, VirtualClock) else lambda _: None, last)
    trace = Trace(clock, samples // session.timing.block_samples + 2)
    engine = RealTimeEngine(stage, chunk, clock=clock, latencies=trace)
    memory_mb: list[float] = []
    position = 0
    wrapped_N = np.concatenate([set_N, set_N[:chunk]])

    def tick(i: int) -> None:
        nonlocal position
        place = position % len(set_N)
        output_AN = engine.callback(wrapped_N[None, place : place + chunk])
        for kept, kept_AN in played.items():
            keep(kept_AN, kept, position, output_AN)
        position += chunk
        if position // (60 * rate) > len(memory_mb):
            memory_mb.append(resident_mb())

    engine.warm_up()
    load, began = os.getloadavg(), time.perf_counter()
    with prioritised():  # as the engine's own thread would be
        clock.pace(engine, tick, chunk / rate, samples // chunk)
    first_AN, last_AN = played.values()
    whole = slice(0, last.stop // chunk * chunk - last.start)
    facts = {
        "seconds_taken": time.perf_counter() - began,
        "load_average_before": load,
        "load_average_after": os.getloadavg(),
        "rss_growth_mb": memory_mb[-1] - memory_mb[len(memory_mb) // 10],
        "rss_mb": memory_mb[-1],
        "played_differs_from_known": float(np.abs(last_AN - stage.kept_AN)[:, whole].max()),
        **asdict(engine.statistics()),
    }
    return Show(first_AN, last_AN, facts, trace.points)


def resident_mb() -> float:
    """Memory of this process in MB (Linux)."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


class Jury:
    """Measures what was played to a set.

    Args:
        songs: the set.
        rate: sample rate in Hz.
    """

    def __init__(self, songs: list[LongSong], rate: int) -> None:
        self.songs, self.rate = songs, rate
        self.embed, self.track = LogMel(), MadmomRNN()
        real = FrechetAudioDistance(self.embed.dimension)
        for song in songs:
            for clip_N in self._clips(song.target_N):
                real.update(self._embedded(clip_N), real=True)
        self.reference = real.reference(self.embed.identity, rate, CLIP_SECONDS)

    def __call__(self, played_AN: Audio) -> dict[str, dict[str, Any]]:
        """Per measure: its value, its 95 % interval, and of how many songs."""
        ends = np.cumsum([len(song.mix_N) for song in self.songs])
        parts = [
            np.ascontiguousarray(played_AN[ROWS.index(CATEGORIES[song.category]), end - len(song.mix_N) : end])
            for song, end in zip(self.songs, ends, strict=True)
        ]
        scores = [self._scores(song, part_N) for song, part_N in zip(self.songs, parts, strict=True)]
        embedded = [[self._embedded(clip_N) for clip_N in self._clips(part_N)] for part_N in parts]
        beats = [values for song, values in zip(self.songs, scores, strict=True) if _is_drums(song)]
        chords = [values for song, values in zip(self.songs, scores, strict=True) if not _is_drums(song)]
        return {
            "beat_f1_drums": _measured(beats, _mean),
            "chord_tone_share": _measured(chords, _mean),
            "fad": _measured(embedded, self._fad),
        }

    def _scores(self, song: LongSong, played_N: Audio) -> list[float]:
        scores = []
        pairs = zip(self._clips(played_N), self._clips(song.target_N), strict=True)
        for i, (clip_N, target_N) in enumerate(pairs):
            truth = song.annotations.excerpt(i * CLIP_SECONDS, CLIP_SECONDS)
            if _is_drums(song):
                scores.append(beat_f_measure(truth.beats_seconds, self.track([clip_N], self.rate)[0]))
            else:
                scores.append(chord_tone_share(clip_N, target_N, self.rate, truth.chords))
        return scores

    def _fad(self, embedded: list[list[Tensor]]) -> float:
        distance = FrechetAudioDistance(self.embed.dimension)
        distance.use_reference(self.reference)
        for clips in embedded:
            for clip in clips:
                distance.update(clip, real=False)
        return float(distance.compute().distance)

    def _clips(self, audio_N: Audio) -> list[Audio]:
        length = round(CLIP_SECONDS * self.rate)
        return [audio_N[start : start + length] for start in range(0, len(audio_N) - length + 1, length)]

    def _embedded(self, audio_N: Audio) -> Tensor:
        return self.embed(torch.from_numpy(np.ascontiguousarray(audio_N)), self.rate)


def _is_drums(song: LongSong) -> bool:
    return CATEGORIES[song.category] == "Percussive"


def _mean(songs: list[list[float]]) -> float:
    return float(np.nanmean(np.concatenate(songs)))


def _measured(songs: list[Any], measure: Callable[[list[Any]], float]) -> dict[str, Any]:
    value = measure(songs)
    left_out_U = np.array([measure(songs[:i] + songs[i + 1 :]) for i in range(len(songs))])
    return {"value": value, "interval": list(jackknife_interval(value, left_out_U)), "songs": len(songs)}


def compared(first: dict[str, dict[str, Any]], last: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Per measure: the first set with its interval, the last set, and whether it lies within."""
    return {
        name: {
            "first": entry["value"],
            "interval": entry["interval"],
            "last": last[name]["value"],
            "within": entry["interval"][0] <= last[name]["value"] <= entry["interval"][1],
        }
        for name, entry in first.items()
    }


def draw(shows: dict[str, Show], out: Path) -> None:
    """Latency of every step against the budget, one chart per clock."""
    figure = Figure(figsize=(11, 3.2 * len(shows)), layout="constrained")
    for axes, (name, show) in zip(figure.subplots(len(shows), 1, squeeze=False).flat, shows.items(), strict=True):
        minutes_N, ms_N = show.trace[:, 0] / 60, 1000 * show.trace[:, 1]
        axes.plot(minutes_N - minutes_N[0], ms_N, ".", markersize=1, label="a step", rasterized=True)
        axes.axhline(show.facts["budget_ms"], color="C3", label="budget")
        for share in ("p50", "p99"):
            axes.axhline(
                show.facts[f"latency_{share}_ms"], color="C7", linestyle="--" if share == "p50" else ":", label=share
            )
        axes.set(
            title=f"{name}: {show.facts['misses']} missed deadlines", xlabel="minutes", ylabel="ms", ylim=(0, None)
        )
        axes.legend(loc="center right", ncols=4, frameon=False, markerscale=8)
    figure.savefig(out, dpi=110)


def the_set(root: str, codec: Any, songs: int, seconds: float) -> list[LongSong]:
    """Songs of the test split whose targets are drums and piano in turn."""
    data = Slakh2100DataModule(root, codec, targets=list(ROWS), full_mix=True, seed=1)
    return long_songs(data, songs, seconds)


def main() -> None:
    """Print the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="liveband-pocket", help="what plays")
    parser.add_argument("--root", default="data/quickstart", help="data set")
    parser.add_argument("--songs", type=int, default=12, help="of a set")
    parser.add_argument("--song-seconds", type=float, default=30.0, help="of each song")
    parser.add_argument("--minutes", type=float, default=60.0, help="on the accelerated clock; 0 = none")
    parser.add_argument("--true-minutes", type=float, default=10.0, help="on the true clock; 0 = none")
    parser.add_argument("--chunk", type=int, default=256, help="samples per call of the sound card")
    parser.add_argument("--plot", type=Path, help="where to draw the latencies (PNG)")
    given = parser.parse_args()
    player = livejam.load(given.checkpoint)
    songs = the_set(given.root, player.codec, given.songs, given.song_seconds)
    set_N = np.concatenate([song.mix_N for song in songs])
    names = [NAMES[CATEGORIES.index(row)] for row in ROWS]
    plan: dict[str, tuple[float, Clock]] = {
        "accelerated clock": (given.minutes, VirtualClock()),
        "true clock": (given.true_minutes, TrueClock()),
    }
    shows = {}
    for name, (wanted, clock) in plan.items():
        if wanted:
            sets = max(2, round(wanted * 60 * player.codec.spec.sample_rate_hz / len(set_N)))
            shows[name] = perform(Session(player, channels=1, instruments=names), set_N, sets, given.chunk, clock)
            print(f"{name}: {json.dumps(shows[name].facts)}", flush=True)
    if given.plot:
        draw(shows, given.plot)
    jury = Jury(songs, player.codec.spec.sample_rate_hz)
    music = {name: compared(jury(show.first_AN), jury(show.last_AN)) for name, show in shows.items()}
    print(json.dumps({name: {**show.facts, "music": music[name]} for name, show in shows.items()}))


if __name__ == "__main__":
    main()
