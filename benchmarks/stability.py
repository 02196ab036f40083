"""Whether a model plays for an hour as in its first minute: `python -m benchmarks.stability --plot stability.png`.

A song of the test split is repeated for an hour, from its first downbeat to its last, and a model accompanies it
through the path of live playing, in constant memory. Every minute is measured on its own: Fréchet distance of log-mel
embeddings from the true stem's, beat F1 of drums or chord tones, phase lock, chroma, level, silence, and how much of it
is the mix. Over all minutes: diversity, the number of different minutes (Vendi score), and repetition, how much every
minute resembles an earlier one. The true stem's row, which repeats itself with the song, stands beside both.

The last line is one JSON object: per row and column the value of the first minute, the mean of the second half minus
that of the first (`drift`), and all minutes; `diversity` and `repetition`.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from tqdm import tqdm

import livejam
from benchmarks.error_accumulation import LongSong, long_song, looped, summary
from datamodules import Slakh2100DataModule
from datamodules.excerpts import ExcerptReader
from livejam.batch import CATEGORIES, NAMES, Annotations
from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.files import atomic_path
from livejam.streaming import Session
from metrics.beats import MadmomRNN, beat_f_measure
from metrics.chroma import chroma, chroma_agreement
from metrics.copying import copied
from metrics.diversity import gaussian_kernel, repetition, vendi_score
from metrics.embeddings import LogMel
from metrics.evaluation.clips import Audio
from metrics.frechet import FrechetAudioDistance
from metrics.harmony import chord_tone_share
from metrics.kernel import median_distance
from metrics.loudness import relative_level_db, silence_rate
from metrics.phase_lock import onset_strength, phase_lock

STRETCH_SECONDS = 60.0
COPY_SECONDS = 10.0


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


def minutes_of(audio_N: Audio, rate_hz: int, seconds: float) -> Iterator[Audio]:
    """A recording that is repeated, minute by minute."""
    length, samples = round(STRETCH_SECONDS * rate_hz), round(seconds * rate_hz)
    for start in range(0, samples - length + 1, length):
        yield np.take(audio_N, np.arange(start, start + length), mode="wrap")


def played(player: Player, song: LongSong, seconds: float, seed: int) -> Iterator[Audio]:
    """What a model plays to it, minute by minute."""
    session = Session(player, channels=1, instruments=[NAMES[song.category]], seeds=[seed])
    for mix_N in minutes_of(song.mix_N, player.codec.spec.sample_rate_hz, seconds):
        yield session.process(torch.from_numpy(mix_N)[None])[0].numpy()


class Judge:
    """Measures minutes.

    Args:
        song: what is accompanied.
        rate_hz: its rate.
    """

    def __init__(self, song: LongSong, rate_hz: int) -> None:
        self.song, self.rate = song, rate_hz
        self.embed, self.pitched = LogMel(), CATEGORIES[song.category] != "Percussive"
        self.track = None if self.pitched else MadmomRNN()
        true_WD = self._embedded(song.target_N)
        self.width = median_distance(true_WD)
        metric = FrechetAudioDistance(self.embed.dimension)
        metric.update(true_WD, real=True)
        self.reference = metric.reference(self.embed.identity, rate_hz, STRETCH_SECONDS)

    def __call__(self, stems: Iterable[Audio], seconds: float) -> dict[str, Any]:
        """Every column of every minute, and what they say together."""
        mixes, targets = (minutes_of(x_N, self.rate, seconds) for x_N in (self.song.mix_N, self.song.target_N))
        found: list[dict[str, float]] = []
        sounds = []
        for number, (stem_N, mix_N, target_N) in enumerate(zip(stems, mixes, targets, strict=True)):
            truth = self.song.annotations.excerpt(number * STRETCH_SECONDS, STRETCH_SECONDS)
            embedded_WD = self._embedded(stem_N)
            sounds.append(embedded_WD.numpy())
            found.append(self._scores(stem_N, mix_N, target_N, truth) | {"fad": self._distance(embedded_WD)})
        sounds_SWD = np.stack(sounds)
        columns = summary({name: [one[name] for one in found] for name in found[0]})
        alike_SS = gaussian_kernel(sounds_SWD.mean(1), self.width)
        return {**columns, "diversity": vendi_score(alike_SS), "repetition": repetition(sounds_SWD)}

    def _scores(self, stem_N: Audio, mix_N: Audio, target_N: Audio, truth: Annotations) -> dict[str, float]:
        onsets = [onset_strength(torch.from_numpy(x_N.copy()), self.rate).numpy() for x_N in (stem_N, target_N)]
        chromas = [chroma(x_N, self.rate) for x_N in (stem_N, mix_N, target_N)]
        copy = round(COPY_SECONDS * self.rate)
        scores = {
            "phase_lock": phase_lock(onsets[0], onsets[1], truth.beats_seconds),
            "loudness_db": relative_level_db(stem_N, target_N, self.rate),
            "silence_rate": silence_rate(stem_N, self.rate),
            "copied": copied(stem_N[:copy], mix_N[:copy], self.rate),
        }
        if self.track is not None:
            beats = self.track([stem_N], self.rate)[0]
            return scores | {"beat_f1_drums": beat_f_measure(truth.beats_seconds, beats)}
        share = chord_tone_share(stem_N, target_N, self.rate, truth.chords)
        return scores | {"chord_tone_share": share, "chroma_agreement": chroma_agreement(*chromas)}

    def _distance(self, embedded_WD: torch.Tensor) -> float:
        metric = FrechetAudioDistance(self.embed.dimension)
        metric.use_reference(self.reference)
        metric.update(embedded_WD, real=False)
        return float(metric.compute().distance)

    def _embedded(self, audio_N: Audio) -> torch.Tensor:
        return self.embed(torch.from_numpy(np.ascontiguousarray(audio_N)), self.rate)


def draw(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """A panel per column: a line per row, over minutes."""
    names = [name for name, cell in next(iter(rows.values())).items() if isinstance(cell, dict)]
    figure = Figure(figsize=(3.2 * 4, 2.3 * -(-len(names) // 4)), layout="constrained")
    panels = figure.subplots(-(-len(names) // 4), 4, squeeze=False).flat
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    for panel, name in zip(panels, names, strict=False):
        for row, columns in rows.items():
            panel.plot(columns[name]["segments"], label=row, linewidth=1.3)
        panel.set_title(name.replace("_", " "), fontsize=9)
        panel.tick_params(labelsize=7)
    figure.axes[0].legend(fontsize=7)
    figure.supxlabel("minutes", fontsize=9)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


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
    parser.add_argument("--song", type=int, default=0, help="number of the item in the plan of the test split")
    parser.add_argument("--minutes", type=int, default=60, help="at least 2")
    parser.add_argument("--plot", type=Path, help="PNG file for the curves")
    given = parser.parse_args()
    if given.minutes < 2:
        parser.error(f"--minutes {given.minutes} is less than 2")
    player, seconds = livejam.load(given.checkpoint), STRETCH_SECONDS * given.minutes
    known = [name for name in player.instruments if name in CATEGORIES]
    data = Slakh2100DataModule(given.root, player.codec, mode="audio", full_mix=True, seed=1, targets=known)
    song = repeated_song(data, given.song, seconds)
    rate = player.codec.spec.sample_rate_hz
    judge = Judge(song, rate)
    stems = tqdm(played(player, song, seconds, 0), total=given.minutes, desc="minutes", leave=False)
    rows = {"model": judge(stems, seconds), "ground truth": judge(minutes_of(song.target_N, rate, seconds), seconds)}
    print("\n".join(lines_of(rows)))
    if given.plot is not None:
        draw(rows, given.plot)
    print(json.dumps({"song": song.name, "instrument": NAMES[song.category], **plain(rows)}))


if __name__ == "__main__":
    main()
