"""Validation and test items: chosen once, the same for every run, model and machine.

Shapes: B batch, T latent frames.
"""

from __future__ import annotations

import hashlib
import json
import logging
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset
from tqdm import tqdm

from datamodules.crops import ActivityRule
from datamodules.excerpts import Excerpt, ExcerptAudio, ExcerptReader
from datamodules.slakh_scan import Song
from livejam.batch import AccompanimentBatch, Annotations
from livejam.errors import UserError
from livejam.files import atomic_path
from livejam.spec import CodecSpec

log = logging.getLogger(__name__)

SCHEMA = 1
TRIES = 16
LARGEST_MEMORY_BYTES = 1 << 30
"""Decoded items are kept while all of them together fit into this."""

Item = tuple[Excerpt, ExcerptAudio, Annotations | None]


def evaluation_frames(songs: Sequence[Song], spec: CodecSpec, seconds: float) -> int:
    """Latent frames of every item: `seconds`, or what at least half of the songs allow."""
    usual = statistics.median_low([song.seconds for song in songs])
    return spec.frames_in(min(seconds, usual))


class EvaluationItems(Dataset[Item]):
    """The items of a plan; decoded once if they are few, because every validation asks for all of them.

    Args:
        reader: reads the excerpts.
        plan: which ones.
    """

    def __init__(self, reader: ExcerptReader, plan: Sequence[Excerpt]) -> None:
        self.reader, self.plan = reader, tuple(plan)
        samples = reader.spec.samples_in(reader.frames) * reader.spec.audio_channels
        self.keeps_audio = len(self.plan) * samples * 2 * 4 <= LARGEST_MEMORY_BYTES
        self._decoded: dict[int, Item] = {}

    def __len__(self) -> int:
        return len(self.plan)

    @property
    def categories(self) -> tuple[int, ...]:
        """Class indices that occur among the targets."""
        return tuple(sorted({excerpt.song.stems[excerpt.target].category for excerpt in self.plan}))

    def __getitem__(self, position: int) -> Item:
        if position in self._decoded:
            return self._decoded[position]
        excerpt = self.plan[position]
        item = excerpt, self.reader.read(excerpt), self.reader.annotations(excerpt)
        if self.keeps_audio:
            self._decoded[position] = item
        return item

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_decoded": {}}

    def collate(self, items: list[Item]) -> AccompanimentBatch:
        """One batch of audio."""
        excerpts, audio, annotations = zip(*items, strict=True)
        return self.reader.batch(excerpts, audio, annotations)


def evaluation_plan(
    reader: ExcerptReader, songs: Sequence[Song], categories: tuple[int, ...], items: int, seed: int, folder: Path
) -> list[Excerpt]:
    """The plan of `plan_excerpts`, kept as a JSON file in `folder` so that the audio is searched only once."""
    by_name = {song.name: song for song in songs}
    key = {
        "schema": SCHEMA,
        "spec": reader.spec.to_dict() | {"name": "", "latent_channels": 0, "delay_samples": 0},
        "frames": reader.frames,
        "rule": asdict(reader.rule),
        "songs": sorted((song.name, song.digest) for song in songs),
        "categories": categories,
        "items": items,
        "seed": seed,
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
    path = folder / f"evaluation-{name}.json"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [_full_mix(by_name[row["song"]], row["target"], row["start_frame"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        plan = plan_excerpts(reader, songs, categories, items, seed)
    rows = [{"song": e.song.name, "target": e.target, "start_frame": e.start_frame} for e in plan]
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    except OSError as error:
        log.warning("the choice of evaluation items cannot be kept at %s (%s): it is made anew each time", path, error)
    return plan


def plan_excerpts(
    reader: ExcerptReader, songs: Sequence[Song], categories: tuple[int, ...], items: int, seed: int
) -> list[Excerpt]:
    """Choose targets and crops: different songs first, and the categories in turn.

    Any first part of the plan is as balanced as the whole can be. Every (song, target) is used once at most, with
    all other stems as its mix.

    Raises:
        UserError: no song offers an item.
    """
    rng = np.random.default_rng(seed)
    order = [songs[i] for i in rng.permutation(len(songs)) if _is_long_enough(songs[i], reader)]
    untried = {song.name: _targets(song, categories, rng) for song in order}
    song_uses, category_uses = Counter[str](), Counter[int]()
    plan: list[Excerpt] = []
    with tqdm(total=items, desc="choosing items", unit="item", leave=False, delay=2.0) as progress:
        while len(plan) < items and any(untried.values()):
            song = min((s for s in order if untried[s.name]), key=lambda s: song_uses[s.name])
            target = min(untried[song.name], key=lambda t: category_uses[song.stems[t].category])
            untried[song.name].remove(target)
            excerpt = _find_crop(reader, song, target, seed)
            if excerpt:
                plan.append(excerpt)
                song_uses[song.name] += 1
                category_uses[song.stems[target].category] += 1
                progress.update()
    if not plan:
        raise UserError(
            f"none of {len(songs)} songs offers {reader.frames} frames in which a target and the others sound; make "
            "data.eval_seconds smaller, choose other data.targets, or render more songs with `livejam data render`"
        )
    if len(plan) < items:
        log.warning("%d songs offer %d evaluation items, %d were asked for", len(songs), len(plan), items)
    return plan


def _is_long_enough(song: Song, reader: ExcerptReader) -> bool:
    return len(song.stems) > 1 and reader.spec.frames_in(song.seconds) >= reader.frames


def _targets(song: Song, categories: tuple[int, ...], rng: np.random.Generator) -> list[int]:
    targets = [i for i, stem in enumerate(song.stems) if stem.category in categories]
    return [targets[i] for i in rng.permutation(len(targets))]


def _find_crop(reader: ExcerptReader, song: Song, target: int, seed: int) -> Excerpt | None:
    """The first of some random crops that the rule accepts; it depends on nothing but song, target and seed."""
    number = int.from_bytes(hashlib.sha256(f"{song.name}/{song.stems[target].name}".encode()).digest()[:8], "big")
    rng = np.random.default_rng([seed, number])
    starts = rng.permutation(reader.spec.frames_in(song.seconds) - reader.frames + 1)[:TRIES]
    for start in starts:
        alone = Excerpt(song, target, (), int(start), (0.0,))
        # most refusals show in the target alone, which costs a fraction of the whole mix
        if not _is_enough(reader.rule, reader.read(alone).target_active_T):
            continue
        excerpt = _full_mix(song, target, int(start))
        if _is_enough(reader.rule, reader.read(excerpt).both_active_T):
            return excerpt
    return None


def _is_enough(rule: ActivityRule, active_T: np.ndarray) -> bool:
    return bool(active_T.any() and active_T.mean() >= rule.min_active_ratio)


def _full_mix(song: Song, target: int, start_frame: int) -> Excerpt:
    others = tuple(i for i in range(len(song.stems)) if i != target)
    return Excerpt(song, target, others, start_frame, (0.0,) * len(song.stems))
