"""How closely a model takes the sound of a reference, beside another reference and none.

python -m benchmarks.reference_sound --checkpoint runs/liveband_reference_pocket/checkpoints/last.ckpt

A LiveBand plays test items, by the path that is deployed, with a reference from the rest of the true stem (the item
itself is left out of it), with one of the same instrument in another song, and without; each is also played to no
instrument's name ("Any"), where a reference of another item's instrument says what to play. Every number is a mean over
items with its 95 % interval over songs (jackknife).

- similarity: cosine of standardised embeddings, in the model's own encoder and, as a second opinion that it was not
  conditioned on, of means and deviations of the codec's latents; and the difference of spectral centroids in octaves.
- instrument: the share that a nearest centroid, of those codec statistics over the true stems of all other songs, takes
  for the reference's instrument; for true stems that is its held-out accuracy.
- adherence: beat F1 of drums, phase lock, and chord tones of pitched instruments, beside `--base` without a reference.

The last line is one JSON object: the rows, and the settings.
"""

from __future__ import annotations

import argparse
import json
import math
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import livejam
from datamodules import Slakh2100DataModule
from datamodules.audio import read_audio
from datamodules.excerpts import Excerpt
from livejam.accompanist import Controls, accompany
from livejam.batch import CATEGORIES, NULL_CATEGORY, AccompanimentBatch, Annotations
from livejam.checkpoints.player import Player
from livejam.checkpoints.references import reference_analysis
from livejam.errors import UserError
from livejam.reference import ReferenceAnalysis
from livejam.reference.analysis import sounds
from livejam.systems.liveband import LiveBandAccompanist
from metrics.beats import MadmomRNN, beat_f_measure
from metrics.harmony import chord_tone_share
from metrics.intervals import jackknife_interval
from metrics.phase_lock import onset_strength, phase_lock

DRUMS = CATEGORIES.index("Percussive")
LEVEL = 0.1
SIMILARITY = {
    "own reference: that one": ("own", "own"),
    "another song's reference: that one": ("other", "other"),
    "own reference: another song's": ("own", "other"),
    "no reference: the true stem's": ("none", "own"),
    "the true stem, coded: its own": ("coded", "own"),
    "the true stem: its own": ("true", "own"),
}
"""Row → which sound is compared with which reference."""

NAMING = {
    "true stem (held out)": "true",
    "named, own reference": "own",
    "named, no reference": "none",
    "Any, own reference": "any own",
    "Any, another instrument's reference": "any foreign",
}
"""Row → which sound is put to the nearest centroid."""

Embed = Callable[[Tensor, int], Tensor]

PLAYED = ("own", "other", "none", "any own", "any foreign")


@dataclass(frozen=True)
class Item:
    """An item of the test, its references, and all that was made of it.

    Args:
        song: its song.
        instrument: class index of its target.
        foreign: class index of the reference of another instrument.
        annotations: beats and chords.
        sounds: audio_N of the true stem and of everything played.
        references: audio_N of the references.
    """

    song: str
    instrument: int
    foreign: int
    annotations: Annotations
    sounds: Mapping[str, Tensor]
    references: Mapping[str, Tensor]


@dataclass(frozen=True)
class Band:
    """A model that takes references, and one that is compared with it."""

    player: Player
    accompanist: LiveBandAccompanist
    analysis: ReferenceAnalysis
    base: Player


def band_of(checkpoint: str, base: str) -> Band:
    """The two models.

    Raises:
        UserError: the first takes no reference.
    """
    player = livejam.load(checkpoint)
    if not isinstance(player.accompanist, LiveBandAccompanist):
        raise UserError("only a LiveBand takes references; name a checkpoint of configs/liveband/reference_pocket.yaml")
    return Band(player, player.accompanist, reference_analysis(player.accompanist), livejam.load(base))


def items_of(band: Band, root: Path, count: int, seconds: float, cache: Path | None) -> Iterator[Item]:
    """All items, played."""
    data = Slakh2100DataModule(
        str(root),
        band.player.codec,
        cache_root=None if cache is None else str(cache),
        targets=[name for name in band.player.instruments if name != "Any"],
        eval_seconds=seconds,
        test_items=count,
        eval_batch_size=1,
    )
    data.setup("test")
    batches = data.test_dataloader()
    plan = [item.excerpt for item in batches.dataset.plan]  # type: ignore[attr-defined]
    rests = [_rest(data, excerpt, seconds) for excerpt in plan]
    for place, batch in enumerate(tqdm(batches, desc="items", total=len(plan))):
        own, stranger = plan[place], _of_another_instrument(plan, place)
        assert own.song.name == batch.song[0]
        yield _played(band, batch, rests[place], rests[stranger], _category(plan[stranger]))


def _rest(data: Slakh2100DataModule, excerpt: Excerpt, seconds: float) -> Tensor:
    """Audio_N of an item's stem without the item itself."""
    spec = data.codec_spec
    stem = excerpt.song.stems[excerpt.target]
    audio_N = read_audio(data.root / excerpt.song.folder / stem.file, spec.sample_rate_hz, 1)[0]
    first = excerpt.start_frame * spec.hop_samples
    return torch.from_numpy(np.concatenate((audio_N[:first], audio_N[first + round(seconds * spec.sample_rate_hz) :])))


def _category(excerpt: Excerpt) -> int:
    return excerpt.song.stems[excerpt.target].category


def _of_another_instrument(plan: Sequence[Excerpt], place: int) -> int:
    """The next item of another instrument, which is of another song as well where there is one."""
    order = [(place + step) % len(plan) for step in range(1, len(plan))]
    foreign = [other for other in order if _category(plan[other]) != _category(plan[place])]
    strangers = [other for other in foreign if plan[other].song.name != plan[place].song.name]
    if not foreign:
        raise UserError("all items are of one instrument; measure on songs with several")
    return (strangers or foreign)[0]


@torch.inference_mode()
def _played(band: Band, batch: AccompanimentBatch, rest_N: Tensor, foreign_N: Tensor, foreign: int) -> Item:
    """One item, played in every way at once: rows of a batch."""
    assert batch.planned is not None
    partner, annotations, codec = batch.planned[0].partner, batch.annotations[0], band.player.codec
    if partner is None or annotations is None:
        raise UserError("an instrument of these items occurs in one song alone, or without beats; take other songs")
    references = {"own": rest_N, "other": partner.audio_AN.mean(dim=0), "foreign": foreign_N}
    rate = codec.spec.sample_rate_hz
    own_E, other_E, foreign_E = (band.analysis.of(audio_N[None], rate) for audio_N in references.values())
    reference_BE = torch.stack((own_E, other_E, torch.zeros_like(own_E), own_E, foreign_E))
    instrument = int(batch.instrument_B[0])
    named_B = torch.tensor([instrument] * 3 + [NULL_CATEGORY] * 2)
    seed = zlib.crc32(f"{batch.song[0]}@{batch.start_seconds[0]:.3f}".encode())
    mix_BTC = codec.encode(batch.mix)

    def heard(player: Player, controls: Controls) -> Tensor:
        rows = len(controls.seed_B)
        latents_BTC = accompany(player.accompanist, mix_BTC.expand(rows, -1, -1), controls, player.silence_C)
        return player.codec.decode(latents_BTC)[:, 0]

    played_BN = heard(band.player, Controls(named_B, torch.full((5,), seed), reference_BE=reference_BE))
    sounds = dict(zip(PLAYED, played_BN, strict=True))
    sounds["base"] = heard(band.base, Controls(batch.instrument_B, torch.tensor([seed])))[0]
    sounds["true"] = batch.target[0].mean(dim=0)
    sounds["coded"] = codec.decode(codec.encode(batch.target))[0, 0]
    return Item(batch.song[0], instrument, foreign, annotations, sounds, references)


@dataclass(frozen=True)
class Numbers:
    """Rows of numbers of every item: row → column → one number per item, nan where it is not defined."""

    songs: list[str]
    rows: dict[str, dict[str, list[float]]]

    def add(self, row: str, column: str, number: float) -> None:
        """One more item's."""
        self.rows.setdefault(row, {}).setdefault(column, []).append(number)


def embeddings(band: Band, items: Sequence[Item]) -> dict[str, list[dict[str, Tensor]]]:
    """Measure → for every item, embedding by the name of its sound, or of a reference with an arrow before it."""
    rate, features = band.player.codec.spec.sample_rate_hz, band.accompanist.generator.reference_features
    assert features is not None
    made: dict[str, list[dict[str, Tensor]]] = {"encoder": [], "codec": [], "centroid": []}
    for item in tqdm(items, desc="embedding"):
        recordings = {**item.sounds, **{f">{name}": audio_N for name, audio_N in item.references.items()}}
        ways = {"encoder": band.analysis.of, "codec": band_statistics(band), "centroid": centroid_octaves}
        for way, embed in ways.items():
            made[way].append({name: _or_nan(embed, audio_N, rate) for name, audio_N in recordings.items()})
    known = [each[">own"] for each in made["codec"] if each[">own"].isfinite().all()]
    standards = {
        "encoder": (features.mean_E, features.deviation_E),
        "codec": (torch.stack(known).mean(dim=0), torch.stack(known).std(dim=0).clamp_min(1e-6)),
    }
    for way, (mean_E, deviation_E) in standards.items():
        made[way] = [{name: (x - mean_E) / deviation_E for name, x in each.items()} for each in made[way]]
    return made


def _or_nan(embed: Embed, audio_N: Tensor, rate: int) -> Tensor:
    """What is silent has no sound to compare."""
    return embed(audio_N[None], rate) if sounds(audio_N, rate // 10) else torch.full((1,), math.nan)


def band_statistics(band: Band) -> Embed:
    """The map from audio_AN to mean and deviation of its latents over the frames that sound, at one level."""

    @torch.inference_mode()
    def statistics(audio_AN: Tensor, rate: int) -> Tensor:
        codec = band.player.codec
        hop = codec.spec.hop_samples
        audio_N = audio_AN[0, : audio_AN.shape[1] // hop * hop]
        audio_N = audio_N * LEVEL / audio_N.square().mean().sqrt().clamp_min(1e-6)
        sounding_T = audio_N.view(-1, hop).square().mean(dim=-1) > (0.1 * LEVEL) ** 2
        latents_TC = codec.encode(audio_N[None, None].expand(-1, codec.spec.audio_channels, -1))[0][sounding_T]
        return torch.cat((latents_TC.mean(dim=0), latents_TC.std(dim=0)))

    return statistics


def centroid_octaves(audio_AN: Tensor, rate: int) -> Tensor:
    """The centre of the mean power spectrum from 50 Hz on, in octaves."""
    window_N = torch.hann_window(2048)
    power_K = torch.stft(audio_AN[0], 2048, window=window_N, return_complex=True).abs().square().mean(dim=-1)
    hertz_K = torch.fft.rfftfreq(2048, 1 / rate)
    power_K = power_K * (hertz_K > 50)
    return ((power_K * hertz_K).sum() / power_K.sum()).log2()[None]


def measured(band: Band, items: Sequence[Item]) -> Numbers:
    """All numbers of all items."""
    found = Numbers([item.song for item in items], {})
    made = embeddings(band, items)
    for place in range(len(items)):
        for row, (sound, reference) in SIMILARITY.items():
            for way in ("encoder", "codec"):
                x_E, y_E = made[way][place][sound], made[way][place][f">{reference}"]
                same = x_E.shape == y_E.shape
                found.add(row, f"{way} cosine", float(F.cosine_similarity(x_E, y_E, dim=0)) if same else math.nan)
            gap = made["centroid"][place][sound] - made["centroid"][place][f">{reference}"]
            found.add(row, "centroid gap, octaves", float(gap.abs()))
    _name_instruments(items, made["codec"], found)
    tracker, rate = MadmomRNN(), band.player.codec.spec.sample_rate_hz
    for item in tqdm(items, desc="adherence"):
        for row, sound in (("with own reference", "own"), ("without", "none"), ("base", "base"), ("true stem", "true")):
            for column, number in _adherence(item, sound, rate, tracker).items():
                found.add(row, column, number)
    return found


def _name_instruments(items: Sequence[Item], made: Sequence[Mapping[str, Tensor]], found: Numbers) -> None:
    """Which true stems of other songs a sound is nearest to."""
    for place, item in enumerate(items):
        groups: dict[int, list[Tensor]] = defaultdict(list)
        for other, each in zip(items, made, strict=True):
            if other.song != item.song and each[">own"].isfinite().all():
                groups[other.instrument].append(F.normalize(each[">own"], dim=0))
        centroids = {index: torch.stack(group).mean(dim=0) for index, group in groups.items()}
        for row, sound in NAMING.items():
            asked, x_E = item.foreign if sound == "any foreign" else item.instrument, made[place][sound]
            if not x_E.isfinite().all() or asked not in centroids:
                found.add(row, "taken for the asked instrument", math.nan)
                continue
            nearest = max(centroids, key=lambda index: float(F.cosine_similarity(x_E, centroids[index], dim=0)))
            found.add(row, "taken for the asked instrument", float(nearest == asked))


def _adherence(item: Item, sound: str, rate: int, tracker: MadmomRNN) -> dict[str, float]:
    played_N, true_N = (item.sounds[name].numpy() for name in (sound, "true"))
    beats, drums = item.annotations.beats_seconds, item.instrument == DRUMS
    onsets = [onset_strength(torch.from_numpy(audio_N), rate).numpy() for audio_N in (played_N, true_N)]
    chords = math.nan if drums else chord_tone_share(played_N, true_N, rate, item.annotations.chords)
    return {
        "drums beat F1": beat_f_measure(beats, tracker([played_N], rate)[0]) if drums else math.nan,
        "phase lock": phase_lock(onsets[0], onsets[1], beats),
        "chord tones": chords,
    }


def cell(songs: Sequence[str], numbers: Sequence[float]) -> dict[str, float | list[float] | int | None]:
    """Mean over items that have the number, with its interval over songs."""
    by_song: dict[str, list[float]] = defaultdict(list)
    for song, number in zip(songs, numbers, strict=True):
        if math.isfinite(number):
            by_song[song].append(number)
    if not by_song:
        return {"value": None, "interval": None, "items": 0}

    def mean(chosen: Sequence[str]) -> float:
        return float(np.mean([number for song in chosen for number in by_song[song]]))

    chosen = list(by_song)
    left_out = [mean([s for s in chosen if s != song]) for song in chosen] if len(chosen) > 1 else []
    low, high = jackknife_interval(mean(chosen), np.array(left_out))
    interval = None if math.isnan(low) else [low, high]
    return {"value": mean(chosen), "interval": interval, "items": sum(map(len, by_song.values()))}


def table(found: Numbers) -> dict[str, dict[str, dict[str, float | list[float] | int | None]]]:
    """Row → column → value, interval, number of items; and the paired differences that matter."""
    rows = {
        row: {column: cell(found.songs, numbers) for column, numbers in columns.items()}
        for row, columns in found.rows.items()
    }
    names = list(SIMILARITY)
    pairs = [(names[0], names[2]), (names[0], names[3]), (names[1], names[2])]
    pairs += [("with own reference", "base"), ("without", "base")]
    for one, other in pairs:
        rows[f"{one} − {other}"] = {
            column: cell(found.songs, [a - b for a, b in zip(found.rows[one][column], numbers, strict=True)])
            for column, numbers in found.rows[other].items()
        }
    return rows


def main() -> None:
    """Print the table and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="a LiveBand that learnt to take references")
    parser.add_argument("--base", default="liveband-pocket", help="one without (default: liveband-pocket)")
    parser.add_argument("--root", type=Path, required=True, help="data set")
    parser.add_argument("--cache", type=Path, help="its index; default: beside the data set")
    parser.add_argument("--items", type=int, default=48, help="of the test split, at least 2 (default: 48)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each (default: 20)")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch, at least 1 (default: 1)")
    given = parser.parse_args()
    if given.items < 2 or given.threads < 1 or given.seconds <= 0:
        parser.error("items must be 2 or more, threads 1 or more, seconds above 0")
    torch.set_num_threads(given.threads)
    band = band_of(given.checkpoint, given.base)
    rows = table(measured(band, list(items_of(band, given.root, given.items, given.seconds, given.cache))))
    for row, columns in rows.items():
        print(f"{row}: " + "; ".join(f"{column} {_text(number)}" for column, number in columns.items()))
    print(json.dumps({"rows": rows, "settings": {name: str(value) for name, value in vars(given).items()}}))


def _text(number: Mapping[str, float | list[float] | int | None]) -> str:
    value, interval = number["value"], number["interval"]
    if value is None:
        return "–"
    around = f" ({interval[0]:.2f} … {interval[1]:.2f})" if isinstance(interval, list) else ""
    return f"{value:.2f}{around}"


if __name__ == "__main__":
    main()
