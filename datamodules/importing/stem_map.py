"""The user's map: what instruments are, which stems become one, and which songs are held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datamodules.foreign_files import ForeignFileError, read_mapping
from datamodules.importing.instruments import CLICKS, category_named, normal
from datamodules.splits import SPLITS
from livejam.batch import CATEGORIES
from livejam.errors import UserError

FORM = (
    "it may hold `instruments: {NAME: CATEGORY or null}`, `groups: {NAME: [INSTRUMENT, …]}` and "
    "`splits: {validation: [SONG, …], test: [SONG, …]}`"
)


@dataclass(frozen=True)
class StemMap:
    """What a user says about a source; instruments in normal form (lower case, single spaces, no numbers).

    Args:
        instruments: the class index of an instrument; None leaves its stems out.
        groups: the stem into which an instrument's are summed.
        splits: the split of a song, by its name in the source.
    """

    instruments: Mapping[str, int | None] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)

    def leaves_out(self, instrument: str) -> bool:
        """Whether stems of an instrument are left out: those the map says, and clicks."""
        name = normal(instrument)
        return self.instruments[name] is None if name in self.instruments else name in CLICKS

    def category(self, instrument: str) -> int | None:
        """The class index of an instrument; None if neither the map nor the name says one."""
        said = self.instruments.get(normal(instrument))
        return category_named(instrument) if said is None else said

    def group(self, instrument: str) -> str | None:
        """The stem into which an instrument's are summed, also if it has that stem's name; None = its own."""
        name = normal(instrument)
        return self.groups.get(name) or next((group for group in self.groups.values() if normal(group) == name), None)


def read_map(path: Path) -> StemMap:
    """The map in a YAML file.

    Raises:
        UserError: it cannot be read, or says something that no map says.
    """
    try:
        values = read_mapping(path)
    except ForeignFileError as reason:
        raise UserError(f"{path} is no map: {reason}; {FORM}") from reason
    unknown = set(map(str, values)) - {"instruments", "groups", "splits"}
    if unknown:
        raise UserError(f"{path} holds {', '.join(sorted(unknown))}, which a map does not; {FORM}")
    instruments = {normal(str(name)): _category(path, said) for name, said in _section(path, values, "instruments")}
    groups = {
        normal(name): str(group) for group, names in _section(path, values, "groups") for name in _names(path, names)
    }
    splits = {
        name: _split(path, split) for split, names in _section(path, values, "splits") for name in _names(path, names)
    }
    return StemMap(instruments, groups, splits)


def _section(path: Path, values: dict[str, Any], name: str) -> list[tuple[Any, Any]]:
    section = values.get(name) or {}
    if not isinstance(section, dict):
        raise UserError(f"{path}: {name} is no mapping; {FORM}")
    return list(section.items())


def _names(path: Path, names: object) -> list[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: {names!r:.60} is no list of names; {FORM}")
    return names


def _category(path: Path, said: object) -> int | None:
    if said is not None and said not in CATEGORIES:
        raise UserError(f"{path}: {said!r:.60} is none of {', '.join(CATEGORIES)}, nor null to leave a stem out")
    return None if said is None else CATEGORIES.index(str(said))


def _split(path: Path, split: object) -> str:
    if split not in SPLITS:
        raise UserError(f"{path}: {split!r:.60} is none of the splits {', '.join(SPLITS)}")
    return str(split)
