"""A user's own list of stems that are left out, whatever their files say.

A text file with one stem per line, `Track00001/S05`; what follows a # is a comment, and so is a line that begins with
one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from datamodules.foreign_files import ForeignFileError, read_text
from datamodules.slakh_scan import Refusal, Song, Stem
from livejam.errors import UserError

ENTRY = re.compile(r"([^/]+)/([^/\s#]+)\s*(?:#.*)?")


def read_bad_stems(path: str | Path) -> dict[str, frozenset[str]]:
    """Names of stems by song.

    Raises:
        UserError: the file cannot be read, or a line names no stem.
    """
    try:
        lines = read_text(Path(path)).splitlines()
    except ForeignFileError as reason:
        raise UserError(f"{path} is no list of stems: {reason}") from reason
    found: dict[str, set[str]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        entry = ENTRY.fullmatch(line.strip())
        if entry is None:
            raise UserError(
                f"line {number} of {path} is {line.strip()[:80]!r}, which names no stem; "
                "write one per line, as Track00001/S05"
            )
        found.setdefault(entry[1], set()).add(entry[2])
    return {song: frozenset(stems) for song, stems in found.items()}


def without_bad_stems(
    songs: Iterable[Song], bad: Mapping[str, frozenset[str]]
) -> tuple[tuple[Song, ...], tuple[Refusal, ...]]:
    """The songs without these stems, and these as refusals. A song that loses some has other digests than before."""
    kept, refusals = [], []
    for song in songs:
        lost = tuple(stem for stem in song.stems if stem.name in bad.get(song.name, ()))
        refusals += [Refusal(song.name, stem.name, "it is in the list of bad stems") for stem in lost]
        stems = tuple(stem for stem in song.stems if stem not in lost)
        if not stems:
            refusals.append(Refusal(song.name, None, "all its stems are in the list of bad stems"))
            continue
        kept.append(_without(song, stems, " ".join(stem.name for stem in lost)) if lost else song)
    return tuple(kept), tuple(refusals)


def not_found(songs: Iterable[Song], bad: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
    """Entries of the list that are no usable stem of these songs, as the list has them."""
    here = {(song.name, stem.name) for song in songs for stem in song.stems}
    entries = ((song, stem) for song in sorted(bad) for stem in sorted(bad[song]))
    return tuple(f"{song}/{stem}" for song, stem in entries if (song, stem) not in here)


def _without(song: Song, stems: tuple[Stem, ...], lost: str) -> Song:
    digest, name_digest = (
        hashlib.sha256(f"{digest} without {lost}".encode()).hexdigest()[:16]
        for digest in (song.digest, song.name_digest)
    )
    return replace(song, stems=stems, digest=digest, name_digest=name_digest)
