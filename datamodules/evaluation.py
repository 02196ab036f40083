"""Validation and test items: chosen once, the same for every run, model and machine.

Shapes: B batch, T latent frames.
"""

from __future__ import annotations

import hashlib
import json
import logging
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from datamodules.drawing import Drawing, alone, category_of, full_mix, is_enough, is_long_enough, number, starts
from datamodules.excerpts import Excerpt, ExcerptAudio, ExcerptReader
from datamodules.run_sampler import BatchShare
from datamodules.slakh_scan import Song
from livejam.batch import AccompanimentBatch, Annotations, Partner, PlannedItem
from livejam.files import atomic_path
from livejam.spec import CodecSpec

log = logging.getLogger(__name__)

SCHEMA = 2
LARGEST_MEMORY_BYTES = 1 << 30
"""Decoded items are kept in memory if all of them together fit into this."""


@dataclass(frozen=True)
class PairedExcerpt:
    """An item of a plan.

    Args:
        excerpt: the mix and the target.
        partner: a stem of the same instrument in another song, alone; None where there is none.
    """

    excerpt: Excerpt
    partner: Excerpt | None


@dataclass(frozen=True)
class Item:
    """An item of a plan, decoded."""

    audio: ExcerptAudio
    annotations: Annotations | None
    partner: Partner | None


def evaluation_frames(songs: Sequence[Song], spec: CodecSpec, seconds: float) -> int:
    """Latent frames of every item: `seconds`, or what at least half of the songs allow."""
    usual = statistics.median_low([song.seconds for song in songs])
    return spec.frames_in(min(seconds, usual))


class EvaluationBatches(Dataset[AccompanimentBatch]):
    """The batches of a plan; if there are few items, they are decoded once, because every validation needs all of them.

    Args:
        reader: the reader of excerpts.
        plan: the items.
        batch_size: items per batch; the last batch has the rest.
    """

    def __init__(self, reader: ExcerptReader, plan: Sequence[PairedExcerpt], batch_size: int) -> None:
        self.reader, self.plan, self.batch_size = reader, tuple(plan), batch_size
        samples = reader.spec.samples_in(reader.frames) * reader.spec.audio_channels
        self.keeps_audio = len(self.plan) * samples * 3 * 4 <= LARGEST_MEMORY_BYTES
        self._decoded: dict[int, Item] = {}

    def __len__(self) -> int:
        return -(-len(self.plan) // self.batch_size)

    @property
    def categories(self) -> tuple[int, ...]:
        """Class indices that occur among the targets."""
        return tuple(sorted({category_of(item.excerpt) for item in self.plan}))

    @property
    def songs(self) -> tuple[Song, ...]:
        """The songs of the items and of their partners, each once."""
        excerpts = [e for item in self.plan for e in (item.excerpt, item.partner) if e is not None]
        return tuple({e.song.folder: e.song for e in excerpts}.values())

    def __getitem__(self, share: BatchShare) -> AccompanimentBatch:
        first = share.number * self.batch_size
        positions = range(first, min(first + self.batch_size, len(self.plan)))
        items = [self._item(position) for position in positions]
        batch = self.reader.batch(
            [self.plan[position].excerpt for position in positions],
            [item.audio for item in items],
            [item.annotations for item in items],
        )
        places = zip(positions, items, strict=True)
        return replace(batch, planned=tuple(PlannedItem(p, share.repeated, item.partner) for p, item in places))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_decoded": {}}

    def _item(self, position: int) -> Item:
        if position in self._decoded:
            return self._decoded[position]
        excerpt, partner = self.plan[position].excerpt, self.plan[position].partner
        alone = None if partner is None else self._partner(partner)
        item = Item(self.reader.read(excerpt), self.reader.annotations(excerpt), alone)
        if self.keeps_audio:
            self._decoded[position] = item
        return item

    def _partner(self, excerpt: Excerpt) -> Partner:
        return Partner(torch.from_numpy(self.reader.read(excerpt).target_AN), excerpt.song.name)


def evaluation_plan(
    reader: ExcerptReader,
    songs: Sequence[Song],
    training: Sequence[Song],
    categories: tuple[int, ...],
    items: int,
    seed: int,
    folder: Path,
    drawing: Drawing,
) -> list[PairedExcerpt]:
    """The plan of a drawing with the partners of `paired`, kept as a JSON file in `folder`.

    So the audio is searched only once.
    """
    key = {
        "schema": SCHEMA,
        "spec": reader.spec.to_dict() | {"name": "", "latent_channels": 0, "delay_samples": 0},
        "frames": reader.frames,
        "rule": asdict(reader.rule),
        "songs": sorted((song.name, song.digest) for song in songs),
        "training": sorted((song.name, song.digest) for song in training),
        "categories": categories,
        "items": items,
        "seed": seed,
    }
    # plans of before there were two drawings are balanced ones
    key |= {} if type(drawing) is Drawing else {"drawing": drawing.name}
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
    path = folder / f"evaluation-{name}.json"
    by_folder = {song.folder: song for song in (*songs, *training)}
    try:
        return [_from_row(row, by_folder) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        plan = paired(reader, drawing.plan(reader, songs, categories, items, seed), training, seed)
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps([_to_row(item) for item in plan], indent=1), encoding="utf-8")
    except OSError as error:
        log.warning("the choice of evaluation items cannot be kept at %s (%s): it is made again each time", path, error)
    return plan


def _to_row(item: PairedExcerpt) -> dict[str, Any]:
    place = lambda e: {"song": e.song.folder, "target": e.target, "start_frame": e.start_frame}  # noqa: E731
    return place(item.excerpt) | {"partner": item.partner and place(item.partner)}


def _from_row(row: dict[str, Any], by_folder: dict[str, Song]) -> PairedExcerpt:
    excerpt = full_mix(by_folder[row["song"]], row["target"], row["start_frame"])
    other = row["partner"]
    partner = other and alone(by_folder[other["song"]], other["target"], other["start_frame"])
    return PairedExcerpt(excerpt, partner or None)


def paired(reader: ExcerptReader, plan: Sequence[Excerpt], training: Sequence[Song], seed: int) -> list[PairedExcerpt]:
    """Every item with a true stem of the same instrument from another song, which shows what chance would score.

    The partner is the next item of the plan that qualifies, cyclically. Where the instrument occurs in only one song of
    the plan, it is a stem of a training song; None where no song has one.

    Args:
        reader: the reader of excerpts.
        plan: all items, of all processes.
        training: songs to fall back on.
        seed: seed of the choice among them.
    """
    return [
        PairedExcerpt(item, _next_alike(plan, position) or _from_training(reader, item, training, seed))
        for position, item in enumerate(plan)
    ]


def _next_alike(plan: Sequence[Excerpt], position: int) -> Excerpt | None:
    item = plan[position]
    for other in (*plan[position + 1 :], *plan[:position]):
        if category_of(other) == category_of(item) and other.song.name != item.song.name:
            return alone(other.song, other.target, other.start_frame)
    return None


def _from_training(reader: ExcerptReader, item: Excerpt, training: Sequence[Song], seed: int) -> Excerpt | None:
    songs = [song for song in training if song.name != item.song.name and is_long_enough(song, reader)]
    stems = [(song, i) for song in songs for i, s in enumerate(song.stems) if s.category == category_of(item)]
    for choice in np.random.default_rng([seed, number(item.song, item.target)]).permutation(len(stems)):
        song, stem = stems[choice]
        sounding = (alone(song, stem, start) for start in starts(reader, song, stem, [seed]))
        found = next((e for e in sounding if is_enough(reader.rule, reader.read(e).target_active_T)), None)
        if found is not None:
            return found
    return None
