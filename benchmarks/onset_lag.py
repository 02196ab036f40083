"""Whether a model plays ahead, or late by what it ought to play ahead: does it predict the beat, or react to it?

python -m benchmarks.onset_lag --checkpoint liveband-wide --root data/quickstart --anticipations 0 1 2 11

Beat F1 of a player who is always a tenth of a second late is below chance, as that of one who has no beat is. Here the
onset strength of what is played to the test items is compared with that of the true stems, moved by up to 0.4 s. A row
is an anticipation of the model; *lag* is by how many milliseconds what it plays comes late where both agree best,
*best* the correlation there, *in time* that without moving. A lag near 0 is a model that predicts. One that reacts has
learnt what to play once it has heard the strokes, and its lag grows by a frame with every frame that it is asked to be
ahead. Brackets are 95 % intervals over songs (bootstrap). The last line is one JSON object: the rows, and the settings.

Shapes: B items, T frames of 10 ms, L lags, S songs, N audio samples, C latent channels.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

import livejam
from datamodules import Slakh2100DataModule
from livejam.accompanist import Controls, accompany
from livejam.batch import CATEGORIES, AccompanimentBatch
from livejam.checkpoints.player import Player
from livejam.errors import UserError
from metrics.phase_lock import FRAME_SECONDS, onset_strength

MOST_FRAMES = 40
"""Furthest lag either way. Half a beat of slow music is further, so the nearest agreement wins in most songs."""

Floats = NDArray[np.float64]


def agreement(played_T: Floats, true_T: Floats, most_frames: int = MOST_FRAMES) -> Floats:
    """Correlation of two onset strengths of equal length, correlation_L, from early to late.

    Args:
        played_T: of what is played, longer than most_frames.
        true_T: of the true stem.
        most_frames: furthest lag either way.

    Returns:
        −1 to 1 each; 0 where either of them never changes.
    """
    played_T, true_T = played_T - played_T.mean(), true_T - true_T.mean()
    scale = float(np.linalg.norm(played_T) * np.linalg.norm(true_T))
    moved = (
        played_T[max(0, lag) : len(played_T) + min(0, lag)] @ true_T[max(0, -lag) : len(true_T) - max(0, lag)]
        for lag in range(-most_frames, most_frames + 1)
    )
    return np.array(list(moved)) / scale if scale > 0 else np.zeros(2 * most_frames + 1)


def lag_ms(curve_L: Floats) -> float:
    """Where a curve of `agreement` is highest, in milliseconds; above 0 is late."""
    return float(np.argmax(curve_L) - len(curve_L) // 2) * FRAME_SECONDS * 1000


def row_of(curves_SL: Floats, draws: int = 1000) -> dict[str, dict[str, Any]]:
    """Lag, best correlation and that in time of the mean over songs, with 95 % intervals over songs.

    Songs are drawn again and again, as the place of a maximum jumps, for which the jackknife is no good.
    """
    columns = {
        "lag": lag_ms,
        "best": lambda curve_L: float(curve_L.max()),
        "in time": lambda c_L: float(c_L[len(c_L) // 2]),
    }
    songs, rng = len(curves_SL), np.random.default_rng(0)
    means_DL = [curves_SL[rng.integers(songs, size=songs)].mean(axis=0) for _ in range(draws)]
    row = {}
    for name, column in columns.items():
        interval = np.percentile([column(mean_L) for mean_L in means_DL], (2.5, 97.5))
        row[name] = {"value": column(curves_SL.mean(axis=0)), "interval": interval.tolist(), "songs": songs}
    return row


@torch.inference_mode()
def curves_of(
    player: Player, anticipations: Sequence[int], batch: AccompanimentBatch
) -> Iterator[tuple[int, str, Floats]]:
    """Anticipation, song and curve of every item at every anticipation."""
    rate, block = player.codec.spec.sample_rate_hz, player.accompanist.block_frames
    mix_BTC = player.codec.encode(batch.mix)
    mix_BTC = mix_BTC[:, : mix_BTC.shape[1] // block * block]
    seed_B = torch.tensor([zlib.crc32(song.encode()) for song in batch.song])
    for frames in anticipations:
        band = player.accompanist.with_anticipation(frames)
        played_BTC = accompany(band, mix_BTC, Controls(batch.instrument_B, seed_B), player.silence_C)
        for song, played_TC, true_AN in zip(batch.song, played_BTC, batch.target, strict=True):
            played_N, true_N = player.codec.decode(played_TC[None])[0].mean(dim=0), true_AN.mean(dim=0)
            samples = min(len(played_N), len(true_N))
            played_T, true_T = (onset_strength(x_N[:samples], rate).double().numpy() for x_N in (played_N, true_N))
            yield frames, song, agreement(played_T, true_T)


def measured(
    player: Player, root: str, instrument: str, items: int, anticipations: Sequence[int]
) -> dict[int, dict[str, dict[str, Any]]]:
    """Anticipation → row.

    Raises:
        UserError: the model did not learn one of the anticipations, or does not play the instrument.
    """
    learnt = player.accompanist.anticipations
    if wrong := [frames for frames in anticipations if frames not in learnt]:
        raise UserError(f"the model plays {learnt.start} to {learnt.stop - 1} frames ahead, not {wrong[0]}")
    if player.instruments and instrument not in player.instruments:
        raise UserError(
            f"the model plays {', '.join(player.instruments)}, not {instrument}; name one with --instrument"
        )
    data = Slakh2100DataModule(root, player.codec, targets=[instrument], test_items=items)
    data.setup("test")
    found: dict[int, dict[str, list[Floats]]] = {frames: defaultdict(list) for frames in anticipations}
    for batch in tqdm(data.test_dataloader(), desc=root):
        for frames, song, curve_L in curves_of(player, anticipations, batch):
            found[frames][song].append(curve_L)
    return {
        frames: row_of(np.array([np.mean(curves, axis=0) for curves in songs.values()]))
        for frames, songs in found.items()
    }


def main() -> None:
    """Print the table and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="liveband-wide", help="a model's name or file (default: liveband-wide)")
    parser.add_argument("--root", default="data/quickstart", help="a data set with songs for test")
    parser.add_argument("--instrument", default="Percussive", choices=CATEGORIES, help="default: Percussive, drums")
    parser.add_argument("--items", type=int, default=24, help="at least 1 (default: 24)")
    parser.add_argument("--anticipations", type=int, nargs="+", help="in frames; default: the model's own")
    given = parser.parse_args()
    if given.items < 1:
        parser.error("--items must be 1 or more")
    player = livejam.load(given.checkpoint)
    anticipations = given.anticipations or [player.accompanist.anticipation_frames]
    rows = measured(player, given.root, given.instrument, given.items, anticipations)
    print("| frames ahead | lag (ms) | best | in time |\n|---|---|---|---|")
    for frames, row in rows.items():
        (low, high), lag = row["lag"]["interval"], row["lag"]["value"]
        others = (
            f"{row[n]['value']:.2f} ({row[n]['interval'][0]:.2f} … {row[n]['interval'][1]:.2f})"
            for n in ("best", "in time")
        )
        print(f"| {frames} | {lag:.0f} ({low:.0f} … {high:.0f}) | {' | '.join(others)} |")
    print(json.dumps({"rows": rows, "settings": vars(given)}))


if __name__ == "__main__":
    main()
