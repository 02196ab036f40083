"""What an import did, and what it could not use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from datamodules.importing.instruments import normal
from datamodules.importing.planning import PlannedSong
from datamodules.slakh_scan import Refusal
from livejam.batch import CATEGORIES

SHOWN = 20
"""The most refusals that are printed; the file has them all."""

DIFFERENT_SECONDS = 1.0


@dataclass
class ImportReport:
    """Counts over songs, and lists by name.

    Args:
        songs: songs by split.
        kept: songs that were there already.
        linked: stems that are links.
        written: stems that had to be written.
        categories: stems by category.
        unknown: stems by the instrument's name, as a map says it, where nothing says its category.
        left_out: stems by the instrument's name that are left out on purpose.
        uneven: songs whose recordings differ in length by more than a second, with the difference in seconds.
        refusals: what cannot be used, with the reason.
    """

    songs: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    linked: int = 0
    written: int = 0
    categories: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    uneven: dict[str, float] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)

    def add(self, song: PlannedSong, split: str, written: int | None) -> None:
        """Count a usable song.

        Args:
            song: what was planned.
            split: its split.
            written: how many of its stems were written; None = the song was there already.
        """
        self.left_out.update(map(normal, song.left_out))
        self.songs[split] += 1
        self.kept += written is None
        self.written += written or 0
        self.linked += len(song.stems) - written if written is not None else 0
        self.categories.update(CATEGORIES[stem.category] for stem in song.stems)
        self.unknown.update(normal(stem.instrument) for stem in song.stems if not stem.known)
        if song.lengths_differ_seconds > DIFFERENT_SECONDS:
            self.uneven[song.found.name] = round(song.lengths_differ_seconds, 1)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        # asdict would take a Counter's pairs for things to count
        return vars(self) | {"refusals": [asdict(refusal) for refusal in self.refusals]}

    def summary(self) -> str:
        """The report as lines of text."""
        splits = ", ".join(f"{self.songs[split]} {split}" for split in ("train", "validation", "test"))
        kept = f", {self.kept} of them were there already" if self.kept else ""
        lines = [
            f"{sum(self.songs.values())} songs ({splits}){kept}; {self.linked} stems linked, {self.written} written",
            "  stems: " + _counted(self.categories),
        ]
        lines += [f"  of unknown category, name them in a map: {_counted(self.unknown)}"] * bool(self.unknown)
        lines += [f"  left out: {_counted(self.left_out)}"] * bool(self.left_out)
        if self.uneven:
            songs = ", ".join(f"{name} ({seconds} s)" for name, seconds in sorted(self.uneven.items())[:SHOWN])
            lines.append(f"  recordings of different lengths; all must begin together: {songs}")
        lines += [f"  refused: {len(self.refusals)}", *_shown(self.refusals)]
        return "\n".join(lines)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def _shown(refusals: Sequence[Refusal]) -> list[str]:
    lines = [f"    {r.song}{'/' + r.stem if r.stem else ''}: {r.reason}" for r in refusals[:SHOWN]]
    return lines + [f"    … and {len(refusals) - SHOWN} more"] * (len(refusals) > SHOWN)
