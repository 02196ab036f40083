"""Several data sets as one: a folder of links to their songs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from datamodules.slakh_index import missing_root_message, track_folders
from datamodules.splits import SplitByFolder
from livejam.errors import UserError


def join_data_sets(roots: Sequence[Path], out: Path) -> dict[str, int]:
    """Link the songs of data sets into one, every song in the split that it has in its own set.

    A song's name begins with that of its set, so that songs of equal names stay apart. Songs that are linked already
    stay; those that were added to a set since then join them.

    Args:
        roots: folders in Slakh2100's layout, split or flat; they are only read.
        out: the folder of the links.

    Returns:
        how many songs of every split the whole has.

    Raises:
        UserError: a folder holds no songs, two have the same name, a link would lead to another song than the one that
            is there, or the disk knows no links.
    """
    names = Counter(_name(root) for root in roots)
    if twice := [name for name, count in names.items() if count > 1]:
        raise UserError(f"two data sets are called {twice[0]}, and so would their songs be; rename the folder of one")
    for root in roots:
        places = list(track_folders(root))
        if not places:
            raise UserError(missing_root_message(root))
        for folder, split_folder in places:
            split = SplitByFolder().split_of(folder.name, split_folder)
            if split is not None:
                _link(out / split / f"Track_{_name(root)}_{folder.name.removeprefix('Track')}", folder)
    linked = Counter(split or "unused" for _, split in track_folders(out))
    return {split: linked[split] for split in ("train", "validation", "test")}


def _name(root: Path) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", root.resolve().name)


def _link(place: Path, folder: Path) -> None:
    target = folder.resolve()
    if place.is_symlink() or place.exists():
        if place.resolve() != target:
            raise UserError(f"{place} is another song than {folder}; give another --out, or rename the data set")
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        place.symlink_to(target, target_is_directory=True)
    except OSError as error:
        raise UserError(f"{place.parent} takes no links ({error.strerror}); give an --out on another disk") from error
