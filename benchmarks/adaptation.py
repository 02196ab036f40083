"""How a model adapts when the music changes: `python -m benchmarks.adaptation --songs 8 --plot adaptation.png`.

For each of the composer's events (the key goes up, the tempo jumps or rises, the band stops, another song, rubato,
another metre, the drums drop out) songs with this event in the middle are rendered with held-out grooves, and a model
accompanies them, as drummer and as a pitched player. At every beat around the event the next four beats are measured:
beat F1 of drums (tracked beats against true ones), phase lock, and chord tones. The answer is how many beats pass until
the mean over songs is back in the range of before, and stays there: the 95 % prediction interval of one more stretch
before the event, from how much the stretches of a song differ. After silent bars, beats are counted from the band's
return; it is also said after how many beats a player falls silent (20 dB softer than before) and sounds again.

Three anchors say what that means: a perfect player (the true stem), one that ignores the event (repeats the four bars
before it), and one that notices it a bar late. If the drums drop out, there is no drummer.

Songs and what was measured are kept in `--folder`: a run that was stopped goes on, and another model needs no new
anchors. `--plot` draws a picture, `--markdown` writes the table that is printed; the last line is one JSON object:
event → row → column → before, interval, after, lowest, beats, songs.
"""

from __future__ import annotations

import argparse
import json
from functools import cache, partial
from pathlib import Path
from typing import get_args

from tqdm import tqdm

import livejam
from callbacks.event_scenes import ANCHORS, Found, anchor_row, kept, model_row, scene_of
from datamodules.wide_songs.collection import EventName
from livejam.checkpoints.player import Player
from livejam.checkpoints.published import find_model
from livejam.checkpoints.weights import sha256_of
from livejam.files import atomic_path
from metrics.adaptation_report import picture, plain, table
from metrics.beats import MadmomRNN

EVENTS: tuple[EventName, ...] = get_args(EventName)


def adaptation(player: Player, weights: str, event: EventName, folder: Path, songs: int) -> dict[str, Found]:
    """Curves of the model and of the anchors.

    Args:
        player: what plays.
        weights: a hash of its file.
        event: what happens.
        folder: where songs and rows are kept.
        songs: how many.
    """
    rate, track = player.codec.spec.sample_rate_hz, MadmomRNN()
    scene = cache(lambda: scene_of(event, songs, folder, player.instruments, rate))
    what = [str(songs), str(rate), track.identity, *player.instruments]
    measures = {row: partial(lambda row: anchor_row(row, scene(), track), row) for row in ANCHORS}
    rows = {"model": kept(folder, event, "model", [*what, weights], lambda: model_row(player, scene(), track))}
    return rows | {row: kept(folder, event, row, what, measure) for row, measure in measures.items()}


def main() -> None:
    """Print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="liveband-pocket", help="what plays")
    parser.add_argument("--folder", type=Path, default=Path("data/adaptation"), help="where songs and rows are kept")
    parser.add_argument("--songs", type=int, default=8, help="songs per event")
    parser.add_argument("--events", nargs="+", choices=EVENTS, default=EVENTS)
    parser.add_argument("--plot", type=Path, help="PNG file for the curves")
    parser.add_argument("--markdown", type=Path, help="where to write the table")
    given = parser.parse_args()
    if given.songs < 1:
        parser.error(f"--songs {given.songs} is less than 1")
    player, weights = livejam.load(given.checkpoint), sha256_of(find_model(given.checkpoint))
    found = {
        event: adaptation(player, weights, event, given.folder, given.songs)
        for event in tqdm(given.events, desc="events", leave=False)
    }
    print(table(found))
    if given.markdown is not None:
        given.markdown.write_text(table(found) + "\n", encoding="utf-8")
    if given.plot is not None:
        title = f"{Path(given.checkpoint).stem}: {given.songs} songs per event, mean over songs"
        with atomic_path(given.plot) as temporary:
            picture(found, title).savefig(temporary, dpi=110)
    print(json.dumps(plain(found)))


if __name__ == "__main__":
    main()
