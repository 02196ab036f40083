"""Whether a model plays for an hour as in its first minute: `python -m benchmarks.stability --plot stability.png`.

A song of the test split is repeated for an hour, from its first downbeat to its last, and a model accompanies it
through the path of live playing, in constant memory and as fast as it can. Every minute is measured on its own, by the
columns of a test: COCOLA, chord tones, chroma, key, phase lock or beat F1 of drums, level, silence, clicks at the
joins of frames, and how much of it is the mix; Fréchet distance of log-mel embeddings from those of the true stem; and
variety, the number of different sounds in it (Vendi score of its windows). Over all minutes: diversity, the number of
different minutes (Vendi score), and repetition, how much every minute resembles an earlier one. The first six minutes
of the true stem, which repeats itself with the song, stand beside all of it.

What was measured is kept in `--folder`, by the contents of checkpoint and song: a run that was stopped plays from its
beginning again, as the model has a memory, but measures only the minutes that are missing.

The last line is one JSON object: per row and column the value of the first minute, the mean of the second half minus
that of the first (`drift`), and all minutes; `diversity` and `repetition`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

import livejam
from benchmarks.error_accumulation import LongSong, long_song, looped, songs_hash, summary
from datamodules import Slakh2100DataModule
from datamodules.excerpts import ExcerptReader
from livejam.batch import CATEGORIES, NAMES
from livejam.checkpoints.player import Player
from livejam.checkpoints.published import find_model
from livejam.checkpoints.weights import sha256_of
from livejam.errors import UserError
from livejam.files import atomic_path
from livejam.spec import CodecSpec
from livejam.streaming import Session
from metrics.beats import MadmomRNN, beat_f_measure
from metrics.cocola_weights import pretrained_cocola
from metrics.diversity import gaussian_kernel, repetition, vendi_score
from metrics.embeddings import LogMel
from metrics.evaluation.clips import Audio, Clip, Segment, Stem
from metrics.evaluation.cocola_measure import COCOLAMeasure
from metrics.evaluation.harmony_measure import HarmonyMeasure
from metrics.frechet import FrechetAudioDistance
from metrics.kernel import median_distance

STRETCH_SECONDS = 60.0
"""About a minute: whole frames of the codec, so that the joins of frames are where a measure looks for them."""

COLUMNS = {
    "fad": "Fréchet distance",
    "variety": "variety",
    "cocola/full": "COCOLA full",
    "cocola/harmonic": "COCOLA harmonic",
    "cocola/percussive": "COCOLA percussive",
    "beat_f1_drums": "drums beat F1",
    "chord_tone_share": "chord tones",
    "chroma_agreement": "chroma",
    "key_agreement": "key",
    "phase_lock": "phase lock",
    "onset_ratio": "onsets, ratio to the true stem's",
    "loudness_db": "level (dB)",
    "silence_rate": "silence",
    "click_db": "clicks (dB)",
    "copied": "share of the mix",
}
"""Column → heading; those that an instrument does not have are left out."""


TRUE_MINUTES = 6
"""So many of the true stem, which repeats itself with the song."""

LEAST = {"loudness_db": 2.0, "click_db": 2.0, "silence_rate": 0.1, "copied": 0.1}
"""What an axis shows at least of a column that is near 0."""

COLOURS = {"model": "#0072b2", "ground truth": "#009e73"}
"""Okabe and Ito's."""


@dataclass(frozen=True)
class Minute:
    """What was measured of a minute.

    Args:
        scores: by column.
        embedded_WD: what it sounds like, window by window.
    """

    scores: dict[str, float]
    embedded_WD: Audio


def repeated_song(data: Slakh2100DataModule, place: int, seconds: float) -> LongSong:
    """A song from its first downbeat to its last, with annotations of its repetition.

    Args:
        data: the data set.
        place: number of the item in the test split's plan.
        seconds: how long it is repeated.
    """
    data.prepare_data()
    data.setup("test")
    plan = data.test_dataloader().dataset.plan  # type: ignore[attr-defined]
    if not 0 <= place < len(plan):
        raise UserError(f"--song {place} is not from 0 to {len(plan) - 1}")
    excerpt, spec = plan[place].excerpt, data.codec_spec
    truth = ExcerptReader(data.root, spec, spec.frames_in(excerpt.song.seconds), data.rule).annotations(excerpt)
    if truth is None or len(truth.downbeats_seconds) < 2:
        raise UserError(f"the downbeats of {excerpt.song.name} are not known; choose another --song")
    once = long_song(data, excerpt, truth.downbeats_seconds[-1] - truth.downbeats_seconds[0])
    annotations = looped(truth, seconds)
    return LongSong(once.mix_N, once.target_N, once.category, once.name, annotations)


def minute_samples(spec: CodecSpec) -> int:
    """About a minute, in whole frames."""
    return round(spec.sample_rate_hz * STRETCH_SECONDS / spec.hop_samples) * spec.hop_samples


def minutes_of(audio_N: Audio, length: int, minutes: int) -> Iterator[Audio]:
    """A recording that is repeated, minute by minute."""
    for start in range(0, length * minutes, length):
        yield np.take(audio_N, np.arange(start, start + length), mode="wrap")


def played(player: Player, song: LongSong, minutes: int, seed: int) -> Iterator[Audio]:
    """What a model plays to it, minute by minute."""
    session = Session(player, channels=1, instruments=[NAMES[song.category]], seeds=[seed])
    mixes = minutes_of(song.mix_N, minute_samples(player.codec.spec), minutes)
    for mix_N in tqdm(mixes, "minutes", minutes, leave=False):
        yield session.process(torch.from_numpy(mix_N)[None])[0].numpy()


class Judge:
    """Measures minutes.

    Args:
        song: what is accompanied.
        spec: of the codec whose frames are joined.
    """

    def __init__(self, song: LongSong, spec: CodecSpec) -> None:
        self.song, self.spec = song, spec
        self.embed, self.measures = LogMel(), (COCOLAMeasure(pretrained_cocola()), HarmonyMeasure())
        self.track = MadmomRNN() if CATEGORIES[song.category] == "Percussive" else None
        true_WD = self._embedded(song.target_N)
        self.width = median_distance(true_WD)
        metric = FrechetAudioDistance(self.embed.dimension)
        metric.update(true_WD, real=True)
        self.reference = metric.reference(self.embed.identity, spec.sample_rate_hz, STRETCH_SECONDS)

    @property
    def identity(self) -> str:
        """Hash of the song and of all that it measures with."""
        trackers = [] if self.track is None else [self.track.identity]
        parts = [songs_hash([self.song]), *(measure.identity for measure in self.measures), *trackers]
        parts += [self.embed.identity, *COLUMNS, str(minute_samples(self.spec))]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def __call__(self, number: int, stem_N: Audio, mix_N: Audio, target_N: Audio) -> Minute:
        """Every column of a minute.

        Args:
            number: of the minute, from 0.
            stem_N: what is judged.
            mix_N: what is accompanied.
            target_N: the true stem.
        """
        rate = self.spec.sample_rate_hz
        start, seconds = number * len(stem_N) / rate, len(stem_N) / rate
        truth, song = self.song.annotations.excerpt(start, seconds), self.song
        clip = Clip(mix_N, target_N, stem_N, rate, song.category, song.name, start, truth)
        segment = Segment(clip, Stem(stem_N, song.name), 0, len(stem_N), self.spec.hop_samples)
        found = {name: score for m in self.measures for name, score in m.scores([segment], keep=False)[0].items()}
        if self.track is not None:
            found["beat_f1_drums"] = beat_f_measure(truth.beats_seconds, self.track([stem_N], rate)[0])
        embedded_WD = self._embedded(stem_N)
        found["fad"] = self._distance(embedded_WD)
        found["variety"] = vendi_score(gaussian_kernel(embedded_WD.numpy(), self.width))
        return Minute({name: found.get(name, math.nan) for name in COLUMNS}, embedded_WD.numpy())

    def _distance(self, embedded_WD: Tensor) -> float:
        metric = FrechetAudioDistance(self.embed.dimension)
        metric.use_reference(self.reference)
        metric.update(embedded_WD, real=False)
        return float(metric.compute().distance)

    def _embedded(self, audio_N: Audio) -> Tensor:
        return self.embed(torch.from_numpy(np.ascontiguousarray(audio_N)), self.spec.sample_rate_hz)


def measured(judge: Judge, stems: Iterator[Audio], minutes: int, folder: Path) -> list[Minute]:
    """Every minute of a row, measured now or before.

    Args:
        judge: measures.
        stems: what is played, minute by minute; nobody plays if all is known.
        minutes: how many.
        folder: where they are kept.
    """
    length, files = minute_samples(judge.spec), [folder / f"{number:03d}.npz" for number in range(minutes)]
    missing = [not file.is_file() for file in files]
    if any(missing):
        parts = (minutes_of(x_N, length, minutes) for x_N in (judge.song.mix_N, judge.song.target_N))
        for number, (stem_N, mix_N, target_N) in enumerate(zip(stems, *parts, strict=True)):
            if missing[number]:
                save(files[number], judge(number, stem_N, mix_N, target_N))
    return [load(file) for file in files]


def save(path: Path, minute: Minute) -> None:
    """Keep a minute."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, scores=np.array([minute.scores[name] for name in COLUMNS]), embedded_WD=minute.embedded_WD)


def load(path: Path) -> Minute:
    """A minute that was kept."""
    with np.load(path, allow_pickle=False) as held:
        return Minute(dict(zip(COLUMNS, held["scores"].tolist(), strict=True)), held["embedded_WD"])


def row_of(minutes: list[Minute], width: float) -> dict[str, Any]:
    """Every column that an instrument has, and what all minutes say together."""
    columns = {name: [minute.scores[name] for minute in minutes] for name in COLUMNS}
    sounds_SWD = np.stack([minute.embedded_WD for minute in minutes])
    return {
        **summary({name: values for name, values in columns.items() if not all(map(math.isnan, values))}),
        "diversity": vendi_score(gaussian_kernel(sounds_SWD.mean(1), width)),
        "repetition": repetition(sounds_SWD),
    }


def draw(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """A panel per column: a line per row, over minutes."""
    names = [name for name, cell in next(iter(rows.values())).items() if isinstance(cell, dict)]
    figure = Figure(figsize=(3.2 * 4, 2.1 * -(-len(names) // 4)), layout="constrained")
    panels = figure.subplots(-(-len(names) // 4), 4, squeeze=False, sharex=True).flat
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    for panel, name in zip(panels, names, strict=False):
        for row, columns in rows.items():
            values = columns[name]["segments"]
            panel.plot(np.arange(1, len(values) + 1), values, label=row, color=COLOURS[row], linewidth=1.3)
        panel.set_title(COLUMNS[name], fontsize=9)
        panel.tick_params(labelsize=7, labelbottom=True)
        panel.ticklabel_format(useOffset=False)
        _not_too_near(panel, LEAST.get(name, 0.0))
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    figure.supxlabel("minute", fontsize=9)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _not_too_near(panel: Axes, least: float) -> None:
    """Lines that hardly move look so: an axis shows at least so much, and a tenth of the largest value on it."""
    low, high = panel.get_ylim()
    missing = max(least, 0.1 * max(abs(low), abs(high))) - (high - low)
    if missing > 0:
        panel.set_ylim(low - missing / 2, high + missing / 2)


def lines_of(rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    """First minute and drift, for people."""
    for row, columns in rows.items():
        cells = [
            f"{name} {cell['value']:.2f} ({cell['drift']:+.2f})" if isinstance(cell, dict) else f"{name} {cell:.2f}"
            for name, cell in columns.items()
        ]
        yield f"{row}: {', '.join(cells)}"


def plain(value: Any) -> Any:
    """Rounded, and null for what JSON does not know."""
    if isinstance(value, dict):
        return {name: plain(own) for name, own in value.items()}
    if isinstance(value, list):
        return [plain(own) for own in value]
    return round(value, 4) if math.isfinite(value) else None


def main() -> None:
    """Print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="liveband-pocket", help="what plays")
    parser.add_argument("--root", default="data/quickstart", help="data set")
    parser.add_argument("--song", type=int, default=0, help="item of the test split: which song, and what to play")
    parser.add_argument("--minutes", type=int, default=60, help="at least 2")
    parser.add_argument("--seed", type=int, default=0, help="of the model's noise")
    parser.add_argument("--folder", type=Path, default="runs/stability", help="where what was measured is kept")
    parser.add_argument("--plot", type=Path, help="PNG file for the curves")
    given = parser.parse_args()
    if given.minutes < 2:
        parser.error(f"--minutes {given.minutes} is less than 2")
    player, minutes = livejam.load(given.checkpoint), given.minutes
    known = [name for name in player.instruments if name in CATEGORIES]
    data = Slakh2100DataModule(given.root, player.codec, mode="audio", full_mix=True, seed=1, targets=known)
    song = repeated_song(data, given.song, STRETCH_SECONDS * (minutes + 1))
    sys.stderr.write(f"{NAMES[song.category]} in {song.name}\n")
    judge = Judge(song, player.codec.spec)
    who = {"model": f"{sha256_of(find_model(given.checkpoint))[:16]} {given.seed}", "ground truth": "ground truth"}
    true_minutes = min(minutes, TRUE_MINUTES)
    stems = {
        "model": (minutes, played(player, song, minutes, given.seed)),
        "ground truth": (true_minutes, minutes_of(song.target_N, minute_samples(judge.spec), true_minutes)),
    }
    folders = {row: given.folder / judge.identity / name for row, name in who.items()}
    rows = {row: row_of(measured(judge, own, n, folders[row]), judge.width) for row, (n, own) in stems.items()}
    print("\n".join(lines_of(rows)))
    if given.plot is not None:
        draw(rows, given.plot)
    print(json.dumps({"song": song.name, "instrument": NAMES[song.category], **plain(rows)}))


if __name__ == "__main__":
    main()
