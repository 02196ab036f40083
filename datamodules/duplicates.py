"""Songs that stand in a data set more than once: the same UUID, or the same MIDI file, whatever their names.

Slakh2100's songs carry the UUID of the Lakh MIDI file that they were rendered from, and some were rendered several
times, also into different splits. Its authors publish two remedies, `redux.json` and `splits_v2.json`; the lists here
follow from the files on disk, by the same idea, and need not be those.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from datamodules.slakh_scan import Song
from datamodules.splits import SPLITS, SplitPolicy

SplitLists = dict[str, list[str]]
"""Names of songs by split, as `SplitByFile` reads them."""

OMITTED = "omitted"


@dataclass(frozen=True)
class Copies:
    """Songs that are the same piece.

    Args:
        songs: at least two, by name and folder.
        reasons: what is the same: "UUID", "MIDI file" or both.
    """

    songs: tuple[Song, ...]
    reasons: tuple[str, ...]

    def splits(self, policy: SplitPolicy) -> list[str]:
        """The splits that hold any of them."""
        found = {policy.split_of(song.name, song.split_folder) for song in self.songs}
        return [split for split in SPLITS if split in found]

    def described(self, policy: SplitPolicy) -> str:
        """Every copy with its split, and what they share."""
        names = [f"{song.folder} ({policy.split_of(song.name, song.split_folder) or 'unused'})" for song in self.songs]
        return f"{', '.join(names)}: the same {' and '.join(self.reasons)}"


def find_copies(songs: Iterable[Song]) -> list[Copies]:
    """All groups of songs that share a UUID or a MIDI file, directly or through a third song."""
    songs = sorted(songs, key=lambda song: (song.name, song.folder))
    by_key: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for place, song in enumerate(songs):
        for kind, value in (("UUID", song.uuid), ("MIDI file", song.midi_md5)):
            if value.strip("0-"):
                by_key[kind, value].append(place)
    shared = {key: places for key, places in by_key.items() if len(places) > 1}
    first = list(range(len(songs)))
    for places in shared.values():
        _unite(first, places)
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for place in sorted({place for places in shared.values() for place in places}):
        groups[_root(first, place)].append(place)
    return [_copies(songs, members, shared) for members in groups.values()]


def _root(first: list[int], place: int) -> int:
    while first[place] != place:
        place = first[place]
    return place


def _unite(first: list[int], places: Sequence[int]) -> None:
    roots = [_root(first, place) for place in places]
    for root in roots:
        first[root] = min(roots)


def _copies(songs: Sequence[Song], members: list[int], shared: dict[tuple[str, str], list[int]]) -> Copies:
    reasons = sorted({kind for (kind, _), places in shared.items() if set(places) & set(members)}, reverse=True)
    return Copies(tuple(songs[place] for place in members), tuple(reasons))


def leaks(copies: Iterable[Copies], policy: SplitPolicy) -> list[Copies]:
    """The groups that stand in more than one split."""
    return [group for group in copies if len(group.splits(policy)) > 1]


def lists_without_copies(songs: Sequence[Song], policy: SplitPolicy) -> SplitLists:
    """Every piece once, as in Slakh2100-redux: of copies the one in the first split, of these the first by name."""
    order = {song: (SPLITS.index(split), song.name) for song, split in _used(songs, policy)}
    extra: set[Song] = set()
    for group in find_copies(order):
        extra |= set(group.songs) - {min(group.songs, key=order.__getitem__)}
    return _lists([(song, OMITTED if song in extra else split) for song, split in _used(songs, policy)])


def lists_without_overlap(songs: Sequence[Song], policy: SplitPolicy) -> SplitLists:
    """Every song, but copies together in one split, as in Slakh2100-split2: that of the first copy by name."""
    splits = dict(_used(songs, policy))
    for group in find_copies(list(splits)):
        splits.update(dict.fromkeys(group.songs, splits[group.songs[0]]))
    return _lists(list(splits.items()))


def _used(songs: Sequence[Song], policy: SplitPolicy) -> list[tuple[Song, str]]:
    found = [(song, policy.split_of(song.name, song.split_folder)) for song in songs]
    return [(song, split) for song, split in found if split]


def _lists(splits: list[tuple[Song, str]]) -> SplitLists:
    return {name: sorted(song.name for song, split in splits if split == name) for name in (*SPLITS, OMITTED)}
