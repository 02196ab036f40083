"""What a layout finds in a source, before anything is written; and the care with which a stranger's folder is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from datamodules.slakh_scan import Refusal, RefusedError


@dataclass(frozen=True)
class FoundStem:
    """A stem as the source has it.

    Args:
        instrument: what the source calls it.
        files: its recordings; several are to be summed.
        category: class index, 0–17; None = the instrument's name says it.
    """

    instrument: str
    files: tuple[Path, ...]
    category: int | None = None


@dataclass(frozen=True)
class FoundSong:
    """A song as the source has it.

    Args:
        name: its name in the source.
        split: the split in which the source has it; None where the source has none.
        title: what people call it.
        stems: its stems.
        extras: other files that are linked as they are, by their name in Slakh2100's layout.
        uuid: its UUID where the source has one, otherwise empty.
        refusals: what cannot be used, and why.
    """

    name: str
    split: str | None
    title: str
    stems: tuple[FoundStem, ...]
    extras: dict[str, Path] = field(default_factory=dict)
    uuid: str = ""
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True)
class Source:
    """The folder of a stranger, of which no link leads anywhere unless it is trusted.

    Args:
        root: the folder.
        follow_links: follow links that lead out of it, and links to folders; loops end all the same.
    """

    root: Path
    follow_links: bool = False

    def folders(self, folder: Path) -> list[Path]:
        """The visible folders in a folder, by name; links that are not followed are left out."""
        return [entry for entry in self._visible(folder) if entry.is_dir() and self._may_enter(entry)]

    def files(self, folder: Path) -> list[Path]:
        """The visible files in a folder, by name, dead and unfollowed links included: `require` says what is wrong."""
        return [entry for entry in self._visible(folder) if not entry.is_dir()]

    def unfollowed(self, folder: Path) -> list[Path]:
        """Links to folders that are left alone."""
        return [entry for entry in self._visible(folder) if entry.is_dir() and not self._may_enter(entry)]

    def require(self, path: Path) -> None:
        """Refuse a file that is not there, is no plain file, or lies elsewhere.

        Raises:
            RefusedError: what is wrong.
        """
        if path.is_symlink() and not path.exists():
            raise RefusedError(f"{path.name} is a link that leads nowhere")
        if not path.is_file():
            raise RefusedError(f"{path.name} is missing")
        if not self.follow_links and not _inside(path, self.root):
            raise RefusedError(f"{path.name} is a link that leads out of {self.root}; --follow-links follows it")

    def _may_enter(self, folder: Path) -> bool:
        if not folder.is_symlink():
            return True
        # a link to a folder above itself is a loop
        return self.follow_links and not _inside(folder.parent, Path(os.path.realpath(folder)))

    def _visible(self, folder: Path) -> Iterator[Path]:
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            return
        # __MACOSX holds copies of attributes under the names of the recordings
        yield from (entry for entry in entries if not entry.name.startswith((".", "__MACOSX")))


def _inside(path: Path, root: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))
