"""How closely a model follows a sketch, beside what another sketch and no sketch give.

python -m benchmarks.sketch_adherence --checkpoint runs/lmdm_sketch_pocket/checkpoints/last.ckpt

A model plays the test items of its data three times, by the path that is deployed: with the curves of the true stem,
with those of a stem of the same instrument in another song, which do not belong to the mix, and without a sketch. Every
row is the agreement of a sound with a sketch (`metrics.sketch_adherence`): correlation of loudness and of brightness
over time, and cosine of the notes of pitched instruments, with 95 % intervals over songs; and the level of the sound
against the true stem, in dB. The frames in which the model has heard nothing yet, and is silent, do not count. With
`--voice`, notes are those that the tracker of single notes hears, in sketches and in what is played, as with
`livejam play --voice`. `--without pitch` does not ask for a control, and measures it all the same.

| row | sound | sketch |
|---|---|---|
| asked | played with the true stem's sketch | that one |
| asked, against the mix | played with another song's sketch | that one |
| none | played without a sketch | the true stem's |
| another item's | played with the true stem's sketch | another song's |
| another time's | played with the true stem's sketch | that one, moved by seconds: the median |
| true stem, coded | the true stem through the codec | its own |

Below, the row `asked` per instrument. The last line is one JSON object: the rows, and the settings.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.cutoff_sweep import Items, Model, data_of, model_of
from lightning_modules.accompaniment import played_audio
from livejam.batch import CATEGORIES, AccompanimentBatch
from livejam.errors import UserError
from livejam.sampling import read_weights
from livejam.sketch import CONTROLS, Sketcher, VoicePitch, asking_for
from metrics.intervals import jackknife_interval
from metrics.loudness import relative_level_db
from metrics.sketch_adherence import agreement, shifted_agreement

SHIFT_SECONDS = 1.0
UNPITCHED = "Percussive"
LEVEL = "level"
COLUMNS = (*CONTROLS, LEVEL)
SOUNDS = {
    "asked": "own",
    "asked, against the mix": "other",
    "none": "none",
    "another item's": "own",
    "another time's": "own",
    "true stem, coded": "coded",
}
"""Row → the sound that it is of."""

Numbers = Mapping[str, float]


@dataclass(frozen=True)
class Agreement:
    """A row's numbers of one item."""

    row: str
    song: str
    instrument: str
    numbers: Numbers


def measured(model: Model, items: Items, by_voice: bool = False, without: Sequence[str] = ()) -> list[Agreement]:
    """All rows of all items.

    Args:
        model: what plays.
        items: what it plays to.
        by_voice: whether notes are those that the tracker of single notes hears.
        without: controls that it is not asked for.

    Raises:
        UserError: the model follows no sketch.
    """
    analysis = model.accompanist.sketch
    if analysis is None:
        raise UserError("this model follows no sketch; name a checkpoint of configs/lmdm/sketch_pocket.yaml")
    data = data_of(model, items)
    data.prepare_data() if items.root is None else None
    data.setup("test")
    controls = set(CONTROLS) - set(without)
    tracked, found = by_voice and analysis.voice is None, []
    sketcher = (replace(analysis, voice=VoicePitch()) if tracked else analysis).at(model.player.codec.spec)
    late = round(sketcher.pitch.lag_frames) if tracked else 0
    for batch in tqdm(data.test_dataloader(), desc="batches"):
        found += _of_batch(model, sketcher, lambda curves_BTP: asking_for(earlier(curves_BTP, late), controls), batch)
    return found


def earlier(curves_BTP: Tensor, frames: int) -> Tensor:
    """Curves whose notes come so many frames earlier; the last ones stay."""
    out_BTP = curves_BTP.clone()
    out_BTP[:, : curves_BTP.shape[1] - frames, 2:] = curves_BTP[:, frames:, 2:]
    return out_BTP


@torch.inference_mode()
def _of_batch(
    model: Model, sketcher: Sketcher, asked: Callable[[Tensor], Tensor], batch: AccompanimentBatch
) -> list[Agreement]:
    own_BTP, other_BTP = sketcher(batch.target), sketcher(_others(batch))
    codec = model.player.codec
    audio = {
        # all of a stem is known, so its notes are put where they sound, as `livejam play --voice` does
        name: played_audio(
            model.accompanist,
            codec,
            model.player.silence_C,
            batch,
            None if curves_BTP is None else asked(curves_BTP),
        )
        for name, curves_BTP in (("own", own_BTP), ("other", other_BTP), ("none", None))
    }
    audio["coded"] = codec.decode(codec.encode(batch.target))
    sounds = {name: sketcher(audio_BAN) for name, audio_BAN in audio.items()}
    # before these, it has heard nothing and is silent, whatever is asked
    first = max(0, model.accompanist.anticipation_frames + 1)
    own_BTP, other_BTP = own_BTP[:, first:], other_BTP[:, first:]
    sounds = {name: curves_BTP[:, first:] for name, curves_BTP in sounds.items()}
    shift, rows = max(1, round(SHIFT_SECONDS * codec.spec.frame_rate_hz)), []
    for item, song in enumerate(batch.song):
        own, other, played = own_BTP[item], other_BTP[item], {name: x[item] for name, x in sounds.items()}
        numbers = {
            "asked": agreement(own, played["own"]),
            "asked, against the mix": agreement(other, played["other"]),
            "none": agreement(own, played["none"]),
            "another item's": agreement(other, played["own"]),
            "another time's": shifted_agreement(own, played["own"], shift),
            "true stem, coded": agreement(own, played["coded"]),
        }
        stem_N, rate = batch.target[item].mean(0).numpy(), codec.spec.sample_rate_hz
        levels = {name: relative_level_db(x_BAN[item].mean(0).numpy(), stem_N, rate) for name, x_BAN in audio.items()}
        instrument = CATEGORIES[int(batch.instrument_B[item])]
        rows += [
            Agreement(row, song, instrument, {**each, LEVEL: levels[SOUNDS[row]]}) for row, each in numbers.items()
        ]
    return rows


def _others(batch: AccompanimentBatch) -> Tensor:
    """A stem of the same instrument from another song for every item."""
    if batch.planned is None or any(place.partner is None for place in batch.planned):
        raise UserError("an instrument of these items occurs in one song alone; measure on more songs")
    return torch.stack([place.partner.audio_AN for place in batch.planned if place.partner is not None])


def cell(items: Sequence[Agreement], control: str) -> dict[str, float | list[float] | None]:
    """Mean over items, with its interval over songs; pitch of pitched instruments alone."""
    by_song: dict[str, list[float]] = defaultdict(list)
    for item in items:
        if math.isfinite(item.numbers[control]) and not (control == "pitch" and item.instrument == UNPITCHED):
            by_song[item.song].append(item.numbers[control])
    if not by_song:
        return {"value": None, "interval": None, "items": 0}

    def mean(songs: Sequence[str]) -> float:
        return statistics.fmean(number for song in songs for number in by_song[song])

    songs = list(by_song)
    value, left_out = mean(songs), [mean([s for s in songs if s != song]) for song in songs if len(songs) > 1]
    low, high = jackknife_interval(value, np.array(left_out))
    count = sum(map(len, by_song.values()))
    return {"value": value, "interval": None if math.isnan(low) else [low, high], "items": count}


def table(
    found: Sequence[Agreement], columns: Sequence[str]
) -> dict[str, dict[str, dict[str, float | list[float] | None]]]:
    """Row → column → value, interval and number of items."""
    rows = dict.fromkeys(item.row for item in found)
    return {row: {name: cell([item for item in found if item.row == row], name) for name in columns} for row in rows}


def text(number: dict[str, float | list[float] | None]) -> str:
    value, interval = number["value"], number["interval"]
    if value is None:
        return "–"
    around = f" ({interval[0]:.2f} … {interval[1]:.2f})" if isinstance(interval, list) else ""
    return f"{value:.2f}{around}"


def main() -> None:
    """Print the table and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="a diffusion model that learnt to follow sketches")
    parser.add_argument("--root", help="data set; default: that of the training")
    parser.add_argument("--items", type=int, default=48, help="of the test split, at least 1 (default: 48)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each (default: 20)")
    parser.add_argument("--steps", type=int, help="of the sampler, at least 1; default: the checkpoint's")
    parser.add_argument("--guidance", type=read_weights, help="as of livejam play; default: the checkpoint's")
    parser.add_argument("--guidance-rescale", type=float, default=0.0, help="as of livejam play, 0 to 1 (default: 0)")
    parser.add_argument("--voice", action="store_true", help="notes as the tracker of single notes hears them")
    parser.add_argument("--without", nargs="+", default=[], choices=CONTROLS, help="controls that are not asked for")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch, at least 1 (default: 1)")
    given = parser.parse_args()
    if min(given.items, given.threads) < 1 or given.seconds <= 0:
        parser.error("items and threads must be 1 or more, seconds above 0")
    if not 0 <= given.guidance_rescale <= 1:
        parser.error("--guidance-rescale must be 0 to 1")
    torch.set_num_threads(given.threads)
    model = model_of(given.checkpoint, given.steps, given.guidance)
    sampler = model.accompanist.sampler.with_rescale(given.guidance_rescale)
    model = replace(model, accompanist=model.accompanist.with_sampler(sampler))
    found = measured(model, Items(given.root, given.items, given.seconds), given.voice, given.without)
    rows = table(found, COLUMNS)
    for instrument in sorted({item.instrument for item in found}):
        played = [item for item in found if (item.row, item.instrument) == ("asked", instrument)]
        rows[f"asked: {instrument}"] = table(played, COLUMNS)["asked"]
    print(f"| row | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    for row, cells in rows.items():
        print(f"| {row} | {' | '.join(text(cells[name]) for name in COLUMNS)} |")
    print(json.dumps({"rows": rows, "settings": vars(given), "sha256": model.sha256}))


if __name__ == "__main__":
    main()
