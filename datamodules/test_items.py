"""The items of a test split for whoever plays them without a trainer, chosen as those of a test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from datamodules.crops import ActivityRule
from datamodules.drawing import plan_excerpts
from datamodules.evaluation import Item, evaluation_frames
from datamodules.excerpts import Excerpt, ExcerptReader
from datamodules.slakh_index import SlakhIndex
from datamodules.splits import SplitByFolder
from livejam.errors import UserError
from livejam.spec import CodecSpec

SETTINGS = {"threshold_dbfs": -60.0, "min_active_ratio": 0.5}
"""Of what sounds; the data module's own."""


class TestItems:
    """Excerpts of the test songs with one stem as the target and all others as the mix: different songs first, and the
    targets in turn.

    Args:
        root: a data set in Slakh2100's format with a folder `test`.
        spec: of the audio.
        categories: class indices of stems that may be targets.
        items: how many, at most.
        seconds: length of each, less where most songs are shorter.
        seed: of the choice.

    Raises:
        UserError: there are no test songs, or none of them has such a stem.
    """

    __test__ = False

    def __init__(
        self, root: Path, spec: CodecSpec, categories: Sequence[int], items: int, seconds: float, seed: int = 1
    ) -> None:
        songs = SlakhIndex.open(root).split("test", SplitByFolder())
        if not songs:
            raise UserError(
                f"none of the songs in {root} is for testing; put some in its folder test, or render 10 or more with "
                f"`livejam data render --out {root} --songs 10`"
            )
        self.reader = ExcerptReader(root, spec, evaluation_frames(songs, spec, seconds), ActivityRule(**SETTINGS))
        self.excerpts = plan_excerpts(self.reader, songs, tuple(categories), items, seed)

    def __len__(self) -> int:
        return len(self.excerpts)

    def __iter__(self) -> Iterator[tuple[Excerpt, Item]]:
        """Every item, decoded."""
        for excerpt in self.excerpts:
            yield excerpt, Item(self.reader.read(excerpt), self.reader.annotations(excerpt), None)
