"""The content of a Slakh-like data set: usable stems, and refused ones with the reason, cached in one file."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tqdm import tqdm

from datamodules.annotations import MIDI
from datamodules.bad_stems import not_found, read_bad_stems, without_bad_stems
from datamodules.duplicates import Copies, find_copies, leaks
from datamodules.slakh_scan import Refusal, Song, Stem, fingerprint, scan_track
from datamodules.splits import SPLITS, SplitByFolder, SplitPolicy
from livejam.batch import CATEGORIES
from livejam.errors import UserError
from livejam.files import atomic_path

log = logging.getLogger(__name__)

SCHEMA = 3
SPLIT_FOLDERS = {
    **{"train": "train", "training": "train", "omitted": "omitted", "test": "test", "testing": "test"},
    **{"validation": "validation", "valid": "validation", "val": "validation"},
}
"""Names of split folders, in capitals too, and the splits that they stand for."""

INDEX = "slakh_index.json"
DEFAULT_CACHE = f".livejam/{INDEX}"
SCAN_THREADS = 8


@dataclass(frozen=True)
class _Track:
    """The cached result of one scan."""

    fingerprint: str
    deep: bool
    song: Song | None
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True)
class SlakhIndex:
    """The songs of a data set in Slakh2100's format, split folders or flat, FLAC or WAV, of any rate.

    Args:
        root: the data set's folder.
        songs: every song with at least one usable stem, by folder.
        refusals: what cannot be used, with the reason.
        not_found: entries of a list of bad stems that are no usable stem here.
    """

    root: Path
    songs: tuple[Song, ...] = field(default_factory=tuple)
    refusals: tuple[Refusal, ...] = field(default_factory=tuple)
    not_found: tuple[str, ...] = ()

    @classmethod
    def open(cls, root: str | Path, cache: str | Path | None = None, deep: bool = False) -> SlakhIndex:
        """Examine every track folder; folders that have not changed come from the cache.

        Args:
            root: a folder with track folders in it, or in its sub-folders train, validation (or valid, val), test and
                omitted. A track that stands twice, in a split and beside it, is one: that in the split.
            cache: where the index is kept; None is `.livejam/slakh_index.json` under the root. If that cannot
                be written, the index is made every time.
            deep: decode all audio, refuse stems that are truncated inside or not finite, and list MIDI files that
                cannot be read (slow, but remembered for every later index of these files).

        Raises:
            UserError: there is no track folder, or no usable song.
        """
        root = Path(root)
        cache = root / DEFAULT_CACHE if cache is None else Path(cache)
        folders, twice = _each_once(list(track_folders(root)))
        if not folders:
            raise UserError(missing_root_message(root))
        known = _read_cache(cache)
        tracks = _scan(root, folders, [known, _read_cache(root / DEFAULT_CACHE)], deep)
        if tracks != known:
            _write_cache(cache, tracks)
        songs = tuple(track.song for _, track in sorted(tracks.items()) if track.song)
        refusals = tuple(refusal for _, track in sorted(tracks.items()) for refusal in track.refusals) + twice
        if not songs:
            raise UserError(
                f"none of the {len(folders)} songs in {root} can be used, for example {_describe(refusals[0])}; "
                "restore the data set or render one with `livejam data render --out DIR --songs 40`"
            )
        return cls(root, songs, refusals)

    def without(self, bad_stems: str | Path) -> SlakhIndex:
        """The index without the stems of a list; their songs count as changed, so a bank encodes them anew.

        Args:
            bad_stems: a text file, see `datamodules.bad_stems`.

        Raises:
            UserError: a line of the list names no stem, or no song is left.
        """
        bad = read_bad_stems(bad_stems)
        songs, refusals = without_bad_stems(self.songs, bad)
        if not songs:
            raise UserError(f"every stem in {self.root} is in {bad_stems}; shorten that list")
        return SlakhIndex(self.root, songs, self.refusals + refusals, not_found(self.songs, bad))

    @property
    def refused(self) -> int:
        """The number of refused stems and songs; a song is not refused for a MIDI file that cannot be read."""
        return sum(refusal.stem != MIDI for refusal in self.refusals)

    @cached_property
    def copies(self) -> list[Copies]:
        """Songs that are the same piece."""
        return find_copies(self.songs)

    def split(self, name: str, policy: SplitPolicy) -> tuple[Song, ...]:
        """The songs of the split "train", "validation" or "test"."""
        return tuple(song for song in self.songs if policy.split_of(song.name, song.split_folder) == name)

    def summary(self, left_out: Sequence[Refusal] = (), policy: SplitPolicy | None = None) -> str:
        """A summary of what is there and what is not.

        Args:
            left_out: intact songs that training does not use.
            policy: what is for training, validation and test; None = `SplitByFolder`.
        """
        policy = policy or SplitByFolder()
        folders = Counter(song.split_folder or "flat" for song in self.songs)
        categories = Counter(CATEGORIES[stem.category] for song in self.songs for stem in song.stems)
        hours = sum(song.seconds for song in self.songs) / 3600
        lines = [
            f"{self.root}: {len(self.songs)} songs, {sum(categories.values())} stems, {hours:.2f} hours",
            "  songs: " + ", ".join(f"{count} {name}" for name, count in sorted(folders.items())),
            "  used as: " + ", ".join(f"{count} {name}" for name, count in self._uses(policy).items()),
            "  stems: " + ", ".join(f"{count} {name}" for name, count in categories.most_common()),
            f"  refused: {len(self.refusals)}",
        ]
        lines += [f"    {_describe(refusal)}" for refusal in self.refusals]
        lines += [f"  in the list of bad stems, but no usable stem here: {', '.join(self.not_found)}"] * bool(
            self.not_found
        )
        lines += [f"  left out by a training: {len(left_out)}"] * bool(left_out)
        lines += [f"    {_describe(refusal)}" for refusal in left_out]
        if self.copies:
            crossing = len(leaks(self.copies, policy))
            lines.append(f"  the same piece more than once: {len(self.copies)}, of them across splits: {crossing}")
        return "\n".join(lines + [f"    {group.described(policy)}" for group in self.copies])

    def _uses(self, policy: SplitPolicy) -> dict[str, int]:
        found = [policy.split_of(song.name, song.split_folder) or "unused" for song in self.songs]
        return {name: found.count(name) for name in (*SPLITS, "unused") if name in found}


def missing_root_message(root: Path) -> str:
    """One sentence that says what was expected, and how to get it."""
    found = "it does not exist"
    if root.is_dir():
        names = sorted(p.name for p in root.iterdir())
        found = f"it holds {', '.join(names[:5]) or 'nothing'}{' …' if len(names) > 5 else ''}"
        nested = [p for p in sorted(root.iterdir()) if p.is_dir() and any(track_folders(p))]
        if nested:
            found += f" (did you mean {nested[0]}?)"
    return (
        f"no Slakh data set at {root}: looked for folders TrackXXXXX with metadata.yaml there and in "
        f"train/, validation/, test/ and omitted/, but {found}; render one with "
        f"`livejam data render --out {root} --songs 40`, download Slakh2100 with `livejam data download`, give another "
        "collection of stems this form with `livejam data import`, or point data.root to it"
    )


def has_tracks(root: Path) -> bool:
    """Whether there is any track folder under `root`."""
    return any(True for _ in track_folders(root))


def track_folders(root: Path) -> Iterator[tuple[Path, str | None]]:
    """Track folders with the split folder they lie in; None in a flat data set."""
    if not root.is_dir():
        return
    for entry in sorted(p for p in root.iterdir() if p.is_dir()):
        if entry.name.lower() in SPLIT_FOLDERS and not (entry / "metadata.yaml").is_file():
            split = SPLIT_FOLDERS[entry.name.lower()]
            yield from ((track, split) for track in sorted(entry.iterdir()) if _is_track(track))
        elif _is_track(entry):
            yield entry, None


def _each_once(places: list[tuple[Path, str | None]]) -> tuple[list[tuple[Path, str | None]], tuple[Refusal, ...]]:
    """The track folders without those that stand in a split too, and these as refusals."""
    first: dict[tuple[str, str | None], Path] = {}
    for folder, split in places:
        first.setdefault((folder.name, split), folder)
    in_splits = {name: folder for (name, split), folder in first.items() if split is not None}
    used, twice = [], []
    for folder, split in places:
        other = in_splits.get(folder.name) if split is None else first[folder.name, split]
        if other in (None, folder):
            used.append((folder, split))
        else:
            twice.append(Refusal(folder.name, None, f"it stands twice; {other} is used, {folder} is not"))
    return used, tuple(twice)


def _is_track(folder: Path) -> bool:
    return (
        folder.is_dir()
        and not folder.name.startswith(".")
        and (folder.name.startswith("Track") or (folder / "metadata.yaml").is_file())
    )


def _scan(
    root: Path, folders: list[tuple[Path, str | None]], caches: list[dict[str, _Track]], deep: bool
) -> dict[str, _Track]:
    def look(place: tuple[Path, str | None]) -> tuple[str, _Track]:
        folder, split_folder = place
        key, mark = folder.relative_to(root).as_posix(), fingerprint(folder)
        cached = [known[key] for known in caches if key in known and known[key].fingerprint == mark]
        best = max(cached, key=lambda track: track.deep, default=None)
        if best and best.deep >= deep:
            return key, best
        song, refusals = scan_track(folder, root, split_folder, deep)
        return key, _Track(mark, deep, song, tuple(refusals))

    # the time goes into waiting for the disk and into decoding, which releases the interpreter
    with ThreadPoolExecutor(SCAN_THREADS) as pool:
        results = pool.map(look, folders)
        return dict(tqdm(results, "index", len(folders), unit="song", leave=False, delay=2.0))


def _read_cache(path: Path) -> dict[str, _Track]:
    """The cached tracks; none if there is no cache, or one of another schema."""
    try:
        cached = json.loads(path.read_text(encoding="utf-8"))
        if cached["schema"] != SCHEMA:
            return {}
        return {key: _track_from_dict(track) for key, track in cached["tracks"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _track_from_dict(values: dict[str, Any]) -> _Track:
    song = values["song"]
    if song is not None:
        song = Song(**{**song, "stems": tuple(Stem(**stem) for stem in song["stems"])})
    refusals = tuple(Refusal(**refusal) for refusal in values["refusals"])
    return _Track(values["fingerprint"], values["deep"], song, refusals)


def _write_cache(path: Path, tracks: dict[str, _Track]) -> None:
    values = {"schema": SCHEMA, "tracks": {key: asdict(track) for key, track in sorted(tracks.items())}}
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")
    except OSError as error:
        log.warning("the index of the data set cannot be kept at %s (%s): it is made again each time", path, error)


def _describe(refusal: Refusal) -> str:
    return f"{refusal.song}{'/' + refusal.stem if refusal.stem else ''}: {refusal.reason}"
