"""What weights of guidance do: `python -m benchmarks.guidance_weights --guidance mix=1 mix=2 mix=2,prompt=3`.

A diffusion model plays drums and piano to songs of the test split without either, from silence, under every given
setting of its weights; controls that a setting does not name keep the model's own. With `--negative`, the prompt leads
away from the other of the two instruments. Several `--rescale` are measured with every setting. Per instrument:

| column | meaning |
|---|---|
| sounds like it | share of the blocks that sound in which a linear classifier hears the instrument that was asked for |
| phase lock | of the onsets, on the true beats |
| chord tones | share of the piano's energy on tones of the true chords |
| level | against the true stem, in dB |

The classifier is that of `benchmarks.duets`, fitted on true stems of the training split; its accuracy on
true stems of these songs is stated, and the true stems are rows of their own. Intervals are of 95 %, by leaving songs
out. `trained` is the share of the training windows that were like the rarest side of a setting: settings that playing
refuses, because it is too small, are measured all the same. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.cutoff_sweep import model_of
from benchmarks.duets import Classifier, Duet, duets, features, fitted, sounding
from benchmarks.prompt_transitions import cell
from datamodules import Slakh2100DataModule
from livejam.accompanist import Controls, Weights, accompany
from livejam.batch import CATEGORIES
from livejam.checkpoints.player import Player
from livejam.sampling import read_weights, weights_text
from livejam.streaming.rings import Audio
from livejam.systems.lmdm import LMDMAccompanist
from metrics.harmony import chord_tone_share
from metrics.loudness import relative_level_db
from metrics.phase_lock import onset_strength, phase_lock

NAMES = ("Percussive", "Piano")
WORDS = ("drums", "piano")
CLASSIFIED_SECONDS = 0.74

Cells = Mapping[str, Mapping[str, Any]]


def weighted(who: LMDMAccompanist, weights: Weights, rescale: float) -> LMDMAccompanist:
    """The same model under these weights, trained for or not, and with this share of `livejam.sampling.rescaled`."""
    changed = {**who.weights, **weights} if isinstance(weights, Mapping) else weights
    return who.with_sampler(who.sampler.with_guidance(changed).with_rescale(rescale))


def trained(who: LMDMAccompanist) -> float | None:
    """Share of the training windows that were like the rarest of its sides."""
    shares = [who.trained_share(side) for side in who.sides]
    known = [share for share in shares if share is not None]
    return min(known) if known else None


@torch.inference_mode()
def performed(player: Player, who: LMDMAccompanist, songs: Sequence[Duet], place: int, negative: bool) -> list[Audio]:
    """What a model plays to the songs as one of the two instruments, all at once."""
    codec, block = player.codec, who.block_frames * player.codec.spec.hop_samples
    mix_BAN = torch.from_numpy(np.stack([song.mix_N for song in songs]))[:, None]
    mix_BAN = torch.nn.functional.pad(mix_BAN, (0, -mix_BAN.shape[-1] % block))
    mix_BTC = torch.cat([codec.encode(x.expand(-1, codec.spec.audio_channels, -1)) for x in mix_BAN.split(1)])
    seed_B = torch.tensor([zlib.crc32(song.stems[place].name.encode()) for song in songs])
    instrument_B = torch.full_like(seed_B, CATEGORIES.index(NAMES[place]))
    avoided = (WORDS[1 - place],) * len(songs) if negative else None
    controls = Controls(instrument_B, seed_B, (WORDS[place],) * len(songs), negative_prompt=avoided)
    played_BTC = accompany(who, mix_BTC, controls, player.silence_C)
    return [codec.decode(x_BTC)[0].mean(0).numpy()[: len(songs[0].mix_N)] for x_BTC in played_BTC.split(1)]


class Judge:
    """Measures what was played to songs.

    Args:
        classifier: between both instruments.
        songs: what was played to.
        rate: samples per second.
    """

    def __init__(self, classifier: Classifier, songs: Sequence[Duet], rate: int) -> None:
        self.classifier, self.songs, self.rate = classifier, songs, rate
        self.block = round(CLASSIFIED_SECONDS * rate)

    def like(self, audio_N: Audio, place: int) -> float:
        """Share of the blocks that sound in which it is taken for an instrument; NaN if none sounds."""
        new_K = self.classifier.is_new(features(audio_N, self.block, self.rate))[sounding(audio_N, self.block)]
        return float((new_K == bool(place)).mean()) if len(new_K) else math.nan

    def __call__(self, sounds: Sequence[Audio], place: int) -> Cells:
        """Column → number with its interval."""
        found: dict[str, list[float]] = {"sounds like it": [], "phase lock": [], "chord tones": [], "level": []}
        for song, audio_N in zip(self.songs, sounds, strict=True):
            true = song.stems[place]
            onsets = [onset_strength(torch.from_numpy(x.copy()), self.rate).numpy() for x in (audio_N, true.target_N)]
            found["sounds like it"].append(self.like(audio_N, place))
            found["phase lock"].append(phase_lock(onsets[0], onsets[1], true.annotations.beats_seconds))
            found["level"].append(relative_level_db(audio_N, true.target_N, self.rate))
            chords = true.annotations.chords
            pitched = NAMES[place] != "Percussive"
            found["chord tones"].append(
                chord_tone_share(audio_N, true.target_N, self.rate, chords) if pitched else math.nan
            )
        return {name: cell(values) for name, values in found.items()}


def line(name: str, cells: Cells, share: float | None) -> str:
    """A row of the table."""
    shown = []
    for column in cells.values():
        value, interval = column["value"], column["interval"]
        around = "" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]"
        shown.append("–" if value is None else f"{value:.2f}{around}")
    trained = "–" if share is None else f"{100 * share:.1f} %"
    return f"| {name} | {' | '.join(shown)} | {trained} |".replace("-", "−")


def main() -> None:
    """Print the table and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="lmdm-pocket", help="a diffusion model (default: lmdm-pocket)")
    parser.add_argument("--root", default="data/quickstart", help="data set (default: data/quickstart)")
    parser.add_argument("--guidance", nargs="+", default=["1"], metavar="W", help="settings, as for livejam play")
    parser.add_argument("--rescale", type=float, nargs="+", default=[0.0], help="shares of the level (default: 0)")
    parser.add_argument("--negative", action="store_true", help="lead away from the other instrument")
    parser.add_argument("--songs", type=int, default=12, help="of the test split, at least 2 (default: 12)")
    parser.add_argument("--seconds", type=float, default=16.0, help="of each, at least 4 (default: 16)")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch, at least 1 (default: 1)")
    given = parser.parse_args()
    if given.songs < 2 or given.threads < 1 or given.seconds < 4:
        parser.error("songs must be 2 or more, threads 1 or more, seconds 4 or more")
    torch.set_num_threads(given.threads)
    model = model_of(given.checkpoint)
    rate = model.player.codec.spec.sample_rate_hz
    data = Slakh2100DataModule(given.root, model.player.codec, mode="audio", full_mix=True)
    data.prepare_data()
    block = round(CLASSIFIED_SECONDS * rate)
    classifier = Classifier(*fitted(duets(data, "train", NAMES, 24, given.seconds), block, rate))
    songs = duets(data, "test", NAMES, given.songs, given.seconds)
    judge = Judge(classifier, songs, rate)
    rows: dict[str, tuple[Cells, float | None]] = {}
    print("| instrument, weights | sounds like it | phase lock | chord tones | level | trained |\n" + "|---" * 6 + "|")
    for place, word in enumerate(WORDS):
        rows[f"{word}: true stem"] = judge([song.stems[place].target_N for song in songs], place), None
        print(line(f"{word}: true stem", *rows[f"{word}: true stem"]))
    for text, share in tqdm(list(itertools.product(given.guidance, given.rescale)), desc="settings"):
        who = weighted(model.accompanist, read_weights(text), share)
        for place, word in enumerate(WORDS):
            name = f"{word}: {weights_text(who.weights)}" + (", negative" if given.negative else "")
            name += f", rescale {share:g}" if share else ""
            rows[name] = judge(performed(model.player, who, songs, place, given.negative), place), trained(who)
            print(line(name, *rows[name]), flush=True)
    print(json.dumps({"rows": rows, "songs": len(songs), "settings": vars(given), "sha256": model.sha256}))


if __name__ == "__main__":
    main()
