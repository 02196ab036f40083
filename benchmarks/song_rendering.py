"""How fast songs are rendered, against the time that they last.

    python -m benchmarks.song_rendering --songs 12

Each composer renders songs of its own. Time is that of the processor, summed over threads, so that a figure is one
core's, also on a busy machine. The last line is a JSON object: seconds of music, stems and all, per second
(`x_real_time`), and seconds per song.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import soundfile

from datamodules.pocket_slakh.render import render_songs
from datamodules.wide_songs.collection import WideSongs
from datamodules.wide_songs.render import render_wide_songs

Render = Callable[[Path, int], None]


def measured(render: Render, songs: int) -> dict[str, float]:
    """Render songs into a folder that is deleted, after one that pays for what is done once.

    Args:
        render: writes that many songs into a folder.
        songs: how many.
    """
    with tempfile.TemporaryDirectory() as first:
        render(Path(first), 1)
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        render(Path(folder), songs)
        took = time.process_time() - started
        lasted = sum(soundfile.info(mix).duration for mix in Path(folder).glob("*/Track*/mix.flac"))
    return {"x_real_time": round(lasted / took, 1), "seconds_per_song": round(took / songs, 3)}


def main() -> None:
    """Measure all composers and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=12, help="songs of each kind")
    parser.add_argument("--soundfont", action="append", default=[], help="SoundFonts for wide songs")
    given = parser.parse_args()
    plain, full = (WideSongs(soundfonts=tuple(given.soundfont), effects=effects) for effects in (False, True))
    kinds: dict[str, Render] = {
        "pocket-Slakh": lambda out, songs: render_songs(out, songs, 0, 1),
        "wide, no effects": lambda out, songs: render_wide_songs(out, songs, 0, plain, 1),
        "wide": lambda out, songs: render_wide_songs(out, songs, 0, full, 1),
    }
    print(json.dumps({name: measured(render, given.songs) for name, render in kinds.items()}))


if __name__ == "__main__":
    main()
