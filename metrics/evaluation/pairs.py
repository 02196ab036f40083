"""Pairs of recordings on disk that are judged: a mix, what was played to it, and perhaps the true stem."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from livejam.audio_files import opened, require_finite
from livejam.batch import NAMES, NULL_CATEGORY
from livejam.errors import UserError
from metrics.evaluation.clips import Audio

RATE_HZ = 44_100
"""All recordings are judged at this rate."""

RATES_HZ = (8_000, 384_000)
SHORTEST_SECONDS = 1.0
SOUND = (".wav", ".flac", ".mp3")
ROLES = ("mix", "stem", "reference")
COLUMNS = (*ROLES, "song", "instrument", "name")
NAMED = re.compile(rf"(?:(?P<name>.*)[._-])?(?P<role>{'|'.join(ROLES)})", re.IGNORECASE)

HOW = "name files NAME.mix.wav, NAME.stem.wav and, where there is one, NAME.reference.wav; or give a CSV file"


@dataclass(frozen=True)
class Pair:
    """A mix and a stem that is judged.

    Args:
        name: of the pair, unlike all others.
        mix: what was played to.
        stem: what was played.
        reference: the true stem; None where there is none.
        song: pairs of one song are not independent, and are left out together.
        category: class index of the instrument, 18 = not known.
    """

    name: str
    mix: Path
    stem: Path
    reference: Path | None
    song: str
    category: int = NULL_CATEGORY

    @property
    def best(self) -> Path:
        """The true stem, or what was played where there is none."""
        return self.stem if self.reference is None else self.reference


def find_pairs(source: Path) -> list[Pair]:
    """The pairs of a folder, or of a CSV file, in the order of their names.

    In a folder, names of WAV, FLAC and MP3 files end in `mix`, `stem` and `reference`, after a dot, a line or nothing:
    `a.mix.wav` and `a.stem.flac`, or `a/mix.mp3` and `a/stem.wav`. A CSV file has the columns `mix` and `stem`, and
    may have `reference`, `song`, `instrument` (a MIDI category) and `name`; its paths begin where it lies.

    Raises:
        UserError: there are none, or it is not clear which files belong together.
    """
    if source.is_dir():
        pairs = _in_folder(source)
    elif source.is_file():
        pairs = _in_table(source)
    else:
        raise UserError(f"there is no folder or CSV file {source}; {HOW}")
    if not pairs:
        raise UserError(f"there are no pairs in {source}; {HOW}")
    return sorted(pairs, key=lambda pair: pair.name)


def _in_folder(folder: Path) -> list[Pair]:
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.rglob("*")):
        named = NAMED.fullmatch(path.stem) if path.suffix.lower() in SOUND else None
        if named is not None and path.is_file():
            parts = [*path.relative_to(folder).parent.parts, *filter(None, [named["name"]])]
            own = found.setdefault("/".join(parts) or folder.name, {})
            role = named["role"].lower()
            if role in own:
                raise UserError(f"{own[role]} and {path} are both the {role} of one pair; rename one of them")
            own[role] = path
    for name, files in found.items():
        for role in ROLES[:2]:
            if role not in files:
                raise UserError(f"{name} in {folder} has no {role}; {HOW}")
    return [Pair(name, files["mix"], files["stem"], files.get("reference"), name) for name, files in found.items()]


def _in_table(path: Path) -> list[Pair]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            headings = [heading for heading in table.fieldnames or () if heading]
            rows = list(table)
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is no CSV file ({error}); give a folder, or a table with the columns mix, stem"
        ) from error
    if not {"mix", "stem"} <= set(headings) or set(headings) - set(COLUMNS):
        raise UserError(f"{path} has the columns {', '.join(headings) or 'none'}; it needs mix and stem, and may have "
                        f"{', '.join(COLUMNS[2:])}")  # fmt: skip
    pairs = [_of_line(path, number, row) for number, row in enumerate(rows, 2)]
    names = [pair.name for pair in pairs]
    if len(set(names)) < len(names):
        twice = max(names, key=Counter(names).__getitem__)
        raise UserError(f"{path} has two pairs of the name {twice}; give each line a name of its own")
    return pairs


def _of_line(table: Path, number: int, row: dict[str, str | None]) -> Pair:
    """A line of a CSV file."""
    given = {column: (row.get(column) or "").strip() for column in COLUMNS}
    if not (given["mix"] and given["stem"]):
        raise UserError(f"line {number} of {table} lacks a mix or a stem; name both files")
    mix, stem = (table.parent / given[role] for role in ROLES[:2])
    reference = table.parent / given["reference"] if given["reference"] else None
    instrument = given["instrument"] or NAMES[NULL_CATEGORY]
    if instrument not in NAMES:
        raise UserError(f"line {number} of {table}: no such instrument {instrument}; choose from {', '.join(NAMES)}")
    name = given["name"] or given["stem"]
    return Pair(name, mix, stem, reference, given["song"] or name, NAMES.index(instrument))


def partners_of(pairs: Sequence[Pair]) -> list[Pair | None]:
    """For every pair the next one of another song with the same instrument, around the end; None if there is none."""
    alike: dict[int, list[int]] = {}
    for place, pair in enumerate(pairs):
        alike.setdefault(pair.category, []).append(place)
    partners: list[Pair | None] = [None] * len(pairs)
    for places in alike.values():
        if len({pairs[place].song for place in places}) > 1:
            for number, place in enumerate(places):
                following = (pairs[places[(number + step) % len(places)]] for step in range(1, len(places)))
                partners[place] = next(other for other in following if other.song != pairs[place].song)
    return partners


def read_mono(path: Path, seconds: float) -> Audio:
    """The beginning of a recording at 44.1 kHz, its channels averaged.

    Args:
        path: a WAV, FLAC or MP3 file.
        seconds: how much of it is read at most.

    Raises:
        UserError: it is missing, broken, empty, not finite, or has an impossible rate.
    """
    with opened(path) as file:
        rate_hz = file.samplerate
        if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
            raise UserError(f"{path} has a rate of {rate_hz} Hz; convert it to {RATE_HZ} Hz")
        audio_NA = file.read(round(seconds * rate_hz), dtype="float32", always_2d=True)
    require_finite(path, audio_NA, 0.0)
    mono_N = audio_NA.mean(axis=1)
    return mono_N if rate_hz == RATE_HZ else np.asarray(soxr.resample(mono_N, rate_hz, RATE_HZ))
