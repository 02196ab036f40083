"""From what a layout found to what is written: names, splits, groups, categories."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from datamodules.categories import UNKNOWN
from datamodules.importing.found import FoundSong, FoundStem, Source
from datamodules.importing.instruments import normal
from datamodules.importing.stem_map import StemMap
from datamodules.slakh_scan import AudioFile, Refusal, RefusedError, check_audio
from livejam.errors import UserError

LONGEST_NAME = 80


@dataclass(frozen=True)
class PlannedStem:
    """One stem to write.

    Args:
        instrument: its name.
        category: its class index.
        known: whether the category follows from a name, a map or the source's metadata.
        files: its recordings, to be summed if there are several.
        audio: what the header of each says.
    """

    instrument: str
    category: int
    known: bool
    files: tuple[Path, ...]
    audio: tuple[AudioFile, ...]


@dataclass(frozen=True)
class PlannedSong:
    """One song to write.

    Args:
        found: the song in its source.
        stems: its usable stems.
        rate_hz: the rate of most of their recordings.
        refusals: all that cannot be used of it.
        left_out: names of instruments that are left out on purpose.
    """

    found: FoundSong
    stems: tuple[PlannedStem, ...]
    rate_hz: int
    refusals: tuple[Refusal, ...]
    left_out: tuple[str, ...]

    @property
    def lengths_differ_seconds(self) -> float:
        """The difference between its longest and its shortest recording."""
        lengths = [audio.samples / audio.rate_hz for stem in self.stems for audio in stem.audio]
        return max(lengths) - min(lengths) if lengths else 0.0


def plan_song(source: Source, found: FoundSong, stem_map: StemMap) -> PlannedSong:
    """Check every recording of a song, and put together what the map groups.

    Args:
        source: the folder in which the song lies.
        found: the song.
        stem_map: what the user says.
    """
    refusals = list(found.refusals)
    stems: list[PlannedStem] = []
    for name, members in _grouped(found.stems, stem_map).items():
        usable: list[tuple[Path, AudioFile]] = []
        for path in (path for member in members for path in member.files):
            try:
                source.require(path)
                usable.append((path, check_audio(path, deep=False)))
            except RefusedError as reason:
                refusals.append(Refusal(found.name, path.name, str(reason)))
        category = _category(name, members, stem_map)
        known = category is not None
        if usable:
            files, audio = zip(*usable, strict=True)
            stems.append(PlannedStem(name, category if category is not None else UNKNOWN, known, files, audio))
    if not stems and all(refusal.stem for refusal in refusals):
        refusals.append(Refusal(found.name, None, "it has no usable stem"))
    rates = Counter(audio.rate_hz for stem in stems for audio in stem.audio)
    rate_hz = max(sorted(rates), key=rates.__getitem__, default=0)
    left_out = [stem.instrument for stem in found.stems if stem_map.leaves_out(stem.instrument)]
    return PlannedSong(found, tuple(stems), rate_hz, tuple(refusals), tuple(left_out))


def _grouped(stems: Sequence[FoundStem], stem_map: StemMap) -> dict[str, list[FoundStem]]:
    """Stems that become one, by its name; those that the map does not group stay apart, whatever their names."""
    groups: dict[str, list[FoundStem]] = {}
    for stem in stems:
        if stem_map.leaves_out(stem.instrument):
            continue
        group = stem_map.group(stem.instrument)
        name, number = group or stem.instrument, 1
        while group is None and name in groups:
            number += 1
            name = f"{stem.instrument} {number}"
        groups.setdefault(name, []).append(stem)
    return groups


def _category(name: str, members: Sequence[FoundStem], stem_map: StemMap) -> int | None:
    """What the map says of it, what the source says, what its name says, or what all its members are."""
    said = stem_map.instruments.get(normal(name))
    found = {member.category for member in members}
    if said is not None:
        return said
    if len(found) == 1 and (only := next(iter(found))) is not None:
        return only
    if (named := stem_map.category(name)) is not None:
        return named
    categories = {stem_map.category(member.instrument) for member in members}
    return categories.pop() if len(categories) == 1 else None


def assigned_splits(songs: Sequence[FoundSong], stem_map: StemMap, validation: float, test: float) -> list[str]:
    """The split of every song: the map's, the source's, or a stable share of the songs without one.

    Where the source has no songs for validation, they come from its training songs.

    Raises:
        UserError: the shares leave no songs for training.
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise UserError(f"the shares validation {validation} and test {test} must leave songs for training")
    splits = [stem_map.splits.get(song.name, song.split) for song in songs]
    for split, share in (("test", test), ("validation", validation)):
        if split not in splits:
            free = sorted((_place(song.name), i) for i, song in enumerate(songs) if _is_free(splits[i], split))
            count = max(1, round(share * len(free))) if share and len(songs) > 2 and len(free) > 1 else 0
            for _, place in free[:count]:
                splits[place] = split
    return [split or "train" for split in splits]


def _is_free(split: str | None, wanted: str) -> bool:
    """A published training song may serve for validation, but never for the test."""
    return split is None or (split == "train" and wanted == "validation")


def _place(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def require_songs(songs: Sequence[FoundSong], stem_map: StemMap) -> None:
    """Refuse a map that names songs which are not there.

    Raises:
        UserError: names the first one.
    """
    names = [song.name for song in songs]
    for missing in sorted(set(stem_map.splits) - set(names)):
        near = get_close_matches(missing, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"the map's splits name the song {missing}, which the source does not have{hint}")


def folder_name(name: str) -> str:
    """A song's name as the name of a folder on any disk."""
    plain = re.sub(r"[^\w.,()&'+ -]+", "_", name).strip(". ") or "song"
    if plain == name and len(plain) <= LONGEST_NAME:
        return plain
    return f"{plain[:LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
