"""How well the beat of songs can be heard at all: what a good tracker makes of the music that a drummer plays to.

python -m benchmarks.heard_beats --root data/held_out --root data/songs_wide

madmom's tracker, which hears all of an excerpt at once and was trained on other people's music, is given what a model
would hear of the test items, the mix without drums, and the true drums. Its beats are compared with those of the score:
F-measure within 70 ms, with 95 % intervals over songs. A model that plays as the music comes knows less than this
tracker; its own drums' beat F1 (`lightning test`) is found by the same tracker, so that of the true drums is what is
lost by tracking alone.

| row | is tracked |
|---|---|
| mix | what the model hears: the song without its drums |
| mix and drums | the song |
| true drums | what it should play |
| another song's drums | what is right by chance |

With `--checkpoint`, a LiveBand that learnt to hear the beat (configs/overlays/hear_beats.yaml) is asked as well. It
hears the mix as it comes, as a drummer of its anticipation; the row `mix, heard by the model` has the beats at which
its hand passes the top, and the mean cosine between its hand and the true one: 1 = right, 0 = chance.

The last line is one JSON object: rows per data set, and the settings.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.sketch_adherence import Agreement, table, text
from datamodules import Slakh2100DataModule
from datamodules.bank_beats import beats_until
from livejam.batch import CATEGORIES, AccompanimentBatch, Annotations
from livejam.checkpoints.player import load_player
from livejam.checkpoints.published import read_model
from livejam.codecs.codec import Codec
from livejam.codecs.pretrained import pretrained_codec
from livejam.errors import UserError
from livejam.networks import CausalTransformer
from livejam.noise import seeded_noise
from livejam.spec import LatentStatistics
from livejam.systems.liveband import LiveBandAccompanist
from metrics.beat_tracking import BeatTracker
from metrics.beats import MadmomRNN, beat_f_measure

DRUMS = "Percussive"
FEWEST_BEATS = 4
"""Items with fewer beats say nothing."""


Phases = NDArray[np.float64]
"""Angles of a hand that turns once per beat, one per latent frame, in radians."""


@dataclass(frozen=True)
class Listener:
    """A LiveBand that learnt to hear the beat.

    Args:
        generator: plays `anticipation_frames` ahead.
        project: tells the hand from its hidden states, as in `BeatListening`.
        codec: gives its latents.
        statistics: of the latents.
        anticipation_frames: δ.
    """

    generator: CausalTransformer
    project: nn.Linear
    codec: Codec
    statistics: LatentStatistics
    anticipation_frames: int

    @classmethod
    def of(cls, checkpoint: str) -> Listener:
        """That of a training; a published model does not keep what it heard with.

        Raises:
            UserError: it did not learn that.
        """
        player, weights = load_player(checkpoint), read_model(checkpoint)["state_dict"]
        band = player.accompanist
        if not isinstance(band, LiveBandAccompanist) or "beat.project.weight" not in weights:
            raise UserError(
                f"{checkpoint} did not learn to hear the beat; name a checkpoint of a training with "
                "configs/overlays/hear_beats.yaml"
            )
        project = nn.Linear(band.generator.norm.width, 2)
        project.load_state_dict({name: weights[f"beat.project.{name}"] for name in ("weight", "bias")})
        return cls(band.generator, project, player.codec, band.statistics, band.anticipation_frames)

    @torch.inference_mode()
    def __call__(self, audio_BAN: Tensor) -> tuple[Phases, NDArray[np.float64]]:
        """What it hears in a mix as it plays drums: a hand per item and step (BT), and when its output sounds."""
        mix_BTC = self.statistics.normalise(self.codec.encode(audio_BAN))
        items, frames, _ = mix_BTC.shape
        instrument_B = torch.full((items,), CATEGORIES.index(DRUMS))
        hidden_BTD = self.generator.hidden(
            seeded_noise(torch.arange(items), torch.arange(frames).expand(items, -1), self.generator.noise_channels),
            mix_BTC,
            instrument_B,
            torch.full_like(instrument_B, self.anticipation_frames) if self.generator.anticipations else None,
        )
        found_BT2 = self.project(hidden_BTD).double()
        times_T = (np.arange(frames) + 1 + self.anticipation_frames + 0.5) * self.codec.spec.frame_seconds
        return torch.atan2(found_BT2[..., 1], found_BT2[..., 0]).numpy(), times_T


def beats_of(hand_T: Phases, times_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """The times at which a hand passes the top, in seconds; where it shakes about it, the first."""
    turns_T = np.maximum.accumulate(np.unwrap(hand_T)) / (2 * np.pi)
    return np.interp(np.arange(np.ceil(turns_T[0]), turns_T[-1]), turns_T, times_T)


def hearing(hand_T: Phases, times_T: NDArray[np.float64], known: Annotations) -> dict[str, float]:
    """The columns of one item."""
    true_T = 2 * np.pi * beats_until(times_T, known)
    inside = times_T < known.beats_seconds[-1]  # it also plays beyond what is measured
    return {
        "beat F1": beat_f_measure(known.beats_seconds, beats_of(hand_T[inside], times_T[inside])),
        "cosine": float(np.nanmean(np.cos(hand_T - true_T))),
    }


def of_batch(
    batch: AccompanimentBatch, tracker: BeatTracker, sample_rate_hz: int, listener: Listener | None = None
) -> Iterator[Agreement]:
    """All rows of the items whose beats are known."""
    partners = [item.partner for item in batch.planned or ()]
    hands_BT, times_T = (None, None) if listener is None else listener(batch.mix)
    for item, (song, known) in enumerate(zip(batch.song, batch.annotations, strict=True)):
        if known is None or len(known.beats_seconds) < FEWEST_BEATS:
            continue
        sounds = {"mix": batch.mix[item], "mix and drums": batch.mix[item] + batch.target[item]}
        sounds["true drums"] = batch.target[item]
        if partners and (partner := partners[item]) is not None:
            sounds["another song's drums"] = partner.audio_AN
        found = tracker([_mono(audio_AN) for audio_AN in sounds.values()], sample_rate_hz)
        for row, beats in zip(sounds, found, strict=True):
            f1 = beat_f_measure(known.beats_seconds, beats)
            yield Agreement(row, song, DRUMS, {"beat F1": f1, "cosine": math.nan})
        if hands_BT is not None and times_T is not None:
            yield Agreement("mix, heard by the model", song, DRUMS, hearing(hands_BT[item], times_T, known))


def measured(
    root: str, codec: Codec, items: int, tracker: BeatTracker, listener: Listener | None = None
) -> list[Agreement]:
    """All rows of the test items of a data set.

    Raises:
        UserError: the beats of no item are known.
    """
    data = Slakh2100DataModule(root, codec, targets=[DRUMS], test_items=items)
    data.setup("test")
    found: list[Agreement] = []
    for batch in tqdm(data.test_dataloader(), desc=root):
        found += of_batch(batch, tracker, codec.spec.sample_rate_hz, listener)
    if not found:
        raise UserError(
            f"the beats of no test item in {root} are known; name songs with annotations.json or all_src.mid"
        )
    return found


def _mono(audio_AN: Tensor) -> NDArray[np.float64]:
    return audio_AN.mean(dim=0).numpy().astype(np.float64)


def main() -> None:
    """Print the tables and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", action="append", required=True, help="a data set with songs for test; several times")
    parser.add_argument("--items", type=int, default=48, help="of each, at least 1 (default: 48)")
    parser.add_argument("--checkpoint", help="of a training with configs/overlays/hear_beats.yaml: adds what it hears")
    given = parser.parse_args()
    if given.items < 1:
        parser.error("--items must be 1 or more")
    listener = Listener.of(given.checkpoint) if given.checkpoint else None
    codec = listener.codec if listener else pretrained_codec("pocket")
    columns, tracker, tables = ("beat F1", "cosine") if listener else ("beat F1",), MadmomRNN(), {}
    for root in given.root:
        tables[root] = table(measured(root, codec, given.items, tracker, listener), columns)
        print(f"| {root} | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
        for row, cells in tables[root].items():
            print(f"| {row} | {' | '.join(text(cells[name]) for name in columns)} |")
    print(json.dumps({"tables": tables, "settings": vars(given)}))


if __name__ == "__main__":
    main()
