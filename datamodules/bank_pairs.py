"""Which targets of a bank can be trained, and with which sub-mixes: those with at least one crop that may be used.

Shapes: P pairs of a target and its sub-mixes, Q single combinations of a target and one sub-mix, S stems and
M sub-mixes of a song, Y bytes of eight frames each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.bank_index import BankIndex
from datamodules.crops import ActivityRule

ONES = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)
"""How many bits of a byte are set."""


@dataclass(frozen=True)
class Pairs:
    """Targets with the sub-mixes that may accompany them, in the order of songs and stems.

    Args:
        song_P: position of the target's song.
        stem_P: position of the target among the song's stems.
        first_P: where its sub-mixes begin in `submixes`.
        count_P: how many sub-mixes there are.
        submixes: numbers of sub-mixes, of one target after the other, ascending.
    """

    song_P: NDArray[np.int64]
    stem_P: NDArray[np.int64]
    first_P: NDArray[np.int64]
    count_P: NDArray[np.int64]
    submixes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.song_P)


def usable_pairs(index: BankIndex, categories: tuple[int, ...], crop_frames: int, rule: ActivityRule) -> Pairs:
    """All targets of these categories that have a crop that may be used."""
    rows = [_usable_of_song(index, song, categories, crop_frames, rule) for song in range(len(index))]
    songs = np.repeat(np.arange(len(rows)), [len(row[0]) for row in rows])
    stems, submixes = (np.concatenate([np.zeros(0, np.int64), *(row[i] for row in rows)]) for i in (0, 1))
    begins = np.flatnonzero(np.diff(songs, prepend=-1) | np.diff(stems, prepend=-1))
    counts = np.diff(begins, append=len(songs))
    return Pairs(songs[begins], stems[begins], begins, counts, submixes)


def _usable_of_song(
    index: BankIndex, song: int, categories: tuple[int, ...], crop_frames: int, rule: ActivityRule
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Stem and sub-mix of every usable combination, by stem."""
    wanted_S = np.array([stem.category in categories for stem in index.stems_of(song)], bool)
    stem_Q, submix_Q = np.nonzero(wanted_S[:, None] & ~index.membership(song).T)
    sounds = index.sounds_of(song)
    both_QY = sounds[stem_Q] & sounds[len(wanted_S) + submix_Q]
    usable_Q = has_crop(both_QY, int(index.frames_K[song]), crop_frames, rule)
    return stem_Q[usable_Q], submix_Q[usable_Q]


def has_crop(both_QY: NDArray[np.uint8], frames: int, crop_frames: int, rule: ActivityRule) -> NDArray[np.bool_]:
    """Whether there is a crop that may be used, `len(rule.starts(…)) > 0` for many combinations.

    Whole bytes are counted first. A window of bytes that lies inside a crop gives a lower bound of the frames that
    sound in it, a window that holds the crop an upper bound; most combinations are decided by these.

    Args:
        both_QY: bits of the frames in which target and mix both sound.
        frames: number of frames; the bits after them are 0.
        crop_frames: length of a crop.
        rule: the rule that decides.
    """
    if frames < crop_frames or not len(both_QY):
        return np.zeros(len(both_QY), bool)
    fewest, inside = rule.fewest(crop_frames), crop_frames // 8
    count_QY = np.cumsum(np.pad(ONES[both_QY], ((0, 0), (1, inside + 2))), axis=1, dtype=np.int32)
    windows = (frames - crop_frames) // 8 + 1
    lower_Q = (count_QY[:, inside : inside + windows] - count_QY[:, :windows]).max(axis=1)
    upper_Q = (count_QY[:, inside + 2 :] - count_QY[:, : -inside - 2]).max(axis=1)
    usable_Q = lower_Q >= fewest
    for row in np.flatnonzero(~usable_Q & (upper_Q >= fewest)):
        both_T = np.unpackbits(both_QY[row], count=frames).astype(bool)
        usable_Q[row] = len(rule.starts(both_T, both_T, crop_frames)) > 0
    return usable_Q
