"""What becomes of a model that plays for minutes.

python -m benchmarks.error_accumulation --plot docs/drift.png \\
    --play "fine-tuned, 8 steps" runs/lmdm_blockcausal_pocket/checkpoints/last.ckpt 8 3 \\
    --play "ARC-Forced, 2 steps" runs/lmdm_arc_forcing_pocket/checkpoints/last.ckpt 2 1

Songs of a test split, from their first downbeat to their last, are repeated without a gap for as long as it takes. The
models accompany them in one go from a start in silence, as on stage, and every stretch of ten seconds is measured on
its own: Fréchet distance of log-mel embeddings from those of all the true stems, beat F1 of drums against the true
beats, chord tones of pitched stems, phase lock, level. The true stem and that of another song are measured likewise.

What was measured is kept in `--folder`, by the checkpoint's and the songs' contents: an interrupted run goes on, and
another model can be added later. Screen and `--markdown` show a table; the last line is one JSON object: per row every
metric's `value` (first stretch), `drift` (mean of the second half minus mean of the first), and all stretches; and per
model `block_ms`, what one block of one stream takes (median, always measured anew), and `real_time_share`, the same by
the duration of a block.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from datamodules import Slakh2100DataModule
from datamodules.excerpts import Excerpt, ExcerptReader
from livejam.accompanist import Accompanist, Controls, accompany
from livejam.batch import CATEGORIES, Annotations, Chord
from livejam.checkpoints.player import Player, load_player
from livejam.checkpoints.published import find_model
from livejam.checkpoints.weights import sha256_of
from livejam.errors import UserError
from livejam.files import atomic_path
from livejam.spec import CodecSpec
from livejam.systems.lmdm import LMDMAccompanist
from metrics.beats import MadmomRNN, beat_f_measure
from metrics.embeddings import LogMel
from metrics.evaluation.clips import Audio
from metrics.frechet import FrechetAudioDistance
from metrics.harmony import chord_tone_share
from metrics.loudness import relative_level_db
from metrics.phase_lock import onset_strength, phase_lock

SEGMENT_SECONDS = 10.0
COLUMNS = {
    "fad": "Fréchet distance",
    "beat_f1_drums": "drums beat F1",
    "chord_tone_share": "chord tones",
    "phase_lock": "phase lock",
    "loudness_db": "level (dB)",
}
TIMED_BLOCKS, WARM_BLOCKS = 20, 8


@dataclass(frozen=True)
class LongSong:
    """A song that goes on for long, and what is known of it.

    Args:
        mix_N: all other stems.
        target_N: the true stem.
        category: its class index.
        name: of the song.
        annotations: beats and chords of the whole.
    """

    mix_N: Audio
    target_N: Audio
    category: int
    name: str
    annotations: Annotations


def looped(annotations: Annotations, seconds: float) -> Annotations:
    """Annotations of a stretch from one downbeat to another, repeated for so long."""
    start, stop = annotations.downbeats_seconds[0], annotations.downbeats_seconds[-1]
    once = annotations.excerpt(start, stop - start)
    shifts = [i * (stop - start) for i in range(int(seconds // (stop - start)) + 1)]
    beats, downbeats = (
        tuple(t + shift for shift in shifts for t in times if t + shift < seconds)
        for times in (once.beats_seconds, once.downbeats_seconds)
    )
    chords = [
        _later(chord, shift) for shift in shifts for chord in once.chords if chord.start_seconds + shift < seconds
    ]
    return Annotations(beats, downbeats, tuple(chords))


def _later(chord: Chord, seconds: float) -> Chord:
    return replace(chord, start_seconds=chord.start_seconds + seconds, end_seconds=chord.end_seconds + seconds)


def long_song(data: Slakh2100DataModule, excerpt: Excerpt, seconds: float) -> LongSong:
    """A song's stretch between its first and last downbeats, repeated."""
    spec = data.codec_spec
    reader = ExcerptReader(data.root, spec, spec.frames_in(excerpt.song.seconds), data.rule)
    annotations = reader.annotations(excerpt)
    if annotations is None or len(annotations.downbeats_seconds) < 2:
        raise UserError(f"the downbeats of {excerpt.song.name} are not known, so it cannot be repeated in time")
    audio = reader.read(excerpt)
    first, last = (round(annotations.downbeats_seconds[i] * spec.sample_rate_hz) for i in (0, -1))
    samples = round(seconds * spec.sample_rate_hz)
    mix_N, target_N = (np.resize(x_AN.mean(0)[first:last], samples) for x_AN in (audio.mix_AN, audio.target_AN))
    category = excerpt.song.stems[excerpt.target].category
    return LongSong(mix_N, target_N, category, excerpt.song.name, looped(annotations, seconds))


def long_songs(data: Slakh2100DataModule, count: int, seconds: float) -> list[LongSong]:
    """Of different songs first; the targets' categories take turns."""
    data.prepare_data()
    data.items["test"] = count
    data.setup("test")
    plan = data.test_dataloader().dataset.plan  # type: ignore[attr-defined]
    chosen = [item.excerpt for item in plan]
    whole = (Excerpt(e.song, e.target, e.others, 0, e.gains_db) for e in chosen)
    return [long_song(data, excerpt, seconds) for excerpt in tqdm(list(whole), desc="reading songs", leave=False)]


def loaded(checkpoint: str) -> tuple[Player, str]:
    """A model, and the beginning of the hash of its file, by which what was measured is kept.

    Args:
        checkpoint: a file, or the name of a bundled model.

    Raises:
        UserError: there is none, or it does not play.
    """
    return load_player(checkpoint), sha256_of(find_model(checkpoint))[:16]


def sampling(accompanist: Accompanist[Any], steps: int, guidance: float) -> LMDMAccompanist:
    """The same model, sampling in so many steps.

    Raises:
        UserError: it does not sample in steps, or its guidance was not trained.
    """
    if not isinstance(accompanist, LMDMAccompanist):
        raise UserError("this checkpoint does not sample in steps; play those of FlowMatching and what follows it")
    fewer = accompanist.with_sampler(replace(accompanist.sampler, steps=steps))  # type: ignore[type-var]
    return fewer.with_guidance(guidance)


@torch.inference_mode()
def performed(player: Player, accompanist: Accompanist[Any], songs: list[LongSong]) -> list[Audio]:
    """What a model plays to the songs, all of them at once."""
    mix_BAN = torch.from_numpy(np.stack([song.mix_N for song in songs]))[:, None]
    mix_BAN = mix_BAN.expand(-1, player.codec.spec.audio_channels, -1)
    samples, block = mix_BAN.shape[-1], accompanist.block_frames * player.codec.spec.hop_samples
    mix_BAN = torch.nn.functional.pad(mix_BAN, (0, -samples % block))
    seed_B = torch.tensor([zlib.crc32(song.name.encode()) for song in songs])
    controls = Controls(torch.tensor([song.category for song in songs]), seed_B)
    mix_BTC = torch.cat([player.codec.encode(x_BAN) for x_BAN in mix_BAN.split(1)])
    played_BTC = accompany(accompanist, mix_BTC, controls, player.silence_C)
    return [player.codec.decode(x_BTC)[0].mean(0).numpy()[:samples] for x_BTC in played_BTC.split(1)]


@torch.inference_mode()
def block_milliseconds(accompanist: Accompanist[Any]) -> float:
    """What a block of one stream takes, once the window is full (median)."""
    mix_BTC = torch.zeros(1, accompanist.block_frames, accompanist.spec.latent_channels)
    state = accompanist.init_state(1, Controls(torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)))
    times = []
    for _ in range(WARM_BLOCKS + TIMED_BLOCKS):
        start = time.perf_counter()
        _, state = accompanist.step(mix_BTC, state)
        times.append(1000 * (time.perf_counter() - start))
    return median(times[WARM_BLOCKS:])


class Judge:
    """Measures performances, stretch by stretch.

    Args:
        songs: what was accompanied.
        spec: gives the sample rate.
    """

    def __init__(self, songs: list[LongSong], spec: CodecSpec) -> None:
        self.songs, self.rate = songs, spec.sample_rate_hz
        self.embed, self.track = LogMel(), MadmomRNN()
        real = FrechetAudioDistance(self.embed.dimension)
        length = round(SEGMENT_SECONDS * self.rate)
        for song in songs:
            for start in range(0, len(song.target_N) - length + 1, length):
                real.update(self._embedded(song.target_N[start : start + length]), real=True)
        self.reference = real.reference(self.embed.identity, self.rate, SEGMENT_SECONDS)

    def __call__(self, stems: list[Audio]) -> dict[str, list[float]]:
        """Every metric of every stretch."""
        length = round(SEGMENT_SECONDS * self.rate)
        starts = range(0, len(stems[0]) - length + 1, length)
        segments = [self._segment([stem_N[i : i + length] for stem_N in stems], i) for i in starts]
        return {name: [segment[name] for segment in segments] for name in COLUMNS}

    def _segment(self, stems: list[Audio], start: int) -> dict[str, float]:
        scores: dict[str, list[float]] = {name: [] for name in COLUMNS}
        distance = FrechetAudioDistance(self.embed.dimension)
        distance.use_reference(self.reference)
        for song, stem_N in zip(self.songs, stems, strict=True):
            truth = song.annotations.excerpt(start / self.rate, SEGMENT_SECONDS)
            distance.update(self._embedded(stem_N), real=False)
            target_N = song.target_N[start : start + len(stem_N)]
            played, true = (onset_strength(torch.from_numpy(x.copy()), self.rate).numpy() for x in (stem_N, target_N))
            scores["phase_lock"].append(phase_lock(played, true, truth.beats_seconds))
            scores["loudness_db"].append(relative_level_db(stem_N, target_N, self.rate))
            if CATEGORIES[song.category] == "Percussive":
                beats = self.track([stem_N], self.rate)[0]
                scores["beat_f1_drums"].append(beat_f_measure(truth.beats_seconds, beats))
            else:
                scores["chord_tone_share"].append(chord_tone_share(stem_N, target_N, self.rate, truth.chords))
        means = {name: float(np.nanmean(values)) for name, values in scores.items() if values}
        return dict.fromkeys(COLUMNS, float("nan")) | means | {"fad": float(distance.compute().distance)}

    def _embedded(self, audio_N: Audio) -> Tensor:
        return self.embed(torch.from_numpy(np.ascontiguousarray(audio_N)), self.rate)


def summary(segments: dict[str, list[float]]) -> dict[str, Any]:
    """First stretch, drift, and all stretches."""
    half = len(next(iter(segments.values()))) // 2
    return {
        name: {
            "value": values[0],
            "drift": float(np.mean(values[half:]) - np.mean(values[:half])),
            "segments": values,
        }
        for name, values in segments.items()
    }


def kept(file: Path, measure: Callable[..., dict[str, Any]], *what: Any) -> dict[str, Any]:
    """What was measured before, or is now."""
    if not file.is_file():
        row = measure(*what)
        with atomic_path(file) as path:
            path.write_text(json.dumps(row), encoding="utf-8")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def songs_hash(songs: list[LongSong]) -> str:
    """Of what is heard, and of what it is measured against."""
    digest = hashlib.sha256()
    for song in songs:
        digest.update(song.mix_N.tobytes())
        digest.update(song.target_N.tobytes())
    return digest.hexdigest()[:16]


def measured_stems(judge: Judge, stems: list[Audio]) -> dict[str, Any]:
    """The row of recordings."""
    return summary(judge(stems))


def measured(judge: Judge, player: Player, accompanist: Accompanist[Any]) -> dict[str, Any]:
    """The row of a model."""
    return measured_stems(judge, performed(player, accompanist, judge.songs))


def costs(accompanist: Accompanist[Any]) -> dict[str, float]:
    """What a block costs."""
    block_ms = block_milliseconds(accompanist)
    duration_ms = 1000 * accompanist.spec.seconds_in(accompanist.block_frames)
    return {"block_ms": block_ms, "real_time_share": block_ms / duration_ms}


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Markdown: the first ten seconds, and the drift."""
    lines = [f"| row | {' | '.join(COLUMNS.values())} | ms per block |", "|---" * (len(COLUMNS) + 2) + "|"]
    for label, row in rows.items():
        cells = [f"{row[name]['value']:.2f} ({row[name]['drift']:+.2f})" for name in COLUMNS]
        cells = [cell.replace("-", "−") for cell in (*cells, f"{row.get('block_ms', float('nan')):.1f}")]
        lines.append(f"| {label} | {' | '.join(cells)} |".replace("nan", "–"))
    return "\n".join(lines)


def draw(rows: dict[str, dict[str, Any]], out: Path) -> None:
    """One chart per metric: a line per model, over time."""
    names = [name for name in COLUMNS if name != "loudness_db"]
    figure = Figure(figsize=(11, 7), layout="constrained")
    for axes, name in zip(figure.subplots(2, 2).flat, names, strict=True):
        for label, row in rows.items():
            values = row[name]["segments"]
            seconds = SEGMENT_SECONDS * (np.arange(len(values)) + 0.5)
            axes.plot(seconds, values, marker=".", label=label, linestyle="-" if "block_ms" in row else ":")
        axes.set(title=COLUMNS[name], xlabel="seconds since the start")
        axes.grid(alpha=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(out, dpi=110)


def main() -> None:
    """Print the table and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--play",
        nargs=4,
        action="append",
        default=[],
        metavar=("LABEL", "CHECKPOINT", "STEPS", "GUIDANCE"),
        help="a row: what plays, and how many steps it samples in, under how much guidance (1 = none)",
    )
    parser.add_argument(
        "--as-is",
        nargs=2,
        action="append",
        default=[],
        metavar=("LABEL", "CHECKPOINT"),
        help="a row: what plays as it is, such as a LiveBand, which does not sample in steps",
    )
    parser.add_argument("--root", default="data/quickstart", help="data set")
    parser.add_argument("--targets", nargs="+", default=["Percussive", "Piano"], help="categories that are played")
    parser.add_argument("--songs", type=int, default=16, help="items")
    parser.add_argument("--seconds", type=float, default=120.0, help="of each, at least 20")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of items")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of PyTorch")
    parser.add_argument(
        "--folder", type=Path, default="runs/error_accumulation", help="where what was measured is kept"
    )
    parser.add_argument("--plot", type=Path, help="where to draw the curves (PNG)")
    parser.add_argument("--markdown", type=Path, help="where to write the table")
    given = parser.parse_args()
    plays = [*given.play, *([label, checkpoint, None, None] for label, checkpoint in given.as_is)]
    if not plays:
        parser.error("name what plays, with --play or --as-is")
    torch.set_num_threads(given.threads)
    codec = load_player(plays[0][1]).codec
    data = Slakh2100DataModule(given.root, codec, targets=given.targets, full_mix=True, seed=given.seed)
    songs = long_songs(data, given.songs, given.seconds)
    judge, true, prefix = Judge(songs, codec.spec), [song.target_N for song in songs], songs_hash(songs)
    # Items alternate between categories: the song after the next has the same instrument.
    stems = {"true stem": true, "true stem of another song": true[2:] + true[:2]}
    rows = {}
    for label, audio in stems.items():
        rows[label] = kept(given.folder / f"{prefix} {label}.json", measured_stems, judge, audio)
    for label, checkpoint, steps, guidance in tqdm(plays, desc="models"):
        player, weights = loaded(checkpoint)
        as_is = steps is None
        accompanist = player.accompanist if as_is else sampling(player.accompanist, int(steps), float(guidance))
        file = given.folder / f"{prefix} {weights} {'as it is' if as_is else f'{steps} {guidance}'}.json"
        rows[label] = kept(file, measured, judge, player, accompanist) | costs(accompanist)
        tqdm.write(f"{label}: {json.dumps({column: round(rows[label][column]['drift'], 3) for column in COLUMNS})}")
    print(table(rows))
    if given.markdown:
        given.markdown.write_text(table(rows) + "\n", encoding="utf-8")
    if given.plot:
        draw(rows, given.plot)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
