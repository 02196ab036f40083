"""Which songs are for training, validation and test: Slakh2100's published splits as policies."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod

from livejam.errors import UserError
from livejam.shipped_configs import find_config

SPLITS = ("train", "validation", "test")

LAST_TRAIN_TRACK, LAST_VALIDATION_TRACK, LAST_TEST_TRACK = 1500, 1875, 2100
"""Slakh2100's original split by track number."""


class SplitPolicy(ABC):
    """A policy that assigns songs to "train", "validation" or "test", or leaves them out (None)."""

    @abstractmethod
    def split_of(self, song: str, folder: str | None) -> str | None:
        """The split of a song.

        Args:
            song: the name of the song's folder, "Track00001".
            folder: the split folder in which it lies on disk; None in a flat data set.
        """


class SplitByFolder(SplitPolicy):
    """The split folders on disk; flat data sets by track number. Fits Slakh2100, its redux and pocket-Slakh.

    The redux archive keeps its duplicated songs in a folder `omitted`: these are left out.
    """

    def split_of(self, song: str, folder: str | None) -> str | None:
        if folder is None:
            return SplitByTrackNumber().split_of(song, folder)
        return folder if folder in SPLITS else None


class SplitByTrackNumber(SplitPolicy):
    """Slakh2100's original split: tracks 1–1500 train, 1501–1875 validate, 1876–2100 test, wherever they lie."""

    def split_of(self, song: str, folder: str | None) -> str | None:
        match = re.search(r"(\d+)$", song)
        number = int(match.group(1)) if match else 0
        if not 1 <= number <= LAST_TEST_TRACK:
            return None
        if number <= LAST_TRAIN_TRACK:
            return "train"
        return "validation" if number <= LAST_VALIDATION_TRACK else "test"


class SplitByFile(SplitPolicy):
    """The lists of a JSON file: slakh-utils' `splits_v2.json` (no overlap), `redux.json`, or your own.

    Args:
        path: JSON of the form {"train": ["Track00001", …], "validation": […], "test": […]}. Songs that it does not
            name, and songs under other keys such as "omitted", are left out. A shipped one is found by its name.
    """

    def __init__(self, path: str) -> None:
        file = find_config(path)
        try:
            lists = json.loads(file.read_text(encoding="utf-8"))
            self._split_of = {str(song): split for split in SPLITS for song in lists[split]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} is not a split file ({error!r}); it must be JSON with the lists train, validation and test"
            ) from error

    def split_of(self, song: str, folder: str | None) -> str | None:
        return self._split_of.get(song)


class SplitByHash(SplitPolicy):
    """A stable random split by the song's name, for data sets that have none (BabySlakh).

    Args:
        validation: share of the songs for validation, between 0 and 1.
        test: share of the songs for test, between 0 and 1.
        seed: seed of the split.
    """

    def __init__(self, validation: float = 0.15, test: float = 0.15, seed: int = 0) -> None:
        if validation < 0 or test < 0 or validation + test >= 1:
            raise UserError(f"the shares validation {validation} and test {test} must leave songs for training")
        self._validation, self._test, self._seed = validation, test, seed

    def split_of(self, song: str, folder: str | None) -> str | None:
        digest = hashlib.sha256(f"{self._seed}/{song}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        if place < self._test:
            return "test"
        return "validation" if place < self._test + self._validation else "train"
