"""Which excerpts are evaluated: balanced over songs and instruments, or drawn as the papers draw them.

Shapes: T latent frames.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from datamodules.crops import ActivityRule
from datamodules.excerpts import Excerpt, ExcerptReader
from datamodules.slakh_scan import Song
from livejam.errors import UserError

log = logging.getLogger(__name__)

TRIES = 16


class Drawing:
    """Ours: different songs first, and the instruments in turn, so that few items say much.

    The first n items of a plan are as balanced as possible, for every n. Every (song, target) is used at most once,
    with all other stems as its mix.
    """

    name = "balanced"

    def plan(
        self, reader: ExcerptReader, songs: Sequence[Song], categories: tuple[int, ...], items: int, seed: int
    ) -> list[Excerpt]:
        """Choose targets and crops in which both target and mix sound.

        Args:
            reader: the reader of excerpts.
            songs: where they may come from.
            categories: class indices of stems that may be targets.
            items: how many, at most.
            seed: of the choice.

        Raises:
            UserError: no song offers an item.
        """
        return plan_excerpts(reader, songs, categories, items, seed)


class UniformDrawing(Drawing):
    """StreamMusicGen's and LiveBand's: a song at random for every item, one of its stems at random, and a random crop.

    All other stems are its mix. So songs come more than once, and instruments as often as music has them.
    """

    name = "published"

    def plan(
        self, reader: ExcerptReader, songs: Sequence[Song], categories: tuple[int, ...], items: int, seed: int
    ) -> list[Excerpt]:
        """As `Drawing.plan`; a stem whose crops are refused makes room for another draw, sixteen times per item."""
        rng = np.random.default_rng(seed)
        offered = [(s, own) for s in songs if is_long_enough(s, reader) and (own := targets(s, categories))]
        plan: list[Excerpt] = []
        for draw in range(TRIES * items if offered else 0):
            song, own = offered[rng.integers(len(offered))]
            excerpt = found_crop(reader, song, own[rng.integers(len(own))], [seed, draw])
            plan += [excerpt] if excerpt else []
            if len(plan) == items:
                break
        return _enough(plan, songs, reader, items)


def plan_excerpts(
    reader: ExcerptReader, songs: Sequence[Song], categories: tuple[int, ...], items: int, seed: int
) -> list[Excerpt]:
    """Choose targets and crops: different songs first, and the categories in turn.

    The first n items of the plan are as balanced as possible, for every n. Every (song, target) is used at most once,
    with all other stems as its mix.

    Raises:
        UserError: no song offers an item.
    """
    rng = np.random.default_rng(seed)
    order = [songs[i] for i in rng.permutation(len(songs)) if is_long_enough(songs[i], reader)]
    untried = {song.name: _shuffled(targets(song, categories), rng) for song in order}
    song_uses, category_uses = Counter[str](), Counter[int]()
    plan: list[Excerpt] = []
    with tqdm(total=items, desc="choosing items", unit="item", leave=False, delay=2.0) as progress:
        while len(plan) < items and any(untried.values()):
            song = min((s for s in order if untried[s.name]), key=lambda s: song_uses[s.name])
            target = min(untried[song.name], key=lambda t: category_uses[song.stems[t].category])
            untried[song.name].remove(target)
            excerpt = found_crop(reader, song, target, [seed])
            if excerpt:
                plan.append(excerpt)
                song_uses[song.name] += 1
                category_uses[song.stems[target].category] += 1
                progress.update()
    return _enough(plan, songs, reader, items)


def _enough(plan: list[Excerpt], songs: Sequence[Song], reader: ExcerptReader, items: int) -> list[Excerpt]:
    """The plan, if there is any."""
    if not plan:
        raise UserError(
            f"none of {len(songs)} songs offers {reader.frames} frames in which a target and the others sound; make "
            "data.eval_seconds smaller, choose other data.targets, or render more songs with `livejam data render`"
        )
    if len(plan) < items:
        log.warning("%d songs offer %d evaluation items, %d were asked for", len(songs), len(plan), items)
    return plan


def is_long_enough(song: Song, reader: ExcerptReader) -> bool:
    """Whether a song has a crop, and a mix."""
    return len(song.stems) > 1 and reader.spec.frames_in(song.seconds) >= reader.frames


def targets(song: Song, categories: tuple[int, ...]) -> list[int]:
    """Positions of the stems that may be targets."""
    return [i for i, stem in enumerate(song.stems) if stem.category in categories]


def _shuffled(values: list[int], rng: np.random.Generator) -> list[int]:
    return [values[i] for i in rng.permutation(len(values))]


def found_crop(reader: ExcerptReader, song: Song, target: int, seed: list[int]) -> Excerpt | None:
    """The first of some random crops that the rule accepts; it depends on nothing but song, target and seed."""
    for start in starts(reader, song, target, seed):
        # most refusals show in the target alone, which costs a fraction of the whole mix
        if not is_enough(reader.rule, reader.read(alone(song, target, start)).target_active_T):
            continue
        excerpt = full_mix(song, target, start)
        if is_enough(reader.rule, reader.read(excerpt).both_active_T):
            return excerpt
    return None


def starts(reader: ExcerptReader, song: Song, stem: int, seed: Sequence[int]) -> list[int]:
    """First frames of some random crops."""
    rng = np.random.default_rng([*seed, number(song, stem)])
    return rng.permutation(reader.spec.frames_in(song.seconds) - reader.frames + 1)[:TRIES].tolist()


def number(song: Song, stem: int) -> int:
    """A number for a song's stem, for seeds."""
    return int.from_bytes(hashlib.sha256(f"{song.name}/{song.stems[stem].name}".encode()).digest()[:8], "big")


def is_enough(rule: ActivityRule, active_T: NDArray[np.bool_]) -> bool:
    """Whether a crop sounds in enough of its frames."""
    return bool(active_T.any() and active_T.mean() >= rule.min_active_ratio)


def full_mix(song: Song, target: int, start_frame: int) -> Excerpt:
    """A stem as the target, and all others as its mix."""
    others = tuple(i for i in range(len(song.stems)) if i != target)
    return Excerpt(song, target, others, start_frame, (0.0,) * len(song.stems))


def alone(song: Song, stem: int, start_frame: int) -> Excerpt:
    """A stem without a mix."""
    return Excerpt(song, stem, (), start_frame, (0.0,))


def category_of(excerpt: Excerpt) -> int:
    """Class index of the target."""
    return excerpt.song.stems[excerpt.target].category
