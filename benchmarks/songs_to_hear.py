"""How many songs it takes to hear the beat of others: the generator's network learns nothing else, from more and more.

python -m benchmarks.songs_to_hear --root data/mma --songs 300 1000 3000 --test data/mma_held_out data/openmsx

The demo's generator is told the true phase of the beat (`lightning_modules.BeatListening`) while it hears songs without
their drums, as it does in the lead of configs/overlays/hear_beats.yaml: one network from scratch for every number of
songs, with equal iterations. Then it hears test items, as they come. The numbers are mean cosines between its hand,
which turns once per beat, and the true one: 1 = right, 0 = chance. `learnt` is that of the last tenth of the training.
Where it is far above the others, the songs were learnt by heart: more of them, or of other kinds, would help, and
longer training would not.

The last line is one JSON object: the rows, and the settings.
"""

from __future__ import annotations

import argparse
import json
import statistics as numbers
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.heard_beats import DRUMS, FEWEST_BEATS, Listener, hearing
from datamodules import Slakh2100DataModule
from datamodules.slakh_index import SlakhIndex
from datamodules.splits import SplitByFolder, SplitPolicy
from lightning_modules import BeatListening
from lightning_modules.training import linear_warmup
from livejam.batch import AccompanimentBatch
from livejam.codecs import Codec, pretrained_codec
from livejam.config_files import merged
from livejam.errors import UserError
from livejam.networks import CausalTransformer
from livejam.spec import LatentStatistics

ANTICIPATION = 1
DECAY = 0.3
"""Share of the iterations, at their end, in which the rate falls."""


class SomeSongs(SplitPolicy):
    """The folders on disk, with some of the training songs.

    Args:
        names: of the training songs.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = frozenset(names)

    def split_of(self, song: str, folder: str | None) -> str | None:
        split = SplitByFolder().split_of(song, folder)
        return split if split != "train" or song in self.names else None


def training_songs(root: Path) -> list[str]:
    """Names, in an order that has nothing to do with them."""
    policy = SplitByFolder()
    songs = SlakhIndex.open(root).songs
    names = [song.name for song in songs if policy.split_of(song.name, song.split_folder) == "train"]
    return [names[place] for place in np.random.default_rng(0).permutation(len(names))]


def data_of(root: Path, codec: Codec, given: argparse.Namespace, splits: SplitPolicy) -> Slakh2100DataModule:
    """Drums and what sounds with them."""
    return Slakh2100DataModule(
        str(root),
        codec,
        crop_frames=given.window + 1 + ANTICIPATION,
        batch_size=given.batch,
        batches_per_epoch=given.iterations,
        targets=[DRUMS],
        full_mix=True,
        min_active_ratio=given.active,
        test_items=given.items,
        splits=splits,
        beats=True,
        seed=given.seed,
    )


def learn(data: Slakh2100DataModule, given: argparse.Namespace) -> tuple[Listener, float]:
    """A network that learnt from a data set's training songs, and how well it heard them at the end."""
    data.prepare_data()
    data.setup("fit")
    statistics = data.latent_statistics
    if statistics is None:
        raise UserError(f"{data.root} has no bank, which is needed for its statistics")
    torch.manual_seed(given.seed)
    settings = merged("quickstart")["model"]["init_args"]["generator"]["init_args"]
    network = CausalTransformer(**(settings | {"window_frames": given.window}))
    beat = BeatListening(network.norm.width)
    optimizer = torch.optim.Adam([*network.parameters(), *beat.parameters()], lr=1e-3, betas=(0.9, 0.99))
    falling = round(DECAY * given.iterations)
    schedule = linear_warmup(optimizer, 100, 0, given.iterations - falling, falling)
    heard: list[float] = []
    for batch in tqdm(islice(data.train_dataloader(), given.iterations), total=given.iterations, desc="learning"):
        loss, agreement = _loss(network, beat, batch, statistics)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        heard.append(float(agreement))
    network.eval()
    last = heard[-max(1, given.iterations // 10) :]
    return Listener(network, beat.project, data.codec, statistics, ANTICIPATION), numbers.fmean(last)


def _loss(
    network: CausalTransformer, beat: BeatListening, batch: AccompanimentBatch, statistics: LatentStatistics
) -> tuple[Tensor, Tensor]:
    """The loss of a batch, and how well the beat was heard."""
    assert batch.beat_BT is not None
    frames = network.window_frames
    noise_BTZ = torch.randn(len(batch), frames, network.noise_channels)
    hidden_BTD = network.hidden(noise_BTZ, statistics.normalise(batch.mix[:, :frames]), batch.instrument_B)
    loss, agreement = beat(hidden_BTD, batch.beat_BT[:, 1 + ANTICIPATION :][:, :frames])
    return loss, agreement


def heard(listener: Listener, data: Slakh2100DataModule) -> float:
    """Mean cosine over test items whose beats are known.

    Raises:
        UserError: there are none.
    """
    data.setup("test")
    found: list[float] = []
    for batch in data.test_dataloader():
        hands_BT, times_T = listener(batch.mix)
        found += [
            hearing(hand_T, times_T, known)["cosine"]
            for hand_T, known in zip(hands_BT, batch.annotations, strict=True)
            if known is not None and len(known.beats_seconds) >= FEWEST_BEATS
        ]
    if not found:
        raise UserError(f"the beats of no test item in {data.root} are known")
    return numbers.fmean(found)


def main() -> None:
    """Print the table and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="a data set with songs for training")
    parser.add_argument("--songs", type=int, nargs="+", required=True, help="numbers of them, each at least 1")
    parser.add_argument("--test", type=Path, nargs="+", required=True, help="data sets with songs for test")
    parser.add_argument("--items", type=int, default=48, help="test items of each, at least 1 (default: 48)")
    parser.add_argument("--iterations", type=int, default=2000, help="of every training, at least 1 (default: 2000)")
    parser.add_argument("--batch", type=int, default=16, help="crops in an iteration, at least 1 (default: 16)")
    parser.add_argument("--window", type=int, default=64, help="frames that are heard, at least 1 (default: 64)")
    parser.add_argument("--active", type=float, default=0.15, help="data.min_active_ratio, 0 to 1 (default: 0.15)")
    parser.add_argument("--seed", type=int, default=1, help="at least 0 (default: 1)")
    given = parser.parse_args()
    if min(*given.songs, given.items, given.iterations, given.batch, given.window, given.seed + 1) < 1:
        parser.error("songs, items, iterations, batch and window must be 1 or more, and seed 0 or more")
    codec, names = pretrained_codec("pocket"), training_songs(given.root)
    rows: dict[str, dict[str, float]] = {}
    for count in sorted(set(given.songs)):
        listener, learnt = learn(data_of(given.root, codec, given, SomeSongs(names[:count])), given)
        row = rows[str(min(count, len(names)))] = {"learnt": learnt}
        for root in given.test:
            row[str(root)] = heard(listener, data_of(root, codec, given, SplitByFolder()))
    columns = ("learnt", *map(str, given.test))
    print(f"| songs | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for count_text, row in rows.items():
        print(f"| {count_text} | {' | '.join(f'{row[name]:.2f}' for name in columns)} |")
    print(json.dumps({"rows": rows, "settings": {name: str(value) for name, value in vars(given).items()}}))


if __name__ == "__main__":
    main()
