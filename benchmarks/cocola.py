"""What COCOLA hears in stems that belong to a mix, that come half a beat late, and that belong to other songs; in an
echo of the mix, and in white noise.

  python -m benchmarks.cocola --root data/pocket_slakh --json cocola.json

Items are those of the test split, in segments of ten seconds. Intervals are over songs (95 %, `metrics.intervals`).

Shapes: I items, P parts, W windows, D width.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from datamodules import Slakh2100DataModule
from lightning_modules.spectrogram_latents import SpectrogramLatents
from livejam.batch import CATEGORIES, AccompanimentBatch
from metrics.cocola import PARTS, Cocola, masked
from metrics.cocola_score import area_under_curve, windows_of
from metrics.cocola_spectrogram import SAMPLE_RATE_HZ, harmonic_percussive_db, relative_db
from metrics.cocola_weights import pretrained_cocola
from metrics.intervals import jackknife_interval

SEGMENT_SECONDS = 10
KINDS = ("true", "late", "foreign", "echo", "noise")


@dataclass(frozen=True)
class Segment:
    """Spectrograms of a mix, its stem, and the stem half a beat late, levels_W2FT each."""

    song: str
    category: int
    mix: Tensor
    true: Tensor
    late: Tensor


def segments_of(batch: AccompanimentBatch) -> list[Segment]:
    """Two segments of ten seconds of every item; beyond them it has the second that a late stem needs."""
    return [segment for index in range(len(batch)) for segment in _segments(batch, index)]


def _segments(batch: AccompanimentBatch, index: int) -> list[Segment]:
    annotations = batch.annotations[index]
    beats_seconds = np.diff(annotations.beats_seconds) if annotations is not None else np.array([0.5])
    late = round(float(np.median(beats_seconds)) / 2 * SAMPLE_RATE_HZ)
    length = SEGMENT_SECONDS * SAMPLE_RATE_HZ
    mix_N, target_N = batch.mix[index, 0], batch.target[index, 0]
    return [
        Segment(
            batch.song[index],
            int(batch.instrument_B[index]),
            _levels(mix_N[start:][:length]),
            _levels(target_N[start:][:length]),
            _levels(target_N[start + late :][:length]),
        )
        for start in (0, length)
    ]


def _levels(audio_N: Tensor) -> Tensor:
    return relative_db(harmonic_percussive_db(windows_of(audio_N))).half()


def scores(cocola: Cocola, segments: list[Segment]) -> dict[str, dict[str, Tensor]]:
    """Per part: score_I of true and late stems, an echo and noise, score_II of every mix with every stem."""
    found = {}
    noise_N = torch.randn(SEGMENT_SECONDS * SAMPLE_RATE_HZ, generator=torch.Generator().manual_seed(0))
    noise_W2FT = _levels(noise_N).float()
    for part in PARTS:
        mix_IWD, true_IWD, late_IWD = (
            torch.stack([cocola.embed(masked(getattr(segment, kind).float(), part)) for segment in segments])
            for kind in ("mix", "true", "late")
        )
        heard_IWD, windows = mix_IWD @ cocola.similarity.w, mix_IWD.shape[1]
        every_II = torch.einsum("iwd,jwd->ij", heard_IWD, true_IWD) / windows
        late_I = torch.einsum("iwd,iwd->i", heard_IWD, late_IWD) / windows
        echo_I = torch.einsum("iwd,iwd->i", heard_IWD, mix_IWD) / windows
        noise_I = torch.einsum("iwd,wd->i", heard_IWD, cocola.embed(masked(noise_W2FT, part))) / windows
        found[part] = {"true": every_II.diagonal(), "late": late_I, "every": every_II, "echo": echo_I, "noise": noise_I}
    return found


def statistics(found: dict[str, Tensor], songs: list[str], chosen: NDArray[np.int64]) -> dict[str, float]:
    """Means and areas over the chosen segments; foreign stems are of other songs, and chosen too."""
    names = np.array(songs)[chosen]
    scored = {kind: found[kind][chosen] for kind in KINDS if kind in found}
    scored["foreign"] = found["every"][chosen][:, chosen][torch.from_numpy(names[:, None] != names[None])]
    means = {kind: float(scored[kind].mean()) for kind in KINDS}
    return {
        **means,
        "true_minus_late": means["true"] - means["late"],
        "late_minus_foreign": means["late"] - means["foreign"],
        **{f"auc_{kind}": area_under_curve(scored["true"], scored[kind]) for kind in KINDS[1:]},
    }


def with_intervals(found: dict[str, Tensor], songs: list[str]) -> dict[str, dict[str, float]]:
    """Every number and the interval in which it would lie, had other songs been drawn."""
    names = np.array(songs)
    whole = statistics(found, songs, np.arange(len(songs)))
    left_out = [statistics(found, songs, np.flatnonzero(names != song)) for song in sorted(set(songs))]
    intervals = {
        name: jackknife_interval(value, np.array([d[name] for d in left_out])) for name, value in whole.items()
    }
    return {name: {"value": value, **intervals[name]._asdict()} for name, value in whole.items()}


def by_instrument(found: dict[str, Tensor], segments: list[Segment]) -> dict[str, dict[str, float]]:
    """Means and areas per category of the stem; foreign stems are of the same category."""
    songs, categories = [s.song for s in segments], np.array([s.category for s in segments])
    rows = {}
    for category in np.unique(categories):
        chosen = np.flatnonzero(categories == category)
        if len({songs[i] for i in chosen}) > 1:
            rows[CATEGORIES[category]] = {**statistics(found, songs, chosen), "segments": len(chosen)}
    return rows


def silence(cocola: Cocola, segments: list[Segment]) -> dict[str, float]:
    """Mean score of a silent stem."""
    nothing = [Segment(s.song, s.category, s.mix, torch.zeros_like(s.true), torch.zeros_like(s.late)) for s in segments]
    return {part: float(values["true"].mean()) for part, values in scores(cocola, nothing).items()}


@torch.no_grad()
def evaluate(weights: str, segments: list[Segment]) -> dict[str, Any]:
    """All numbers of one network."""
    cocola = pretrained_cocola(weights)
    found, songs = scores(cocola, segments), [segment.song for segment in segments]
    return {
        "songs": len(set(songs)),
        "segments": len(segments),
        "parts": {part: with_intervals(values, songs) for part, values in found.items()},
        "silence": silence(cocola, segments),
        "instruments": by_instrument(found["full"], segments),
    }


def milliseconds() -> dict[str, float]:
    """Time for five seconds of one recording on this machine: spectrograms, and the bundled network on three parts."""
    audio_BN, cocola = torch.randn(1, 5 * SAMPLE_RATE_HZ), pretrained_cocola()
    levels = relative_db(harmonic_percussive_db(audio_BN))
    tasks = {
        "spectrogram": lambda: harmonic_percussive_db(audio_BN),
        "network": lambda: [cocola.embed(masked(levels, part)) for part in PARTS],
    }
    return {name: 1e3 * min(_seconds(task) for _ in range(7)) for name, task in tasks.items()}


def _seconds(task: Any) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def main() -> None:
    """Print the table as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data/pocket_slakh", help="a data set in Slakh's format")
    parser.add_argument("--items", type=int, default=48, help="test items of 20 s")
    parser.add_argument("--weights", nargs="+", default=["pocket"], help="as in metrics.cocola_weights")
    parser.add_argument("--json", type=Path, help="where the numbers are written")
    options = parser.parse_args()
    data = Slakh2100DataModule(
        options.root, SpectrogramLatents(), mode="audio", eval_seconds=2 * SEGMENT_SECONDS + 1, test_items=options.items
    )
    data.setup("test")
    segments = [segment for batch in tqdm(data.test_dataloader(), desc="batches") for segment in segments_of(batch)]
    result = {name: evaluate(name, segments) for name in options.weights} | {"milliseconds": milliseconds()}
    text = json.dumps(result, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
