"""What it brings a band that its players hear each other: `python -m benchmarks.band`.

Drums, bass and piano play together to what is left of songs of the test split without these instruments: a thinner mix
than any of them needs. As soloists each hears that mix alone, as a band also the others. The last line is one JSON
object, per measure: the mean of soloists and of the band over songs, and their difference with its 95 % interval
(jackknife over songs, paired). Measures: beat F1 of the drums and chord tones of bass and piano against the song's
annotations, COCOLA of the whole band with the mix, and of every row with the sum of the others.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

import livejam
from benchmarks.error_accumulation import LongSong, long_song
from datamodules import Slakh2100DataModule
from datamodules.excerpts import Excerpt
from livejam.batch import CATEGORIES
from livejam.checkpoints.player import Player
from livejam.streaming import Session
from livejam.streaming.rings import Audio
from metrics.beats import MadmomRNN, beat_f_measure
from metrics.cocola_score import cocola_score
from metrics.cocola_weights import pretrained_cocola
from metrics.harmony import chord_tone_share
from metrics.intervals import jackknife_interval

ROWS = ("Percussive", "Bass", "Piano")
CLIP_SECONDS = 10.0


@dataclass(frozen=True)
class BandSong:
    """A song without the band's instruments, and the true stems of these that it has, by row."""

    mix_N: Audio
    stems: dict[int, LongSong]
    name: str

    @property
    def any_stem(self) -> LongSong:
        return next(iter(self.stems.values()))


def band_songs(data: Slakh2100DataModule, count: int, seconds: float) -> list[BandSong]:
    """Songs of the test split that have drums, and something besides the band's instruments."""
    data.prepare_data()
    data.setup("test")
    plan = data.test_dataloader().dataset.plan  # type: ignore[attr-defined]
    songs = {item.excerpt.song.name: item.excerpt.song for item in plan}
    found: list[BandSong] = []
    for song in tqdm(songs.values(), desc="reading songs", leave=False):
        names = [CATEGORIES[stem.category] for stem in song.stems]
        rest = tuple(place for place, name in enumerate(names) if name not in ROWS)
        if not rest or "Percussive" not in names or len(found) == count:
            continue
        stems = {
            row: long_song(data, Excerpt(song, names.index(name), rest, 0, (0.0,) * (1 + len(rest))), seconds)
            for row, name in enumerate(ROWS)
            if name in names
        }
        found.append(BandSong(stems[0].mix_N, stems, song.name))
    return found


class Jury:
    """Measures what a band played to a song."""

    def __init__(self, rate: int) -> None:
        self.rate, self.track, self.cocola = rate, MadmomRNN(), pretrained_cocola().eval()

    def __call__(self, song: BandSong, played_RN: Audio) -> dict[str, float]:
        """Every measure, the mean over the song's clips."""
        length = round(CLIP_SECONDS * self.rate)
        clips = [self._clip(song, played_RN, start, length) for start in range(0, len(song.mix_N) - length + 1, length)]
        return {name: float(np.nanmean([clip.get(name, np.nan) for clip in clips])) for name in clips[0]}

    def _clip(self, song: BandSong, played_RN: Audio, start: int, length: int) -> dict[str, float]:
        part = slice(start, start + length)
        truth = song.any_stem.annotations.excerpt(start / self.rate, CLIP_SECONDS)
        clip_RN, mix_N = np.ascontiguousarray(played_RN[:, part]), song.mix_N[part]
        scores = {"drums beat F1": beat_f_measure(truth.beats_seconds, self.track([clip_RN[0]], self.rate)[0])}
        for row, stem in song.stems.items():
            if row:
                target_N = stem.target_N[part]
                share = chord_tone_share(clip_RN[row], target_N, self.rate, truth.chords)
                scores[f"{ROWS[row].lower()} chord tones"] = share
        scores["COCOLA with the mix"] = self._coherence(mix_N, clip_RN.sum(0))
        others = [self._coherence(clip_RN.sum(0) - row_N, row_N) for row_N in clip_RN]
        scores["COCOLA with each other"] = float(np.mean(others))
        return scores

    def _coherence(self, one_N: Audio, other_N: Audio) -> float:
        one, other = (torch.from_numpy(np.ascontiguousarray(x_N)) for x_N in (one_N, other_N))
        return cocola_score(self.cocola, one, other, self.rate)["full"]


def played(player: Player, song: BandSong, listening: bool, seed: int) -> Audio:
    """All rows."""
    session = Session(player, channels=1, instruments=ROWS, seeds=range(seed, seed + 3), hear_each_other=listening)
    rows: Audio = session.process_rows(torch.from_numpy(song.mix_N)[None])[:, 0].numpy()
    return rows


def compared(soloists: list[dict[str, float]], band: list[dict[str, float]]) -> dict[str, dict[str, object]]:
    """Per measure: both means, and the paired difference with its interval."""
    table: dict[str, dict[str, object]] = {}
    for name in sorted({name for song in soloists for name in song}):
        pairs = np.array([(one[name], two[name]) for one, two in zip(soloists, band, strict=True) if name in one])
        pairs = pairs[np.isfinite(pairs).all(axis=1)]
        gain_U = pairs[:, 1] - pairs[:, 0]
        left_out_U = np.array([np.delete(gain_U, place).mean() for place in range(len(gain_U))])
        low, high = jackknife_interval(float(gain_U.mean()), left_out_U)
        table[name] = {
            "soloists": round(float(pairs[:, 0].mean()), 3),
            "band": round(float(pairs[:, 1].mean()), 3),
            "difference": round(float(gain_U.mean()), 3),
            "interval": [round(low, 3), round(high, 3)],
            "songs": len(pairs),
        }
    return table


def main() -> None:
    """Print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="liveband-pocket", help="what plays")
    parser.add_argument("--root", default="data/quickstart", help="data set")
    parser.add_argument("--songs", type=int, default=20)
    parser.add_argument("--song-seconds", type=float, default=30.0)
    given = parser.parse_args()
    player = livejam.load(given.checkpoint)
    data = Slakh2100DataModule(given.root, player.codec, mode="audio", full_mix=True, seed=1, eval_items=200)
    songs = band_songs(data, given.songs, given.song_seconds)
    jury = Jury(player.codec.spec.sample_rate_hz)
    scores = [
        [jury(song, played(player, song, listening, 10 * seed)) for listening in (False, True)]
        for seed, song in enumerate(tqdm(songs, desc="playing", leave=False))
    ]
    table = compared(*(list(side) for side in zip(*scores, strict=True)))
    for name, entry in table.items():
        print(name, entry)
    print(json.dumps(table))


if __name__ == "__main__":
    main()
