"""Import: find, plan, write, report."""

from __future__ import annotations

import json
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from datamodules.importing.found import Source
from datamodules.importing.layouts import LAYOUTS
from datamodules.importing.planning import PlannedSong, assigned_splits, folder_name, plan_song, require_songs
from datamodules.importing.report import ImportReport
from datamodules.importing.stem_map import StemMap
from datamodules.importing.writing import write_song
from livejam.errors import UserError
from livejam.files import atomic_path

RECORD = "import.json"
"""What was imported, how, and the report."""


def import_songs(
    source: Source, layout: str, out: Path, stem_map: StemMap, validation: float = 0.1, test: float = 0.1
) -> ImportReport:
    """Give a collection of stems Slakh2100's layout. Songs that are there already stay as they are.

    Args:
        source: the collection.
        layout: a name of `LAYOUTS`.
        out: the new data set; if it exists, an earlier import of the same source with the same settings.
        stem_map: what the user says.
        validation: share of the songs for validation where the source has none, 0 to 1.
        test: share of the songs for the test where the source has none, 0 to 1.

    Raises:
        UserError: there are no songs, `out` holds something else, or the disk is full.
    """
    _require_apart(source.root, out)
    settings = {
        "source": os.path.realpath(source.root),
        "layout": layout,
        "follow_links": source.follow_links,
        "map": {
            "instruments": dict(stem_map.instruments),
            "groups": dict(stem_map.groups),
            "splits": dict(stem_map.splits),
        },
        "validation": validation,
        "test": test,
    }
    earlier = _earlier_splits(out, settings)
    found = list(LAYOUTS[layout](source))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = pool.map(lambda song: plan_song(source, song, stem_map), found)
        planned = list(tqdm(jobs, "reading songs", len(found), unit="song", leave=False, delay=2.0))
    require_songs(found, stem_map)
    usable = [song for song in planned if song.stems]
    if not usable:
        raise UserError(_no_songs(source, layout, [r.reason for song in planned for r in song.refusals]))
    splits = assigned_splits([song.found for song in usable], stem_map, validation, test)
    places = _places(usable, [earlier.get(_key(song), split) for song, split in zip(usable, splits, strict=True)])
    report = ImportReport(refusals=[refusal for song in planned for refusal in song.refusals])
    _record(out, settings, usable, places, report)
    _write(source, out, usable, places, f"{layout}:", report)
    _record(out, settings, usable, places, report)
    return report


def _write(
    source: Source, out: Path, songs: list[PlannedSong], places: list[str], prefix: str, report: ImportReport
) -> None:
    """Write the songs that are not there yet, and count all of them."""

    def write(job: tuple[PlannedSong, str]) -> int | None:
        song, place = job
        return None if (out / place).is_dir() else write_song(out / place, song, source, f"{prefix} {_key(song)}")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            counts = pool.map(write, zip(songs, places, strict=True))
            shown = tqdm(counts, "importing songs", len(songs), unit="song")
            for song, place, written in zip(songs, places, shown, strict=True):
                report.add(song, place.partition("/")[0], written)
        finally:
            pool.shutdown(cancel_futures=True)


def _key(song: PlannedSong) -> str:
    """A song's place in its source."""
    return f"{song.found.split}/{song.found.name}" if song.found.split else song.found.name


def _places(songs: list[PlannedSong], splits: list[str]) -> list[str]:
    """Folders below the new data set, every one for one song."""
    taken: Counter[str] = Counter()
    places = []
    for song, split in zip(songs, splits, strict=True):
        place = f"{split}/{folder_name(song.found.name)}"
        taken[place.casefold()] += 1
        count = taken[place.casefold()]
        places.append(place if count == 1 else f"{place} {count}")
    return places


def _require_apart(source: Path, out: Path) -> None:
    if not source.is_dir():
        raise UserError(f"there is no folder {source}; name the folder with the songs")
    here, there = Path(os.path.realpath(source)), Path(os.path.realpath(out))
    if there.is_relative_to(here):
        raise UserError(f"--out {out} lies in the source {source}; name another folder")


def _earlier_splits(out: Path, settings: dict[str, Any]) -> dict[str, str]:
    """The splits of songs that an earlier import of the same kind wrote; a new song must not move the others."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return {}
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        different = [name for name, value in settings.items() if record["settings"][name] != value]
        places = {str(key): str(place).partition("/")[0] for key, place in record["songs"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{out} holds something that was not imported; name a new folder with --out") from error
    if different:
        names = ", ".join(different)
        raise UserError(f"{out} holds an import with other settings ({names}); name a new folder with --out")
    return places


def _record(
    out: Path, settings: dict[str, Any], songs: list[PlannedSong], places: list[str], report: ImportReport
) -> None:
    pairs = {_key(song): place for song, place in zip(songs, places, strict=True)}
    values = {"settings": settings, "songs": pairs, "report": report.as_dict()}
    with atomic_path(out / RECORD) as temporary:
        temporary.write_text(json.dumps(values, indent=1, ensure_ascii=False), encoding="utf-8")


def _no_songs(source: Source, layout: str, reasons: list[str]) -> str:
    expected = " ".join((LAYOUTS[layout].__doc__ or "").split("\n")[0].split()).rstrip(".")
    why = f"; for example, {reasons[0]}" if reasons else ""
    links = source.unfollowed(source.root)
    why += f"; {links[0].name} is a link to a folder, which only --follow-links follows" if links else ""
    return f"no songs in {source.root}{why}; the layout {layout} is {expected}"
