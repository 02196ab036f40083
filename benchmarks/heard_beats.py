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

The last line is one JSON object: rows per data set, and the settings.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from benchmarks.sketch_adherence import Agreement, table, text
from datamodules import Slakh2100DataModule
from livejam.batch import AccompanimentBatch
from livejam.codecs.codec import Codec
from livejam.codecs.pretrained import pretrained_codec
from livejam.errors import UserError
from metrics.beat_tracking import BeatTracker
from metrics.beats import MadmomRNN, beat_f_measure

DRUMS = "Percussive"
FEWEST_BEATS = 4
"""Items with fewer beats say nothing."""


def of_batch(batch: AccompanimentBatch, tracker: BeatTracker, sample_rate_hz: int) -> Iterator[Agreement]:
    """All rows of the items whose beats are known."""
    partners = [item.partner for item in batch.planned or ()]
    for item, (song, known) in enumerate(zip(batch.song, batch.annotations, strict=True)):
        if known is None or len(known.beats_seconds) < FEWEST_BEATS:
            continue
        sounds = {"mix": batch.mix[item], "mix and drums": batch.mix[item] + batch.target[item]}
        sounds["true drums"] = batch.target[item]
        if partners and (partner := partners[item]) is not None:
            sounds["another song's drums"] = partner.audio_AN
        found = tracker([_mono(audio_AN) for audio_AN in sounds.values()], sample_rate_hz)
        for row, beats in zip(sounds, found, strict=True):
            yield Agreement(row, song, DRUMS, {"beat F1": beat_f_measure(known.beats_seconds, beats)})


def measured(root: str, codec: Codec, items: int, tracker: BeatTracker) -> list[Agreement]:
    """All rows of the test items of a data set.

    Raises:
        UserError: the beats of no item are known.
    """
    data = Slakh2100DataModule(root, codec, targets=[DRUMS], test_items=items)
    data.setup("test")
    found: list[Agreement] = []
    for batch in tqdm(data.test_dataloader(), desc=root):
        found += of_batch(batch, tracker, codec.spec.sample_rate_hz)
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
    given = parser.parse_args()
    if given.items < 1:
        parser.error("--items must be 1 or more")
    codec, tracker, tables = pretrained_codec("pocket"), MadmomRNN(), {}
    for root in given.root:
        tables[root] = table(measured(root, codec, given.items, tracker), ("beat F1",))
        print(f"| {root} | beat F1 |\n|---|---|")
        for row, cells in tables[root].items():
            print(f"| {row} | {text(cells['beat F1'])} |")
    print(json.dumps({"tables": tables, "settings": vars(given)}))


if __name__ == "__main__":
    main()
