"""What training leaves out of a data set: one line, with the command that lists it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from datamodules.categories import target_categories
from datamodules.duplicates import Copies, leaks
from datamodules.slakh_scan import Refusal, Song
from datamodules.splits import SplitPolicy
from livejam.batch import named

SHOWN = 5
"""The most songs that the line names."""

SHORT, ALONE, NO_TARGET = "too short for a crop", "of one stem", "without a target"


@dataclass(frozen=True)
class Demand:
    """What training needs from a song.

    Args:
        seconds: length of a crop in seconds; 0 = any song is long enough.
        targets: class indices of the stems of which it needs one, besides another stem; None = single stems are enough.
    """

    seconds: float = 0.0
    targets: tuple[int, ...] | None = None

    def missing(self, song: Song) -> str:
        """The reason why a song cannot be used for training; empty if it can."""
        if song.seconds < self.seconds:
            return SHORT
        if self.targets is not None and len(song.stems) < 2:
            return ALONE
        if self.targets is not None and not any(stem.category in self.targets for stem in song.stems):
            return NO_TARGET
        return ""

    def left_out(self, songs: Iterable[Song]) -> list[Refusal]:
        """The songs that cannot be used, with the reason."""
        reasons = ((song.name, self.missing(song)) for song in songs)
        return [Refusal(name, None, f"it is {reason}") for name, reason in reasons if reason]

    def options(self) -> list[str]:
        """Options for `livejam data index`, so that it applies the same demand."""
        words = ["--seconds", f"{self.seconds:.2f}"] if self.seconds else []
        if self.targets is not None and self.targets != target_categories(None):
            words += ["--targets", *named(self.targets)]
        return words


def losses_line(
    root: Path,
    cache: Path | None,
    songs: Sequence[Song],
    demand: Demand,
    refused: int,
    damaged: int = 0,
    mute: Sequence[str] = (),
    unread: int = 0,
    bad_stems: str | None = None,
) -> str:
    """One line about everything that training does not hear; empty if it hears everything.

    Args:
        root: the data set.
        cache: folder of its index, if that is not in the data set.
        songs: the training songs.
        demand: what training needs from them.
        refused: stems and songs that the index refuses.
        damaged: stems that turned out to be damaged inside when they were decoded.
        mute: songs in which no target sounds together with a mix for a whole crop.
        unread: songs whose MIDI file cannot be read.
        bad_stems: the user's list of stems that are left out.
    """
    reasons = Counter(reason for song in songs if (reason := demand.missing(song)))
    parts = [f"{count} of {len(songs)} songs {reason}" for reason, count in sorted(reasons.items())]
    if mute:
        names = ", ".join([*mute[:SHOWN], *["…"] * (len(mute) > SHOWN)])
        parts.append(f"{len(mute)} of {len(songs)} songs in which no target sounds with others for a crop ({names})")
    if refused or damaged:
        parts.append(f"{refused + damaged} stems or songs that cannot be used")
    if unread:
        parts.append(f"the beats of {unread} songs, whose all_src.mid cannot be read")
    words = ["livejam", "data", "index", str(root), *demand.options(), *["--deep"] * bool(unread or damaged)]
    words += [] if cache is None else ["--cache", str(cache)]
    words += [] if bad_stems is None else ["--bad-stems", bad_stems]
    return f"{root}: left out are {'; '.join(parts)}: `{shlex.join(words)}` lists them" if parts else ""


def leak_line(root: Path, cache: Path | None, copies: Iterable[Copies], policy: SplitPolicy) -> str:
    """One line about training songs that are also held out under another name; empty if there are none.

    Args:
        root: the data set.
        cache: folder of its index, if that is not in the data set.
        copies: its songs that are the same piece.
        policy: what is for training, validation and test.
    """
    groups = [group for group in leaks(copies, policy) if "train" in group.splits(policy)]
    if not groups:
        return ""
    songs = [s.name for group in groups for s in group.songs if policy.split_of(s.name, s.split_folder) == "train"]
    names = ", ".join([*songs[:SHOWN], *["…"] * (len(songs) > SHOWN)])
    words = ["livejam", "data", "index", str(root), *([] if cache is None else ["--cache", str(cache)])]
    return (
        f"{root}: {len(songs)} training songs are held out as well, by UUID or MIDI file ({names}), so results will "
        f"look better than they are: `{shlex.join(words)}` lists them, and with --redux FILE writes lists without "
        "them for data.splits (datamodules.SplitByFile)"
    )
