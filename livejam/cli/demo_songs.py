"""The songs that the page offers: those of a data set, or three that the first start composes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from livejam.serving.web_songs import DemoSong

SONGS, SEED = 3, 2024
MOST_SONGS = 50
ANNOTATIONS = "annotations.json"


def demo_songs(root: Path | None) -> list[DemoSong]:
    """The songs to choose from.

    Args:
        root: a data set in Slakh2100's format; None = our own, composed if they are not there yet.

    Raises:
        UserError: there is no data set, or no song in it.
    """
    from datamodules.slakh_index import SlakhIndex
    from livejam.batch import NAMES
    from livejam.serving.web_songs import DemoSong, DemoStem

    folder = _own_songs() if root is None else root
    return [
        DemoSong(
            _title(folder / song.folder) if root is None else song.name,
            tuple(DemoStem(NAMES[stem.category], folder / song.folder / stem.file) for stem in song.stems),
        )
        for song in sorted(SlakhIndex.open(folder).songs, key=lambda song: song.name)[:MOST_SONGS]
    ]


def _title(folder: Path) -> str:
    """Style, key and tempo of a song that we composed."""
    facts = json.loads((folder / ANNOTATIONS).read_text(encoding="utf-8"))
    style, key = str(facts["style"]).replace("_", " ").capitalize(), facts["key"]
    return f"{style} in {key}, {facts['tempo_bpm']:.0f} bpm"


def _own_songs() -> Path:
    """The folder of three songs, which are composed and rendered if they are not there."""
    from datamodules.pocket_slakh.render import is_rendered, render_songs
    from livejam.checkpoints.weights import weights_root

    folder = weights_root() / "demo_songs"
    if not is_rendered(folder, SONGS, 0, 0):
        sys.stderr.write(f"note: {SONGS} demo songs are composed, once, and kept in {folder}\n")
        render_songs(folder, SONGS, SEED, validation_fraction=0, test_fraction=0)
    return folder
